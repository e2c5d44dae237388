"""Which replicas and leaderships had better be elsewhere: state in, proposals out.

Three things are evened out, in this order: room on disks and replicas (by weight), leaderships (by
number), and the load of what stores lead. Each has a tolerance within which nothing is moved, and a
proposal must bring its two stores closer to each other, so that nothing moves to and fro. Scores
are integers or compared through them, and ties end at ids, so that the same state gives the same
proposals. (After tikv/pd's balance-region, balance-leader and hot-region schedulers.)
"""

from collections.abc import Callable, Collection, Iterator
from statistics import mean
from typing import Final

from msgspec import Struct

from flaredb_pd.heard import Heard
from flaredb_pd.loads import Loads
from flaredb_pd.operators import Operator
from flaredb_pd.proposals import Proposal
from flaredb_pd.region_map import Sighting
from flaredb_pd.standings import Standing, count, leads, moves, size_of, weight_of
from flaredb_schemas.ids import NO_STORE, RegionId, StoreId
from flaredb_schemas.operators import OperatorKind
from flaredb_schemas.regions import PeerRole

BALANCE: Final = "balance"
"""The trigger of what is proposed here."""
PRIORITY: Final = 0
"""Below what people wish for, and below repairs."""

TOLERANCE: Final = 0.05
"""A store whose count or weight is within this share of the mean is even enough..."""
LEAST_LEADERS: Final = 1
"""...or within one leader of it."""
LOAD_TOLERANCE: Final = 0.15
"""For load, which is never the same for long."""
LEAST_LOAD: Final = 200.0
"""Keys per second of a store below which load is no reason to move anything."""
COLD_SHARE: Final = 0.05
"""A region with less than this share of the mean store's load is cold: leaderships are evened out
by those, and by others where that does not make the load uneven."""
LEAST_GAIN: Final = 0.1
"""By this share of the mean the busier of two stores must become less busy: what was measured is
not that exact, and what gains less would be moved back one day."""

MOST_AT_ONCE: Final = 8
"""How many proposals one look makes."""
MOST_TRIED: Final = 5
"""How many of the most and of the least laden stores are tried against each other."""


class Scene(Struct, frozen=True):
    """What is looked at. Of some regions no replica, or not the leadership, is to be moved now."""

    heard: Heard
    loads: Loads
    running: Collection[Operator]
    moved: Collection[RegionId]
    handed_over: Collection[RegionId]
    bears: Callable[[StoreId], bool]
    """Whether a store takes replicas and leaderships: it is up, and is to stay."""
    lately: Collection[Operator] = ()
    """What ended a moment ago: what that has changed on disks stores may not have told yet."""


class Movable(Struct, frozen=True):
    """The regions that are whole, and at rest: by the stores that hold a replica which may move,
    and by those whose leadership may."""

    held: dict[StoreId, list[Sighting]]
    led: dict[StoreId, list[Sighting]]


class Look:
    """One look at a scene. Invariant: what is proposed counts as done in `standings`."""

    def __init__(self, scene: Scene) -> None:
        self.loads: Final = scene.loads
        self.standings: Final = count(
            scene.heard, scene.loads, scene.running, scene.lately, scene.bears
        )
        self.taken: Final[set[RegionId]] = set()
        self._movable: Final = _movable(scene)

    def held(self, store: StoreId) -> list[Sighting]:
        """The regions of which a replica may go away from this store."""
        held = self._movable.held.get(store, ())
        return [one for one in held if one.region.id not in self.taken]

    def led(self, store: StoreId) -> list[Sighting]:
        """The regions that this store leads, and another one may."""
        led = self._movable.led.get(store, ())
        return [one for one in led if one.region.id not in self.taken]


def proposals(scene: Scene) -> Iterator[Proposal]:
    """What to do, the most urgent first; O(regions)."""
    look = Look(scene)
    if len(look.standings) < 2:
        return
    for find in (_replica, _leadership, _load):
        while len(look.taken) < MOST_AT_ONCE:
            found = find(look)
            if found is None:
                break
            look.taken.add(found.region)
            yield found


def _movable(scene: Scene) -> Movable:
    busy = {operator.region for operator in scene.running}
    movable = Movable({}, {})
    for sighting in scene.heard.regions:
        region, report = sighting.region, sighting.report
        if report is None or region.id in busy:
            continue
        if report.down or report.pending or report.lost:
            continue
        if all(peer.role is PeerRole.VOTER for peer in region.peers):
            if region.id not in scene.handed_over:
                movable.led.setdefault(sighting.store, []).append(sighting)
            for store in region.stores if region.id not in scene.moved else ():
                movable.held.setdefault(store, []).append(sighting)
    return movable


def _replica(look: Look) -> Proposal | None:
    """Away from a store that is too full, or that bears more than its share."""
    standings, loads = look.standings, look.loads
    even = mean(one.weight for one in standings.values())
    light = sorted(standings.values(), key=lambda one: (one.weight, one.store))
    targets = [one for one in light if one.has_room()][:MOST_TRIED]
    for source in sorted(standings.values(), key=_by_need)[:MOST_TRIED]:
        for target in targets:
            uneven = _is_uneven(source.weight, target.weight, even)
            if target is source or not (source.is_full or uneven):
                continue
            chosen = _best_to_move(look.held(source.store), source, target, loads)
            if chosen is not None:
                full = "its disk is nearly full"
                why = full if source.is_full else "it bears more than its share"
                moves(standings, chosen, source.store, target.store)
                reason = f"{why}: store {source.store}"
                return _propose("move", chosen, reason, source.store, target.store)
    return None


