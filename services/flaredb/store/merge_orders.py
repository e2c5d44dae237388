"""From the wish for a merge to its end: agree, absorb, or give up; driven by the source's leader.

A source that has agreed serves nobody, so whoever leads it brings the merge to an end, after a
restart and a change of leaders too: what there is to do follows from what the source and its target
have applied on this store. The target's leader must be here to propose; if it is elsewhere, the
source's leadership goes there.

A source goes on as it was only when its target's replica beside it has moved on to a later epoch
(or is a part of a third region) and the source is still here: then the target has not absorbed it,
and can do so no more.

Where the source's leader loses its leadership before it has agreed, its replica here says what came
of that as soon as it has applied the agreement, or an entry of a later term; where it hears of
neither, it says that nobody knows.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from msgspec import Struct

from flaredb.kv.merge import has_moved_on
from flaredb.store.applying import propose_command
from flaredb.store.context import Context
from flaredb.store.merge_fitness import cannot_agree, obstacle, unfit
from flaredb.store.records import ReplicaState
from flaredb.store.replica import Replica
from flaredb.store.sleeping import Sleeping
from flaredb.store.tombstones import is_absorbed
from flaredb_schemas.commands import (
    MAX_REASON,
    AbortMerge,
    Command,
    CommitMerge,
    PrepareMerge,
    RollBackMerge,
)
from flaredb_schemas.envelope import Codec
from flaredb_schemas.ids import NO_PEER, RegionId, StoreId, Term
from flaredb_schemas.merges import MergeEnded, OrderMerge
from flaredb_schemas.regions import Epoch
from flaredb_schemas.sessions import Merging
from flaredb_schemas.splits import IN_DOUBT
from flaredb_schemas.subjects import Subjects

MERGE_ENDED: Final[Codec[MergeEnded]] = Codec(MergeEnded)

PATIENCE_SECONDS: Final = 3.0
"""How long a leader tries to have its region absorbed before it gives the merge up."""

REPEAT_SECONDS: Final = 0.5
"""A step that was proposed and has not taken effect is proposed again after so long."""

MANUAL: Final = "manual"
"""The trigger of a merge that somebody asked for."""

KEPT_ENDS: Final = 64


class Course(Struct):
    """A source on its way, as led from here; `until` is when its leader gives up, `reason` why it
    has."""

    until: float
    next_step: float = 0.0
    reason: str = ""


class Wish(Struct):
    """An order of PD.

    `until` is how long it waits for both regions to be fit for it; and, once it is proposed and the
    source is led elsewhere, to be heard of here.
    """

    body: OrderMerge
    until: float
    proposed: Term | None = None
    """In which term the source was asked to agree, once it was."""


class MergeOrders:
    """The merges that this store was ordered to begin, and those whose source it leads.

    Invariants: `_courses` holds every region here that has agreed to be merged (and perhaps some
    that have not any more); `_wishes` the orders that have no end yet; each ends in one report,
    which is kept for a while.
    """

    __slots__ = ("_context", "_courses", "_ended", "_send", "_sleeping", "_subjects", "_wishes")

    def __init__(
        self,
        context: Context,
        sleeping: Sleeping,
        subjects: Subjects,
        send: Callable[[str, bytes], bool],
    ) -> None:
        self._context = context
        self._sleeping = sleeping
        self._subjects = subjects
        self._send = send
        self._courses: dict[RegionId, Course] = {}
        self._wishes: dict[RegionId, Wish] = {}
        self._ended: OrderedDict[int, MergeEnded] = OrderedDict()

    def find_all(self) -> None:
        """After a start: take up the merges that were under way."""
        for replica in self._context.registry:
            self.note(replica)

    def note(self, replica: Replica) -> None:
        """The region may have agreed to be merged."""
        if replica.machine.state.merging is not None:
            until = self._context.now + PATIENCE_SECONDS
            self._courses.setdefault(replica.id, Course(until))

    def ordered(self, body: OrderMerge) -> None:
        """PD wants a region merged into its neighbour."""
        if body.nonce in self._ended:
            self._tell(self._ended[body.nonce])
            return
        self._wake(body.region)
        self._wake(body.target)
        known = self._wishes.get(body.region)
        if known is None:
            wish = Wish(body, self._context.now + PATIENCE_SECONDS)
            self._wishes[body.region] = wish
            self._begin(wish)
        elif known.body.nonce != body.nonce:
            self._report(body, f"another merge of region {body.region} is under way")

    def _wake(self, region: RegionId) -> None:
        """Who is to be merged hears its peers: of those of a region that sleeps nothing is known.

        Only where it is led: a follower awake beside a leader that sleeps would stand for election.
        """
        replica = self._context.registry.get(region)
        if replica is not None and replica.leads:
            self._sleeping.wake(replica)
            self._context.touch(region)

    def _begin(self, wish: Wish) -> None:
        """Have the source agree, as soon as both are fit for it."""
        body = wish.body
        source = self._context.registry.get(body.region)
        target = self._context.registry.get(body.target)
        refused = obstacle(source, target, body)
        if not refused and source is not None and target is not None:
            refused = self._too_large(source, target, body)
        if not refused and source is not None and target is not None:
            refused = unfit(source) or unfit(target)
            if refused and self._context.now < wish.until:
                return
            if not refused and self._propose(source, self._prepare(body)):
                wish.proposed = source.node.term
                return
        self._finish(wish, refused or "the leader takes no entry now")

    def _too_large(self, source: Replica, target: Replica, body: OrderMerge) -> str:
        """Why the two had better stay two: they would be cut again before long."""
        settings = self._context.settings
        mine, other = source.machine.state.size, target.machine.state.size
        large = 2 * (mine.bytes + other.bytes) > settings.split_bytes
        many = 2 * (mine.keys + other.keys) > settings.split_keys
        if body.trigger == MANUAL or not (large or many):
            return ""
        return f"regions {source.id} and {target.id} would be cut again before long"

    def _prepare(self, body: OrderMerge) -> PrepareMerge:
        return PrepareMerge(
            self._wall(),
            body.epoch.conf_ver,
            body.epoch.version,
            body.target,
            body.target_epoch.conf_ver,
            body.target_epoch.version,
            body.trigger,
            body.triggered,
        )

    def ended(self, region: RegionId, refused: str) -> None:
        """The merge of `region` has taken effect here, or was rolled back."""
        course = self._courses.pop(region, None)
        wish = self._wishes.get(region)
        if refused and course is not None and course.reason:
            refused = f"{refused}: {course.reason}"
        if wish is not None:
            self._finish(wish, refused)

    def left(self, region: RegionId) -> None:
        """The replica of `region` is no more, and nothing here shows what became of its merge."""
        self._courses.pop(region, None)
        wish = self._wishes.get(region)
        if wish is not None:
            self._finish(wish, _unless_known(wish, "its leader's replica has left the region"))

    def tick(self) -> None:
        """Once per tick: do what is next for each source that is led from here."""
        for region, course in list(self._courses.items()):
            replica = self._context.registry.get(region)
            merging = replica.machine.state.merging if replica is not None else None
            if replica is None or merging is None:
                del self._courses[region]
            elif replica.state is ReplicaState.LIVE and replica.leads:
                self._go_on(replica, merging, course)
            elif replica.state is ReplicaState.DAMAGED:
                self._give_up(replica, merging, course)
            else:
                course.until = self._context.now + PATIENCE_SECONDS
        for region, wish in list(self._wishes.items()):
            if wish.proposed is None:
                self._begin(wish)
            elif region not in self._courses:
                self._look_after(wish, wish.proposed)

    def _look_after(self, wish: Wish, proposed: Term) -> None:
        """The source was asked to agree, and has not done so yet as far as is known here."""
        source = self._context.registry.get(wish.body.region)
        if source is not None and cannot_agree(source, wish.body, proposed):
            self._finish(wish, "the region did not agree to it")
        elif source is not None and source.leads:
            wish.until = self._context.now + PATIENCE_SECONDS
        elif self._context.now >= wish.until:
            led = f"this store does not lead region {wish.body.region} any more"
            self._finish(wish, _unless_known(wish, led))

    def _go_on(self, source: Replica, merging: Merging, course: Course) -> None:
        now = self._context.now
        target = self._context.registry.get(merging.target)
        if now < course.next_step:
            return
        if target is None or target.state is ReplicaState.EMPTY:
            if is_absorbed(self._context.disk.view, merging.target):
                self._step(source, course, RollBackMerge(self._wall(), merging.index))
            else:
                self._hand_on(source, course)
        elif has_moved_on(target.region, source.region, merging):
            self._step(source, course, RollBackMerge(self._wall(), merging.index))
        elif target.state is ReplicaState.DAMAGED:
            self._hand_on(source, course)
        elif not target.leads:
            self._follow(source, target, course)
        elif now >= course.until:
            self._abort(target, target.region.epoch, source.id, course, _lateness(source, merging))
        elif _all_have_agreed(source, merging):
            self._step(target, course, self._commit(source, merging))

    def _commit(self, source: Replica, merging: Merging) -> CommitMerge:
        return CommitMerge(
            self._wall(),
            merging.conf_ver,
            merging.version,
            source.id,
            merging.index,
            merging.term,
            merging.trigger,
            merging.triggered,
        )

    def _follow(self, source: Replica, target: Replica, course: Course) -> None:
        """Lead the source from where its target is led."""
        leader = target.node.leader
        store = target.store_of(leader) if leader != NO_PEER else None
        peer = source.region.peer_on(store) if store else None
        if peer is not None and not source.node.transfer_target:
            course.next_step = self._context.now + REPEAT_SECONDS
            source.node.transfer_leader(peer.id)
            self._context.touch(source.id)

    def _hand_on(self, source: Replica, course: Course) -> None:
        """Here is no target that could say what is next: another store leads the source."""
        course.next_step = self._context.now + REPEAT_SECONDS
        progress = source.node.status().progress
        others = [peer for peer in progress if peer != source.peer and progress[peer].recent_active]
        if others and not source.node.transfer_target:
            source.node.transfer_leader(max(others, key=lambda peer: progress[peer].match))
            self._context.touch(source.id)

    def _give_up(self, source: Replica, merging: Merging, course: Course) -> None:
        """The source is damaged where its target is led: nobody else can have that give it up."""
        target = self._context.registry.get(merging.target)
        due = self._context.now >= course.next_step
        if due and target is not None and target.leads and target.state is ReplicaState.LIVE:
            named = Epoch(merging.conf_ver, merging.version)
            reason = f"the replica of region {source.id} is damaged where region {target.id} is led"
            self._abort(target, named, source.id, course, reason)

    def _abort(
        self, target: Replica, epoch: Epoch, source: RegionId, course: Course, reason: str
    ) -> None:
        course.reason = reason[:MAX_REASON]
        named = epoch.conf_ver, epoch.version
        self._step(target, course, AbortMerge(self._wall(), *named, source, course.reason))

    def _step(self, replica: Replica, course: Course, command: Command) -> None:
        course.next_step = self._context.now + REPEAT_SECONDS
        self._propose(replica, command)

    def _propose(self, replica: Replica, command: Command) -> bool:
        refusal = propose_command(replica, command)
        self._sleeping.wake(replica)
        self._context.touch(replica.id)
        return refusal is None

    def _finish(self, wish: Wish, refused: str) -> None:
        del self._wishes[wish.body.region]
        self._report(wish.body, refused)

    def _report(self, body: OrderMerge, refused: str) -> None:
        me = self._context.me
        ended = MergeEnded(me.store, me.boot, me.cluster, body.region, body.nonce, refused)
        self._ended[body.nonce] = ended
        while len(self._ended) > KEPT_ENDS:
            self._ended.popitem(last=False)
        self._tell(ended)

    def _tell(self, ended: MergeEnded) -> None:
        subject = self._subjects.pd_request(ended.store, "merge")
        self._send(subject, MERGE_ENDED.encode(ended))

    def _wall(self) -> int:
        return self._context.clock.wall()


def _unless_known(wish: Wish, reason: str) -> str:
    """Why nothing came of it; or that something may have."""
    return reason if wish.proposed is None else f"{reason}; {IN_DOUBT}"


def _all_have_agreed(source: Replica, merging: Merging) -> bool:
    """Whether every peer has saved the entry by which the source agreed."""
    return not _missing(source, merging)


def _missing(source: Replica, merging: Merging) -> list[StoreId]:
    """The stores that have not said that they have that entry."""
    progress = source.node.status().progress
    return [peer.store for peer in source.region.peers if progress[peer.id].match < merging.index]


def _lateness(source: Replica, merging: Merging) -> str:
    """Why the source has not been absorbed in time."""
    missing = ", ".join(map(str, _missing(source, merging)))
    if missing:
        wait = f"{PATIENCE_SECONDS:g} s"
        return f"nothing was heard of region {source.id} on store {missing} in {wait}"
    return f"region {merging.target} has not taken it in within {PATIENCE_SECONDS:g} s"
