"""What PD puts right by itself in regions whose replicas are not what they should be.

Needs nothing but what leaders tell and which stores live, so that it also finds what nobody
remembers: an operator that was given up, or a journal that was lost. Of one region the first of
these is repaired: a learner that belongs to nothing under way; a replica that is lost, or whose
store both PD and the region's leader have missed for long; a replica too few; one too many. Where
no other store can take the place of one that is lost, that one is removed first: then there is one
too few, which its own store can get. What only stands badly is moved last of all (`misplaced.py`).
Joint majorities are left by leaders themselves.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from typing import Final, Literal

from msgspec import Struct

from flaredb_pd.config import Config
from flaredb_pd.heard import Heard
from flaredb_pd.instant import Instant
from flaredb_pd.ledger import Filters, Idle, Weighed
from flaredb_pd.locations import locate
from flaredb_pd.misplaced import Misplaced
from flaredb_pd.operators import Operator
from flaredb_pd.placing import Stores, awaited_stores, unfit, weigh_peers, weigh_stores, why_nowhere
from flaredb_pd.proposals import REPAIR, Proposal
from flaredb_pd.region_map import RegionMap, Sighting
from flaredb_pd.state import State
from flaredb_pd.watch import StoreWatch
from flaredb_schemas.ids import RegionId, StoreId
from flaredb_schemas.operators import OperatorKind
from flaredb_schemas.placement import RegionReport
from flaredb_schemas.regions import NEVER_CHANGED, Peer, PeerRole, Region

REPAIRS: Final = "repair"
"""The trigger of what is undertaken here."""

LEARNERS: Final = "repair-learners"
REPLACES: Final = "repair-lost"
ADDS: Final = "repair-missing"
REMOVES: Final = "repair-extra"
"""The policies here."""

POLICIES: Final = {"add": ADDS, "remove": REMOVES, "replace": REPLACES}

WHOLE: Final = {
    LEARNERS: "no learner is left over",
    REPLACES: "no replica is lost, and no store has been away for long",
    ADDS: "no region has a replica too few",
    REMOVES: "no region has a replica too many",
}
"""Why each of them has nothing to do, as a rule."""

LEFTOVER: Final = "a learner that belongs to nothing under way"
LOST: Final = "a replica is lost for good"
LOST_ALONE: Final = "a replica is lost, and only its own store can take another one"
GONE: Final = "its store has been away for long"
MISSING: Final = "a replica too few"
EXTRA: Final = "a replica too many"


class Repairs:
    """What is to be repaired.

    Invariant: `_learners` holds every region that was last told to have a learner.
    """

    def __init__(self, config: Config, watch: StoreWatch) -> None:
        self._config = config
        self._watch = watch
        self._learners: set[RegionId] = set()
        self._misplaced = Misplaced(config)
        self._looked = 0

    def note(self, reports: Iterable[RegionReport]) -> None:
        """Leaders have told of their regions."""
        for report in reports:
            if any(peer.role == "learner" for peer in report.peers):
                self._learners.add(report.id)
            else:
                self._learners.discard(report.id)

    def leftovers(self, state: State, regions: RegionMap) -> Iterator[Proposal]:
        """Which learners are to go, at most one per region."""
        for region in sorted(self._learners):
            sighting = regions.get(region)
            learners = _learners_of(sighting) if sighting is not None else []
            if not learners:
                self._learners.discard(region)
            elif region not in state.operators.running:
                goes = learners[0].store
                yield _repair(LEARNERS, "remove", region, LEFTOVER, Weighed(), remove=goes)

    def others(
        self, state: State, heard: Heard, coming: Callable[[], Counter[StoreId]], now: Instant
    ) -> Iterator[Proposal | Idle]:
        """What else is to be done, at most one thing per region, or why nothing is; O(regions).

        Goes on behind the region with which the last look ended, and then round. `coming` counts
        the replicas that are on their way to each store.
        """
        order = list(heard.regions)
        first = self._looked % max(len(order), 1)
        places = locate(state, heard, self._config.location_labels)
        acts = {one.started.decision.policy for one in state.operators.running.values()}
        stuck: dict[str, Filters] = {}
        for sighting in order[first:] + order[:first]:
            self._looked += 1
            fault = self._fault_of(sighting, state, heard, now)
            if fault is None:
                continue
            stores = Stores(state, heard, self._watch.is_up, self._watch.is_down, coming(), places)
            proposal = _repaired(fault, sighting, stores)
            if proposal is not None:
                acts.add(proposal.policy)
                yield proposal
            else:
                why = why_nowhere(sighting.region, sighting.bytes, stores)
                stuck.setdefault(POLICIES[fault.kind], Filters()).out(why, sighting.region.id)
        acts |= {LEARNERS} if self._learners else set()
        yield from _idle(acts, stuck)
        stores = Stores(state, heard, self._watch.is_up, self._watch.is_down, coming(), places)
        yield from self._misplaced.look(stores, coming, now)

    def _fault_of(
        self, sighting: Sighting, state: State, heard: Heard, now: Instant
    ) -> "Fault | None":
        report, peers = sighting.report, sighting.region.peers
        lost = self._lost_of(sighting, state, heard)
        # How many there should be may have been lost with the journal: then all of them should.
        wanted = state.replicas or len(peers)
        if report is None or (len(peers) == wanted and not report.down and not lost):
            return None
        if any(peer.role is not PeerRole.VOTER for peer in peers):
            return None
        down = {one.peer for one in report.down}
        gone = [peer for peer in peers if peer.id in down and self._is_gone(peer.store, state, now)]
        bad = tuple(lost + gone)
        running = state.operators.running.get(sighting.region.id)
        if running is not None and (not bad or _stands(running, bad)):
            return None
        if bad and len(peers) <= wanted:
            return Fault("replace", LOST if lost else GONE, bad)
        if len(peers) == wanted:
            return None
        return Fault("add", MISSING) if len(peers) < wanted else Fault("remove", EXTRA, bad)

    def _lost_of(self, sighting: Sighting, state: State, heard: Heard) -> list[Peer]:
        """The peers of which nothing is left, or of which there never was anything.

        What initial regions there are may have been lost with the journal before a store had made
        its replicas: nobody can order these any more, and no leader misses whom it never heard.
        """
        region, report = sighting.region, sighting.report
        told = report.lost if report is not None else ()
        unborn = not state.regions and region.epoch == NEVER_CHANGED
        return [
            peer
            for peer in region.peers
            if peer.id in told or (unborn and heard.lacks_replicas(peer.store))
        ]

    def _is_gone(self, store: StoreId, state: State, now: Instant) -> bool:
        if store in state.removed:
            return True
        silent = self._watch.silent(store, now)
        return self._watch.is_down(store) and silent >= self._config.replace_after


class Fault(Struct, frozen=True):
    """What is to be done to a region, and why; `bad` are the replicas that are lost or away."""

    kind: Literal["add", "remove", "replace"]
    why: str
    bad: tuple[Peer, ...] = ()


def _idle(acts: Set[str], stuck: Mapping[str, Filters]) -> Iterator[Idle]:
    """Why those policies that do nothing have nothing to do, or can do nothing."""
    for policy, whole in WHOLE.items():
        if policy in acts:
            continue
        filters = stuck[policy].told() if policy in stuck else ()
        # In one order, so that the reason changes only where it is another one.
        reasons = "; ".join(sorted(one.rule for one in filters))
        yield Idle(policy, reasons or whole, Weighed(filters=filters), usual=not filters)


def _repaired(fault: Fault, sighting: Sighting, stores: Stores) -> Proposal | None:
    """How to repair it; None where no store will do: it is waited for one, and not settled for
    less, nor for a worse place than that of a store that may be back in a moment. What is lost on a
    store that alone will do is removed first."""
    region, report = sighting.region, sighting.report
    assert report is not None
    policy = POLICIES[fault.kind]
    if fault.kind == "remove":
        weighed = weigh_peers(region, sighting.leader, fault.bad, stores)
        spare = weighed.best
        assert spare is not None, "a region without voters"
        return _repair(policy, "remove", region.id, fault.why, weighed, remove=spare.source)
    goes = fault.bad[0] if fault.bad else None
    weighed = weigh_stores(region, goes, report.bytes, stores)
    best = weighed.best
    if best is None:
        return _cleared(fault, sighting.region, report.bytes, weighed, stores)
    stands = {"add": best.target, "remove": best.source}
    return _repair(policy, fault.kind, region.id, fault.why, weighed, **stands)


def _cleared(
    fault: Fault, region: Region, size: int, weighed: Weighed, stores: Stores
) -> Proposal | None:
    """The removal of a lost replica whose own store is fit for another one. It costs no majority:
    whoever is lost counts among the voters, and never votes. Not where nobody would know after it
    that one is missing."""
    back = (peer.store for peer in fault.bad if not unfit(peer.store, size, stores))
    store = next(back, None)
    if store is None or not stores.state.replicas or any(awaited_stores(region, size, stores)):
        return None
    return _repair(REPLACES, "remove", region.id, LOST_ALONE, weighed, remove=store)


def _repair(
    policy: str,
    kind: OperatorKind,
    region: RegionId,
    why: str,
    weighed: Weighed,
    **stores: StoreId,
) -> Proposal:
    return Proposal(kind, region, REPAIRS, why, REPAIR, policy=policy, weighed=weighed, **stores)


def _stands(running: Operator, bad: tuple[Peer, ...]) -> bool:
    """Whether an operator is no less important than a repair, or does the same already."""
    going = running.started.remove
    if running.started.priority >= REPAIR:
        return True
    return going is not None and going.id in {peer.id for peer in bad}


def _learners_of(sighting: Sighting) -> list[Peer]:
    return [peer for peer in sighting.region.peers if peer.role is PeerRole.LEARNER]
