"""Replicas, by their weight: away from stores that are too full, or that bear more than others."""

from collections.abc import Iterator
from heapq import nsmallest
from statistics import mean
from typing import Final

from flaredb_pd.balance_scene import (
    ALL_EVEN,
    EVEN,
    HAS_ONE,
    MOST_TRIED,
    NO_ROOM,
    NOTHING_FITS,
    NOTHING_MOVES,
    TOLERANCE,
    WORSE,
    Look,
    is_free,
    proposed,
)
from flaredb_pd.ledger import Filters, Idle, Weighed, weigh
from flaredb_pd.proposals import Proposal
from flaredb_pd.region_map import Sighting
from flaredb_pd.standings import Standing, moves, size_of, weight_of
from flaredb_schemas.decisions import MOST_CANDIDATES, Candidate
from flaredb_schemas.ids import RegionId, StoreId

POLICY: Final = "balance-replicas"

IS_FULL: Final = "a store whose disk is nearly full"
TOO_LARGE: Final = "a region that is too large for what the two stores differ by"


def find(look: Look) -> Proposal | Idle:
    """One move, counted as done; or why there is none."""
    filters, pairs, any_held = look.not_held, list[Candidate](), False
    for source, target in _uneven(look, filters, pairs):
        held = look.held(source.store)
        any_held = any_held or bool(held)
        weighed = _weigh(held, source, target, look, filters)
        if weighed.best is not None:
            chosen = next(one for one in held if one.region.id == weighed.best.region)
            full = "its disk is nearly full"
            why = full if source.is_full else "it bears more than its share"
            moves(look.standings, chosen, source.store, target.store)
            return proposed(POLICY, f"{why}: store {source.store}", weighed.best, weighed)
    if not pairs:
        return Idle(POLICY, ALL_EVEN, weigh(_differences(look), filters))
    reason = NOTHING_FITS if any_held else NOTHING_MOVES
    return Idle(POLICY, reason, weigh(pairs, filters))


def _uneven(
    look: Look, filters: Filters, pairs: list[Candidate]
) -> Iterator[tuple[Standing, Standing]]:
    """Which two stores to bring closer to each other, the most urgent first; notes them."""
    standings = look.standings
    even = mean(one.weight for one in standings.values())
    light = sorted(standings.values(), key=lambda one: (one.weight, one.full_percent, one.store))
    targets = [one for one in light if one.has_room()][:MOST_TRIED]
    for full in (one for one in light if not one.has_room()):
        filters.out(IS_FULL, store=full.store)
    for source in sorted(standings.values(), key=_by_need)[:MOST_TRIED]:
        for target in targets:
            if target is source:
                continue
            if not source.is_full and not _is_uneven(source.weight, target.weight, even):
                filters.out(EVEN, store=source.store)
                continue
            pairs.append(_difference(source, target))
            yield source, target


def _by_need(one: Standing) -> tuple[bool, int, StoreId]:
    return not one.is_full, -one.weight, one.store


def _is_uneven(source: int, target: int, even: float) -> bool:
    """Whether one of the two is out of the tolerance, on the side where a move helps."""
    return source > even * (1 + TOLERANCE) or target < even * (1 - TOLERANCE)


def _weigh(
    held: list[Sighting], source: Standing, target: Standing, look: Look, filters: Filters
) -> Weighed:
    """Regions of which `target` has nothing: a follower first, then as cold, then as large as can
    be."""
    gap = source.weight - target.weight
    found: list[tuple[int, int, int, RegionId]] = []
    for sighting in held:
        region, weight = sighting.region, weight_of(sighting)
        if not is_free(sighting, target):
            filters.out(HAS_ONE, region.id, target.store)
        elif not target.has_room(size_of(sighting)):
            filters.out(NO_ROOM, region.id, target.store)
        elif source.is_full:
            found.append(_score(sighting, source, weight, look))
        elif 2 * weight > gap:
            filters.out(TOO_LARGE, region.id)
        elif look.places.would_worsen(region.stores, source.store, target.store):
            filters.out(WORSE, region.id, target.store)
        else:
            found.append(_score(sighting, source, weight, look))
    best = tuple(
        Candidate(
            region=region,
            source=source.store,
            target=target.store,
            terms={
                "leads": leads,
                "keys_per_second": keys,
                "bytes": size,
                "full_percent": target.full_percent,
            },
        )
        for leads, keys, size, region in nsmallest(MOST_CANDIDATES, found)
    )
    return Weighed(best, len(found), filters.told() if best else ())


def _score(
    sighting: Sighting, source: Standing, weight: int, look: Look
) -> tuple[int, int, int, RegionId]:
    region = sighting.region.id
    leads = int(sighting.store == source.store)
    return leads, round(look.loads.rate(region)), -weight, region


def _differences(look: Look) -> list[Candidate]:
    """How far the stores that bear most are from those that bear least."""
    ranked = sorted(look.standings.values(), key=_by_need)
    heavy, light = ranked[:MOST_TRIED], ranked[: -MOST_TRIED - 1 : -1]
    return [_difference(one, other) for one in heavy for other in light if one is not other]


def _difference(source: Standing, target: Standing) -> Candidate:
    terms = {"bytes": target.weight - source.weight, "full_percent": target.full_percent}
    return Candidate(source=source.store, target=target.store, terms=terms)
