"""The load of what stores lead: from those whose regions are busier than others' to those whose are
less so.

What is handed over makes the busier of the two less busy by more than loads are off, and the other
one stays below what that one was: so nothing goes to and fro.
"""

from collections.abc import Iterator
from statistics import mean
from typing import Final

from flaredb_pd.balance_scene import (
    ALL_EVEN,
    COLD_SHARE,
    HAS_ONE,
    IS_OVERWORKED,
    LEAST_LOAD,
    MOST_TRIED,
    NO_ROOM,
    NOTHING_FITS,
    NOTHING_MOVES,
    WORSE,
    Look,
    handed_over,
    is_free,
    proposed,
)
from flaredb_pd.ledger import Filters, Idle, Weighed, weigh
from flaredb_pd.proposals import Proposal
from flaredb_pd.region_map import Sighting
from flaredb_pd.standings import Standing, leads, moves, size_of
from flaredb_schemas.decisions import MOST_CANDIDATES, Candidate
from flaredb_schemas.ids import RegionId, StoreId

POLICY: Final = "balance-load"

LOAD_TOLERANCE: Final = 0.15
"""Load is never the same for long: within this share of the mean a store is even enough."""
LEAST_GAIN: Final = 0.1
"""By this share of the mean the busier of two stores must become less busy: what was measured is
not that exact, and what gains less would be moved back one day."""

NOT_TOLD: Final = "who leads busy regions since a moment ago has not told yet how busy they are"
NOT_BUSY: Final = "no store is busy"

HAS_NOT_TOLD: Final = "a store that has not told yet how busy it is since it leads more"
IS_COLD: Final = "a region that is cold: those are moved for the number of leaders"
TOO_BUSY: Final = "a region that is too busy for what the two stores differ by"
NO_FOLLOWER: Final = "a region without a follower that can be moved there"


def find(look: Look) -> Proposal | Idle:
    """One transfer, or a move before it, counted as done; or why there is none."""
    ranked = sorted(look.standings.values(), key=lambda one: (-round(one.load), one.store))
    filters, pairs, any_led = look.not_led, list[Candidate](), False
    if ranked[0].load < LEAST_LOAD:
        return Idle(POLICY, NOT_BUSY, weigh(_differences(ranked), filters))
    even = mean(one.load for one in ranked)
    unsure = {one for one, load in look.loads.inherited().items() if load > LEAST_GAIN * even}
    for source, target in _uneven(ranked, even, pairs):
        led = look.led(source.store)
        any_led = any_led or bool(led)
        if target.is_overworked:
            filters.out(IS_OVERWORKED, store=target.store)
            continue
        silent = [one.store for one in (source, target) if one.store in unsure]
        for store in silent:
            filters.out(HAS_NOT_TOLD, store=store)
        shift = None if silent else _best_shift(led, source, target, even, look, filters)
        if shift is not None:
            return shift
    if not pairs:
        return Idle(POLICY, ALL_EVEN, weigh(_differences(ranked), filters))
    if all(one.source in unsure for one in pairs):
        return Idle(POLICY, NOT_TOLD, weigh(pairs, filters))
    return Idle(POLICY, NOTHING_FITS if any_led else NOTHING_MOVES, weigh(pairs, filters))


def _uneven(
    ranked: list[Standing], even: float, pairs: list[Candidate]
) -> Iterator[tuple[Standing, Standing]]:
    """Which two stores to bring closer to each other, the most urgent first; notes them.

    One of them is out of the tolerance: while one store has nothing to do, all others may be in it.
    """
    most, least = even * (1 + LOAD_TOLERANCE), even * (1 - LOAD_TOLERANCE)

    def order(one: Standing) -> tuple[int, ...]:
        # Loads that are closer to each other are not told apart: then CPU decides.
        load = int(one.load / (LEAST_GAIN * even))
        return one.is_overworked, load, one.cpu_percent, round(one.load), -one.store

    targets = sorted(ranked, key=order)[:MOST_TRIED]
    for source in ranked[:MOST_TRIED]:
        for target in targets:
            is_apart = source.load >= LEAST_LOAD and source.load > target.load
            if not is_apart or (source.load <= most and target.load >= least):
                continue
            pairs.append(_difference(source, target))
            yield source, target


