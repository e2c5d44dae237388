"""apply(entry) -> effects: the one door of a region's state machine.

Entries come in the order of the log, each once. What an entry does depends on nothing but the entry
and what the entries before it did, so all replicas agree; whoever applies may hand in the decoded
batch, which changes the speed and nothing else. The machine holds the region's sizes and sessions;
the rows are the host's, who adds `Effects.rows` to the view before the next call.
"""

from collections.abc import Iterable, Sequence
from typing import assert_never

from msgspec import Struct
from msgspec.structs import replace

from flaredb.kv import merge, peers
from flaredb.kv.epoch import version_refusal
from flaredb.kv.sessions import Attempt, Sessions
from flaredb.kv.split import recounted, split_event, split_refusal, split_regions, split_states
from flaredb.kv.view import DataView, Layer
from flaredb.kv.writes import Writer, find_fault, first_outside
from flaredb_schemas.commands import (
    BATCHES,
    AbortMerge,
    Batch,
    CheckReplicas,
    Command,
    CommitMerge,
    ForgetRemoved,
    Lane,
    LeaderStarted,
    Outcome,
    PrepareMerge,
    Recount,
    RollBackMerge,
    Split,
    Write,
)
from flaredb_schemas.envelope import Malformed
from flaredb_schemas.events import Event, LeaderChanged, entry_event_id
from flaredb_schemas.failures import InvalidRequest, KeyNotInRegion, Refusal, SessionExpired
from flaredb_schemas.ids import NO_REGION, Index, RegionId, Term
from flaredb_schemas.membership import PeersChange
from flaredb_schemas.regions import Region, Route
from flaredb_schemas.sessions import AppliedState, LaneState

__all__ = ["AppliedState", "Effects", "Executed", "Machine"]


class Executed(Struct, frozen=True):
    """The batch was executed: an outcome per op, in their order, and the region's time after it."""

    outcomes: tuple[Outcome, ...]
    time: int


class Effects(Struct, frozen=True):
    """What follows from one entry, for the host to show, save, publish and answer.

    `rows` are keys and values (None: removed), each key once; `written_bytes` counts the keys and
    values of all writes that led to them. `lanes` are the lanes of the session table that changed
    (None: dropped); `events` are in order and the same on every replica. `answer` is for whoever
    proposed a write; a refusal had no effect. `check` is the nonce under which the state after this
    very entry is to be hashed. `children` are the machines of the regions that a split made: from
    this entry on their keys are theirs. `absorbed` is the region that is a part of this one from
    this entry on; `changed_peers` says that the region's peers, or those that have left it, are
    others.
    """

    rows: Sequence[tuple[bytes, bytes | None]] = ()
    written_bytes: int = 0
    lanes: Sequence[tuple[Lane, LaneState | None]] = ()
    events: tuple[Event, ...] = ()
    answer: Executed | Refusal | None = None
    check: int | None = None
    children: "tuple[Machine, ...]" = ()
    absorbed: RegionId = NO_REGION
    changed_peers: bool = False