def _by_need(one: Standing) -> tuple[bool, int, StoreId]:
    return not one.is_full, -one.weight, one.store


def _is_uneven(source: int, target: int, even: float) -> bool:
    """Whether one of the two is out of the tolerance, on the side where a move helps."""
    return source > even * (1 + TOLERANCE) or target < even * (1 - TOLERANCE)


def _best_to_move(
    held: list[Sighting], source: Standing, target: Standing, loads: Loads
) -> Sighting | None:
    """A region of which `target` has nothing; a follower, and as large and as cold as can be."""
    gap = source.weight - target.weight
    fitting = [
        sighting
        for sighting in held
        if _is_free(sighting, target) and (source.is_full or 2 * weight_of(sighting) <= gap)
    ]
    return min(
        fitting,
        key=lambda one: (
            one.store == source.store,
            round(loads.rate(one.region.id)),
            -weight_of(one),
            one.region.id,
        ),
        default=None,
    )


def _is_free(sighting: Sighting, target: Standing) -> bool:
    """Whether the store has nothing of the region, nor anything left of it, and room for it."""
    region = sighting.region
    others = all(peer.store != target.store for peer in (*region.peers, *region.removed))
    return others and target.has_room(size_of(sighting))


def _leadership(look: Look) -> Proposal | None:
    """From a store that leads too many regions to one that leads too few."""
    standings, loads = look.standings, look.loads
    even = mean(one.leaders for one in standings.values())
    most = max(LEAST_LEADERS, TOLERANCE * even)
    cold = max(1.0, COLD_SHARE * mean(one.load for one in standings.values()))
    ranked = sorted(standings.values(), key=lambda one: (-one.leaders, one.store))
    for source in ranked[:MOST_TRIED]:
        led = look.led(source.store)
        for target in ranked[: -MOST_TRIED - 1 : -1]:
            out = source.leaders > even + most or target.leaders < even - most
            if not out or source.leaders - target.leaders < 2:
                continue
            for sighting in led:
                load = loads.rate(sighting.region.id)
                light = load <= cold or _evens_out(load, source, target)
                if light and sighting.region.peer_on(target.store) is not None:
                    why = f"store {source.store} leads {source.leaders} regions"
                    leads(standings, sighting, target.store, load)
                    return _propose("transfer", sighting, why, to=target.store)
    return None


def _evens_out(load: float, source: Standing, target: Standing) -> bool:
    """Whether the target may lead a region of this load, which would not be taken from it again: it
    stays less busy than the source was, or than any store whose load matters."""
    return target.load + load <= source.load or target.load + load < LEAST_LOAD


def _load(look: Look) -> Proposal | None:
    """From a store whose regions are busier than others' to one whose are less so."""
    standings, loads = look.standings, look.loads
    even = mean(one.load for one in standings.values())
    ranked = sorted(standings.values(), key=lambda one: (-round(one.load), one.store))
    source = ranked[0]
    if source.load < LEAST_LOAD or source.load <= even * (1 + LOAD_TOLERANCE):
        return None
    led = look.led(source.store)
    for target in ranked[: -MOST_TRIED - 1 : -1]:
        gap = source.load - target.load
        rated = [(loads.rate(one.region.id), one) for one in led]
        most = gap - LEAST_GAIN * even
        fitting = [item for item in rated if COLD_SHARE * even <= item[0] <= most]
        # The one that brings the two closest to each other.
        for load, sighting in sorted(
            fitting, key=lambda item: (abs(round(item[0] - gap / 2)), item[1].region.id)
        ):
            found = _shift(sighting, source, target, look)
            if found is not None:
                leads(standings, sighting, target.store, load)
                return found
    return None


def _shift(sighting: Sighting, source: Standing, target: Standing, look: Look) -> Proposal | None:
    """Have the target lead the region, after it has got a follower's place if it has none."""
    why = f"the regions that store {source.store} leads are busier than others"
    region = sighting.region
    if region.peer_on(target.store) is not None:
        return _propose("transfer", sighting, why, to=target.store)
    followers = [
        look.standings[store]
        for store in region.stores
        if store != sighting.store and store in look.standings and sighting in look.held(store)
    ]
    if not _is_free(sighting, target) or not followers:
        return None
    goes = max(followers, key=lambda one: (one.weight, one.store))
    moves(look.standings, sighting, goes.store, target.store)
    return _propose("move", sighting, why, goes.store, target.store)


def _propose(
    kind: OperatorKind,
    sighting: Sighting,
    reason: str,
    remove: StoreId = NO_STORE,
    add: StoreId = NO_STORE,
    to: StoreId = NO_STORE,
) -> Proposal:
    return Proposal(
        kind,
        sighting.region.id,
        BALANCE,
        reason,
        PRIORITY,
        add=add,
        remove=remove,
        to=to,
    )