def _best_shift(
    led: list[Sighting],
    source: Standing,
    target: Standing,
    even: float,
    look: Look,
    filters: Filters,
) -> Proposal | None:
    """What brings the two closest to each other, counted as done."""
    fitting = _fitting(led, source, target, even, look, filters)
    for place, (_, _, sighting) in enumerate(fitting):
        goes = _follower_that_goes(sighting, target, look, filters)
        if goes is None and sighting.region.peer_on(target.store) is None:
            continue
        rest = fitting[place : place + MOST_CANDIDATES]
        weighed = _weighed(rest, source, target, len(fitting) - place, filters)
        return _shift(sighting, source, target, goes, weighed, look)
    return None


Fitting = tuple[int, RegionId, Sighting]
"""A region that could be led elsewhere: how far the two stores would be from each other, its
number, and itself."""


def _fitting(
    led: list[Sighting],
    source: Standing,
    target: Standing,
    even: float,
    look: Look,
    filters: Filters,
) -> list[Fitting]:
    """The one that brings the two closest to each other first."""
    gap, found = source.load - target.load, list[Fitting]()
    cold, most = COLD_SHARE * even, gap - LEAST_GAIN * even
    for sighting in led:
        load = look.loads.rate(sighting.region.id)
        if load < cold:
            filters.out(IS_COLD, sighting.region.id)
        elif load > most:
            filters.out(TOO_BUSY, sighting.region.id)
        else:
            found.append((abs(round(load - gap / 2)), sighting.region.id, sighting))
    return sorted(found, key=lambda one: one[:2])


def _follower_that_goes(
    sighting: Sighting, target: Standing, look: Look, filters: Filters
) -> StoreId | None:
    """Which follower gives its place to one on the target, which has none; None if none does."""
    region = sighting.region
    if region.peer_on(target.store) is not None:
        return None
    if not target.has_room(size_of(sighting)):
        filters.out(NO_ROOM, region.id, target.store)
        return None
    if not is_free(sighting, target):
        filters.out(HAS_ONE, region.id, target.store)
        return None
    followers = [
        look.standings[store]
        for store in region.stores
        if store != sighting.store and store in look.standings and look.may_move(region.id)
    ]
    if not followers:
        filters.out(NO_FOLLOWER, region.id, target.store)
        return None
    apart = [
        one
        for one in followers
        if not look.places.would_worsen(region.stores, one.store, target.store)
    ]
    if not apart:
        filters.out(WORSE, region.id, target.store)
        return None
    return max(apart, key=lambda one: (one.weight, one.store)).store


def _shift(
    sighting: Sighting,
    source: Standing,
    target: Standing,
    goes: StoreId | None,
    weighed: Weighed,
    look: Look,
) -> Proposal:
    """Have the target lead the region, after it has got a follower's place if it has none."""
    best, why = weighed.candidates[0], f"the regions that store {source.store} leads are busier"
    if goes is not None:
        moves(look.standings, sighting, goes, target.store)
    leads(look.standings, sighting, target.store, look.loads.rate(sighting.region.id))
    reason = f"{why} than others"
    if goes is None:
        return handed_over(POLICY, reason, best, weighed)
    return proposed(
        POLICY, reason, Candidate(region=best.region, source=goes, target=target.store), weighed
    )


def _weighed(
    fitting: list[Fitting], source: Standing, target: Standing, compared: int, filters: Filters
) -> Weighed:
    candidates = tuple(
        Candidate(
            region=region,
            source=source.store,
            target=target.store,
            terms={"off": off, "cpu_percent": target.cpu_percent},
        )
        for off, region, _ in fitting
    )
    return Weighed(candidates, compared, filters.told())


def _differences(ranked: list[Standing]) -> list[Candidate]:
    """How far the busiest store is from those that are least busy."""
    least = ranked[: -MOST_TRIED - 1 : -1]
    return [_difference(ranked[0], one) for one in least if one is not ranked[0]]


def _difference(source: Standing, target: Standing) -> Candidate:
    terms = {
        "keys_per_second": round(target.load - source.load),
        "cpu_percent": target.cpu_percent,
    }
    return Candidate(source=source.store, target=target.store, terms=terms)
