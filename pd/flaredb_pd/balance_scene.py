"""What balance looks at: what each store bears, and which regions may be moved or handed over now.

One look counts everything once, and counts what it proposes as done. What is left alone, and why,
is counted, too.
"""

from collections.abc import Callable, Collection
from typing import Final

from msgspec import Struct

from flaredb_pd.heard import Heard
from flaredb_pd.ledger import Filters, Weighed
from flaredb_pd.loads import Loads
from flaredb_pd.locations import Locations
from flaredb_pd.operators import Operator
from flaredb_pd.proposals import Proposal
from flaredb_pd.region_map import Sighting
from flaredb_pd.standings import Standing, count
from flaredb_schemas.decisions import Candidate
from flaredb_schemas.ids import RegionId, StoreId
from flaredb_schemas.regions import PeerRole

BALANCE: Final = "balance"
"""The trigger of what is proposed for the sake of balance."""
PRIORITY: Final = 0
"""Below what people wish for, and below repairs."""

TOLERANCE: Final = 0.05
"""A store whose count or weight is within this share of the mean is even enough."""
COLD_SHARE: Final = 0.05
"""A region with less than this share of the mean store's load is cold: leaderships are evened out
by those, and by others where that does not make the load uneven."""

LEAST_LOAD: Final = 200.0
"""Keys per second of a store below which load is no reason to move anything."""

MOST_TRIED: Final = 5
"""How many of the most and of the least laden stores are tried against each other."""

EVEN: Final = "two stores that are even enough"
NOT_LED: Final = "a region that nobody is known to lead"
IS_BUSY: Final = "a region with an operator under way"
TO_BE_MERGED: Final = "a region that somebody wants to be merged"
IS_HURT: Final = "a region with a replica that is away, lost or behind"
IS_CHANGING: Final = "a region not all of whose replicas vote"
WAS_MOVED: Final = "a region that was moved a moment ago, or is about to be merged"
WAS_HANDED_OVER: Final = "a region that was handed over a moment ago"
HAS_ONE: Final = "a region that has, or had, a replica there"
NO_ROOM: Final = "a region for which the store's disk has no room"
HAS_NONE: Final = "a region without a replica there"
IS_OVERWORKED: Final = "a store whose processor is too busy for leading more"
WORSE: Final = "a region whose replicas would stand less far apart"

ALL_EVEN: Final = "every store bears about its share"
NOTHING_MOVES: Final = "no region may be moved now: each is busy, hurt, or was moved a moment ago"
NOTHING_FITS: Final = "no move would bring two stores closer to each other"


class Scene(Struct, frozen=True):
    """What is looked at. Of some regions no replica, or not the leadership, is to be moved now."""

    heard: Heard
    loads: Loads
    running: Collection[Operator]
    moved: Collection[RegionId]
    handed_over: Collection[RegionId]
    bears: Callable[[StoreId], bool]
    """Whether a store takes replicas and leaderships: it is up, and is to stay."""
    places: Locations
    lately: Collection[Operator] = ()
    """What ended a moment ago: what that has changed on disks stores may not have told yet."""
    uniting: Collection[RegionId] = ()
    """What is brought to where a neighbour is, or awaited there, because somebody wants it."""


class Movable:
    """The regions that are whole, and at rest: by the stores that hold a replica which may move,
    and by those whose leadership may; and what was left out of either."""

    def __init__(self) -> None:
        self.held: Final[dict[StoreId, list[Sighting]]] = {}
        self.led: Final[dict[StoreId, list[Sighting]]] = {}
        self.not_held: Final = Filters()
        self.not_led: Final = Filters()


class Look:
    """One look at a scene. Invariant: what is proposed counts as done in `standings`."""

    def __init__(self, scene: Scene) -> None:
        self.loads: Final = scene.loads
        self.places: Final = scene.places
        self.standings: Final = count(
            scene.heard, scene.loads, scene.running, scene.lately, scene.bears
        )
        self.taken: Final[set[RegionId]] = set()
        self._movable: Final = _movable(scene)
        self._moved: Final = frozenset(scene.moved)

    def held(self, store: StoreId) -> list[Sighting]:
        """The regions of which a replica may go away from this store."""
        held = self._movable.held.get(store, ())
        return [one for one in held if one.region.id not in self.taken]

    def led(self, store: StoreId) -> list[Sighting]:
        """The regions that this store leads, and another one may."""
        led = self._movable.led.get(store, ())
        return [one for one in led if one.region.id not in self.taken]

    def may_move(self, region: RegionId) -> bool:
        """Whether a replica of one of the `led` regions may go away from its store."""
        return region not in self._moved and region not in self.taken

    @property
    def not_held(self) -> Filters:
        """What was left out of all that is held."""
        return Filters(self._movable.not_held)

    @property
    def not_led(self) -> Filters:
        """What was left out of all that is led."""
        return Filters(self._movable.not_led)


def _movable(scene: Scene) -> Movable:
    busy = {operator.region for operator in scene.running}
    movable = Movable()
    for sighting in scene.heard.regions:
        region = sighting.region
        why = _why_not(sighting, busy, scene.uniting)
        if why:
            movable.not_held.out(why, region.id)
            movable.not_led.out(why, region.id)
            continue
        if region.id in scene.handed_over:
            movable.not_led.out(WAS_HANDED_OVER, region.id)
        else:
            movable.led.setdefault(sighting.store, []).append(sighting)
        if region.id in scene.moved:
            movable.not_held.out(WAS_MOVED, region.id)
            continue
        for peer in region.peers:
            movable.held.setdefault(peer.store, []).append(sighting)
    return movable


def _why_not(sighting: Sighting, busy: Collection[RegionId], uniting: Collection[RegionId]) -> str:
    report = sighting.report
    if report is None:
        return NOT_LED
    if sighting.region.id in busy:
        return IS_BUSY
    if sighting.region.id in uniting:
        return TO_BE_MERGED
    if report.down or report.pending or report.lost:
        return IS_HURT
    for peer in sighting.region.peers:
        if peer.role is not PeerRole.VOTER:
            return IS_CHANGING
    return ""


def is_free(sighting: Sighting, target: Standing) -> bool:
    """Whether the store has nothing of the region, nor anything left of it."""
    region = sighting.region
    return all(peer.store != target.store for peer in (*region.peers, *region.removed))


def proposed(policy: str, reason: str, best: Candidate, weighed: Weighed) -> Proposal:
    """A move of a replica from the candidate's source to its target."""
    return Proposal(
        "move",
        best.region,
        BALANCE,
        reason,
        PRIORITY,
        add=best.target,
        remove=best.source,
        policy=policy,
        weighed=weighed,
    )


def handed_over(policy: str, reason: str, best: Candidate, weighed: Weighed) -> Proposal:
    """A transfer of leadership to the candidate's target."""
    return Proposal(
        "transfer",
        best.region,
        BALANCE,
        reason,
        PRIORITY,
        to=best.target,
        policy=policy,
        weighed=weighed,
    )
