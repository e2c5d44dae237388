"""Leaderships, by their number: from stores that lead too many regions to some that lead too few.

Of busy regions only those whose leadership does not make the load uneven there.
"""

from collections.abc import Iterator
from heapq import nsmallest
from statistics import mean
from typing import Final

from flaredb_pd.balance_scene import (
    ALL_EVEN,
    COLD_SHARE,
    EVEN,
    HAS_NONE,
    IS_OVERWORKED,
    LEAST_LOAD,
    MOST_TRIED,
    NOTHING_FITS,
    NOTHING_MOVES,
    TOLERANCE,
    Look,
    handed_over,
)
from flaredb_pd.ledger import Filters, Idle, Weighed, weigh
from flaredb_pd.proposals import Proposal
from flaredb_pd.region_map import Sighting
from flaredb_pd.standings import Standing, leads
from flaredb_schemas.decisions import MOST_CANDIDATES, Candidate
from flaredb_schemas.ids import RegionId

POLICY: Final = "balance-leaders"

LEAST_LEADERS: Final = 1
"""A store within so many leaders of the mean is even enough."""

IS_WARM: Final = "a region too busy for the store that would lead it"


def find(look: Look) -> Proposal | Idle:
    """One transfer, counted as done; or why there is none."""
    cold = max(1.0, COLD_SHARE * mean(one.load for one in look.standings.values()))
    filters, pairs, any_led = look.not_led, list[Candidate](), False
    for source, target in _uneven(look, filters, pairs):
        led = look.led(source.store)
        any_led = any_led or bool(led)
        if target.is_overworked:
            filters.out(IS_OVERWORKED, store=target.store)
            continue
        weighed = _weigh(led, source, target, cold, look, filters)
        if weighed.best is not None:
            chosen = next(one for one in led if one.region.id == weighed.best.region)
            why = f"store {source.store} leads {source.leaders} regions"
            leads(look.standings, chosen, target.store, look.loads.rate(chosen.region.id))
            return handed_over(POLICY, why, weighed.best, weighed)
    if not pairs:
        return Idle(POLICY, ALL_EVEN, weigh(_differences(look), filters))
    reason = NOTHING_FITS if any_led else NOTHING_MOVES
    return Idle(POLICY, reason, weigh(pairs, filters))


def _uneven(
    look: Look, filters: Filters, pairs: list[Candidate]
) -> Iterator[tuple[Standing, Standing]]:
    """Which two stores to bring closer to each other, the most urgent first; notes them."""
    standings = look.standings
    even = mean(one.leaders for one in standings.values())
    most = max(LEAST_LEADERS, TOLERANCE * even)
    ranked = _ranked(look)
    targets = sorted(ranked, key=lambda one: (one.is_overworked, one.leaders, -one.store))
    for source in ranked[:MOST_TRIED]:
        for target in targets[:MOST_TRIED]:
            out = source.leaders > even + most or target.leaders < even - most
            if not out or source.leaders - target.leaders < 2:
                if source is not target:
                    filters.out(EVEN, store=source.store)
                continue
            pairs.append(_difference(source, target))
            yield source, target


def _ranked(look: Look) -> list[Standing]:
    return sorted(look.standings.values(), key=lambda one: (-one.leaders, one.store))


def _weigh(
    led: list[Sighting],
    source: Standing,
    target: Standing,
    cold: float,
    look: Look,
    filters: Filters,
) -> Weighed:
    """Regions with a replica there that are cold, or not too busy for it; the coldest first."""
    found: list[tuple[int, RegionId]] = []
    for sighting in led:
        region, load = sighting.region, look.loads.rate(sighting.region.id)
        if load > cold and not _evens_out(load, source, target):
            filters.out(IS_WARM, region.id)
        elif region.peer_on(target.store) is None:
            filters.out(HAS_NONE, region.id, target.store)
        else:
            found.append((round(load), region.id))
    best = tuple(
        Candidate(
            region=region,
            source=source.store,
            target=target.store,
            terms={"keys_per_second": keys},
        )
        for keys, region in nsmallest(MOST_CANDIDATES, found)
    )
    return Weighed(best, len(found), filters.told() if best else ())


def _evens_out(load: float, source: Standing, target: Standing) -> bool:
    """Whether the target may lead a region of this load, which would not be taken from it again: it
    stays less busy than the source was, or than any store whose load matters."""
    return target.load + load <= source.load or target.load + load < LEAST_LOAD


def _differences(look: Look) -> list[Candidate]:
    """How far the stores that lead most are from those that lead least."""
    ranked = _ranked(look)
    most, fewest = ranked[:MOST_TRIED], ranked[: -MOST_TRIED - 1 : -1]
    return [_difference(one, other) for one in most for other in fewest if one is not other]


def _difference(source: Standing, target: Standing) -> Candidate:
    terms = {"leaders": target.leaders - source.leaders}
    return Candidate(source=source.store, target=target.store, terms=terms)