class Machine:
    """One region's state machine.

    Invariants: `state.index` rises by one per applied entry and `state.term` never falls;
    `state.time` never falls and is later than `state.forgotten`; `state.bytes` and `state.keys` are
    exact unless `state.estimated`, and then not negative; while `state.merging` stands, only
    `index` and `term` change. A call that raises leaves the machine unusable: the process must
    stop.
    """

    __slots__ = ("region", "sessions", "state")

    def __init__(self, region: Region, state: AppliedState, sessions: Sessions) -> None:
        self.region = region
        self.state = state
        self.sessions = sessions
        assert state.forgotten < state.time, "the region's time is later than what it forgot"

    def apply(
        self,
        index: Index,
        term: Term,
        command: Command,
        view: DataView,
        batch: Batch | None = None,
        source: "Machine | None" = None,
    ) -> Effects:
        """Execute a committed command.

        `view` shows the rows after all earlier entries. `batch` is `command.batch` decoded by
        `BATCHES`, if the caller has it already. `source` is the machine of the region that a
        `CommitMerge` at this region's epoch names; it has applied its own `PrepareMerge`, and is
        of no use afterwards if it was absorbed.
        """
        state = self._advanced(index, term, command.time)
        match command:
            case Write():
                state, effects = self._write(state, command, view, batch)
            case LeaderStarted():
                effects = Effects(events=self._leader_changed(state, command))
            case CheckReplicas():
                effects = Effects(check=command.nonce)
            case Split():
                state, effects = self._split(state, command)
            case Recount():
                state, effects = recounted(self.region, state, command), Effects()
            case PrepareMerge():
                state, effects = self._prepare_merge(state, command)
            case CommitMerge():
                state, effects = self._commit_merge(state, command, source)
            case AbortMerge():
                effects = self._abort_merge(state, command)
            case RollBackMerge():
                state, effects = self._roll_back_merge(state, command)
            case ForgetRemoved():
                effects = self._forget_removed(state, command)
            case _:
                assert_never(command)
        self._settle(state)
        return effects

    def apply_empty(self, index: Index, term: Term) -> Effects:
        """Pass over an entry that holds no command: a leader's first."""
        self._settle(self._advanced(index, term, 0))
        return Effects()

    def apply_peers(self, index: Index, term: Term, change: PeersChange | None) -> Effects:
        """Change the region's peers; None: leave the joint state. Nothing, where that is void."""
        state = self._advanced(index, term, change.time if change is not None else 0)
        self._settle(state)
        if peers.is_void(self.region, state, change):
            return Effects()
        self.region = peers.changed(self.region, change)
        event = peers.peers_event(self.region, state, change)
        return Effects(events=(event,), changed_peers=True)

    def refusal(self, version: int, batch: Batch) -> Refusal | None:
        """Why `batch` would be refused if it were applied now; for a leader, before it proposes.

        None promises nothing: it is all checked again when the entry is applied.
        """
        merging = merge.merging_refusal(self.state)
        if merging is not None:
            return merging
        attempt = self._examine(self.state, version, batch)
        return None if isinstance(attempt, Attempt) else attempt

    def _advanced(self, index: Index, term: Term, time: int) -> AppliedState:
        """The state one entry further, which must be the next one."""
        before = self.state
        assert index == before.index + 1, f"entry {index} applied after {before.index}"
        assert term >= before.term, f"entry of term {term} applied after one of {before.term}"
        merging = before.merging
        return AppliedState(
            index,
            term,
            max(before.time, time) if merging is None else before.time,
            before.forgotten,
            before.bytes,
            before.keys,
            before.estimated,
            merging,
        )

    def _settle(self, state: AppliedState) -> None:
        counted = state.bytes >= 0 and state.keys >= 0
        assert counted or state.estimated, "a region's sizes are never negative"
        assert state.forgotten < state.time, "the region's time is later than what it forgot"
        self.state = state

    def _write(
        self, state: AppliedState, command: Write, view: DataView, batch: Batch | None
    ) -> tuple[AppliedState, Effects]:
        refusal = merge.merging_refusal(state)
        if refusal is not None:
            return state, _refused(refusal)
        decoded = BATCHES.decode(command.batch) if batch is None else batch
        if isinstance(decoded, Malformed):
            return state, _refused(InvalidRequest(f"malformed batch: {decoded.reason}"))
        if decoded.lane.opened > state.time:
            # Opened by the time of a region that this one was a part of; it is told this one's.
            # Dropping such a lane would move the region's time, by as much as the client likes.
            return state, _refused(SessionExpired(state.time))
        attempt = self._examine(state, command.version, decoded)
        if not isinstance(attempt, Attempt):
            return state, _refused(attempt)
        return self._execute(state, decoded, attempt, view)

    def _examine(self, state: AppliedState, version: int, batch: Batch) -> Attempt | Refusal:
        """Which ops of `batch` are to be executed, or why it is refused."""
        fault = find_fault(batch)
        if fault is not None:
            return InvalidRequest(fault)
        attempt = self.sessions.find(batch, state.forgotten, state.time)
        if not isinstance(attempt, Attempt) or not attempt.pending:
            return attempt
        refusal = version_refusal(self.region, version, state.time)
        if refusal is not None:
            return refusal
        outside = first_outside(self.region.keys, attempt.pending)
        if outside is not None:
            return KeyNotInRegion(outside, Route(self.region, time=state.time))
        return self.sessions.room_refusal(batch) or attempt

    def _execute(
        self, state: AppliedState, batch: Batch, attempt: Attempt, view: DataView
    ) -> tuple[AppliedState, Effects]:
        layer = Layer(view)
        writer = Writer(layer)
        fresh = tuple([writer.execute(op) for op in attempt.pending])
        recorded = self.sessions.record(batch, attempt.pending, fresh, state.time)
        forgotten = max(state.forgotten, recorded.forgotten)
        # Clients open lanes at the region's time: it must be later than any that is forgotten.
        time = max(state.time, forgotten + 1)
        size, keys = state.bytes + writer.bytes, state.keys + writer.keys
        after = AppliedState(state.index, state.term, time, forgotten, size, keys, state.estimated)
        outcomes = _in_order(batch, attempt, fresh) if attempt.known else fresh
        return after, Effects(
            rows=list(layer.rows.items()),
            written_bytes=writer.written_bytes,
            lanes=recorded.lanes,
            answer=Executed(outcomes, time),
        )

    def _split(self, state: AppliedState, command: Split) -> tuple[AppliedState, Effects]:
        refusal = merge.merging_refusal(state) or split_refusal(self.region, command, state.time)
        if refusal is not None:
            return state, _refused(refusal)
        regions = split_regions(self.region, command)
        states = split_states(state, command)
        self.region = regions[0]
        children = [
            Machine(region, child, self.sessions.copy())
            for region, child in zip(regions[1:], states[1:], strict=True)
        ]
        event = split_event(regions, states[0], command)
        return states[0], Effects(events=(event,), children=tuple(children))

    def _prepare_merge(
        self, state: AppliedState, command: PrepareMerge
    ) -> tuple[AppliedState, Effects]:
        refusal = merge.epoch_refusal(self.region, command, state)
        if refusal is not None:
            return state, _refused(refusal)
        event = merge.prepared_event(self.region, state, command)
        return merge.prepared(state, command), Effects(events=(event,))

    def _commit_merge(
        self, state: AppliedState, command: CommitMerge, source: "Machine | None"
    ) -> tuple[AppliedState, Effects]:
        refusal = merge.epoch_refusal(self.region, command, state)
        if refusal is not None:
            return state, _refused(refusal)
        assert source is not None, "who absorbs a region has it at hand"
        mine, its = self.region, source.region
        invalid = merge.absorb_refusal(mine, its, source.state.merging, command)
        if invalid is not None:
            return state, _refused(invalid)
        recorded = self.sessions.unite(source.sessions, state.forgotten, source.state.forgotten)
        united = merge.united_state(state, source.state, recorded.forgotten)
        self.region = merge.united_region(mine, its)
        before = [(mine, state), (its, source.state)]
        event = merge.merged_event(self.region, united, before, command)
        return united, Effects(lanes=recorded.lanes, events=(event,), absorbed=its.id)

    def _abort_merge(self, state: AppliedState, command: AbortMerge) -> Effects:
        refusal = merge.epoch_refusal(self.region, command, state)
        if refusal is not None:
            return _refused(refusal)
        self.region = merge.aborted_region(self.region)
        return Effects(events=(merge.aborted_event(self.region, state, command),))

    def _roll_back_merge(
        self, state: AppliedState, command: RollBackMerge
    ) -> tuple[AppliedState, Effects]:
        merging = state.merging
        if merging is None or merging.index != command.index:
            return state, Effects()
        event = merge.rolled_back_event(self.region, state, merging, command.time)
        return replace(state, merging=None), Effects(events=(event,))

    def _forget_removed(self, state: AppliedState, command: ForgetRemoved) -> Effects:
        left = peers.forgotten(self.region, command.peers)
        if state.merging is not None or left == self.region:
            return Effects()
        self.region = left
        return Effects(changed_peers=True)

    def _leader_changed(
        self, state: AppliedState, command: LeaderStarted
    ) -> tuple[LeaderChanged, ...]:
        """Nothing while the region is being merged: not every replica may come to apply it."""
        if state.merging is not None:
            return ()
        region = self.region.id
        event = LeaderChanged(
            id=entry_event_id(region, state.term, state.index, "leader_changed", 0),
            at=command.time,
            region=region,
            term=state.term,
            index=state.index,
            leader=command.peer,
            store=command.store,
            previous=command.previous,
        )
        return (event,)


def _refused(refusal: Refusal) -> Effects:
    return Effects(answer=refusal)


def _in_order(batch: Batch, attempt: Attempt, fresh: Iterable[Outcome]) -> tuple[Outcome, ...]:
    """The known and the fresh outcomes, in the order of the batch's ops."""
    outcomes = dict(attempt.known)
    outcomes.update(zip((op.op for op in attempt.pending), fresh, strict=True))
    return tuple([outcomes[op.op] for op in batch.ops])
