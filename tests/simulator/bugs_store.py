"""Deliberate bugs in the store and the state machine: sessions, snapshots, sleep, outbox, rows."""

from typing import Any

from flaredb.disk.layout import DATA, applied_key, data_rows, region_key
from flaredb.kv import machine, sessions, split
from flaredb.kv.machine import Machine
from flaredb.kv.merge import merging_refusal
from flaredb.kv.sessions import Attempt, Sessions
from flaredb.raft.node import RaftNode
from flaredb.store import cutting, history, installing, snapshots_in, snapshots_out
from flaredb.store.context import Context
from flaredb.store.handing_over import HandingOver
from flaredb.store.installing import Installation
from flaredb.store.overlay import Layer, Overlay
from flaredb.store.records import ReplicaState, save
from flaredb.store.replica import Replica
from flaredb.store.saving import Saver
from flaredb.store.sleeping import Sleeping
from flaredb.store.snapshots_in import SnapshotsIn
from flaredb_schemas.commands import Batch, Split
from flaredb_schemas.failures import InvalidRequest, Refusal, SessionExpired
from flaredb_schemas.frames import SnapshotHeader
from flaredb_schemas.ids import Index, PeerId, StoreId
from flaredb_schemas.regions import Region
from flaredb_schemas.sessions import AppliedState, ExecutedBatch, LaneState
from tests.simulator.bugs import Change, bug
from tests.simulator.clients import Client
from tests.simulator.tasks import Task

# Writes that take effect once.


@bug("dedup-skipped", "a batch is executed as often as it arrives")
def dedup_skipped() -> list[Change]:
    def find(self: Sessions, batch: Batch, forgotten: int, time: int) -> Attempt:
        return Attempt(batch.ops)

    def record(self: Sessions, batch: Batch, *_: Any) -> sessions.Recorded:
        return sessions.Recorded([], 0)

    return [(Sessions, "find", find), (Sessions, "record", record)]


@bug("last-sequence-only", "of a lane only the newest batch is remembered")
def last_sequence_only() -> list[Change]:
    def executed(state: LaneState, sequence: int) -> ExecutedBatch | None:
        newest = max(state.batches, key=lambda known: known.sequence, default=None)
        return newest if newest is not None and newest.sequence == sequence else None

    return [(sessions, "_executed", executed)]


@bug("ops-regrouped", "a client retries ops under another sequence than they had")
def ops_regrouped() -> list[Change]:
    real = Client._name

    def name(self: Client, task: Task, route: Any) -> None:
        if task.session is not None:
            task.session.settle(task.sequence)
            task.session = None
        real(self, task, route)

    return [(Client, "_name", name)]


@bug("expired-taken-for-new", "a batch that is settled or forgotten is executed as a new one")
def expired_taken_for_new() -> list[Change]:
    def find(self: Sessions, batch: Batch, forgotten: int, time: int) -> Attempt | SessionExpired:
        state = self._lanes.get(batch.lane)
        executed = sessions._executed(state, batch.sequence) if state is not None else None
        if executed is None:
            return Attempt(batch.ops)  # settled or forgotten: taken for new
        return sessions._compare(executed, batch.ops)  # type: ignore[return-value]

    return [(Sessions, "find", find)]


@bug("sessions-missing-from-snapshots", "a snapshot brings rows and no sessions")
def sessions_missing() -> list[Change]:
    def load(rows: Any) -> Sessions:
        return Sessions(None, ())

    return [(snapshots_in, "load_sessions", load)]


# Rows.


@bug("overlay-dropped-early", "applied rows leave the overlay before they are on disk")
def overlay_dropped_early() -> list[Change]:
    real = Overlay.seal

    def seal(self: Overlay, number: int) -> Layer:
        layer = real(self, number)
        self._sealed.clear()
        return layer

    return [(Overlay, "seal", seal)]


@bug("applied-index-alone", "the applied index is saved with each batch, the rows come later")
def applied_index_alone() -> list[Change]:
    real = Saver.applied

    def applied(self: Saver, replica: Replica, effects: Any, now: float) -> None:
        real(self, replica, effects, now)
        save(self._batch, applied_key(replica.id), replica.machine.state)

    return [(Saver, "applied", applied)]


@bug("log-cut-past-applied", "the log is cut up to what is committed, saved as applied or not")
def log_cut_past_applied() -> list[Change]:
    def floor(context: Context, replica: Replica) -> Index:
        return Index(min(replica.machine.state.index, replica.log.last))

    return [(cutting, "_floor", floor)]


# Splits.


@bug("range-checked-on-arrival-only", "a batch that a split overtakes is executed all the same")
def range_checked_on_arrival_only() -> list[Change]:
    real = Machine._examine

    def refusal(self: Machine, version: int, batch: Batch) -> Refusal | None:
        attempt = real(self, self.state, version, batch)
        return merging_refusal(self.state) or (None if isinstance(attempt, Attempt) else attempt)

    def examine(self: Machine, state: AppliedState, version: int, batch: Batch) -> Any:
        attempt = self.sessions.find(batch, state.forgotten, state.time)
        if not isinstance(attempt, Attempt) or not attempt.pending:
            return attempt
        return self.sessions.room_refusal(batch) or attempt

    return [(Machine, "refusal", refusal), (Machine, "_examine", examine)]


@bug("split-applied-twice", "of two splits for one epoch the second takes effect as well")
def split_applied_twice() -> list[Change]:
    def refusal(region: Region, command: Split, time: int) -> InvalidRequest | None:
        fault = split._fault(region, command)
        return None if fault is None else InvalidRequest(fault)

    return [(machine, "split_refusal", refusal)]


@bug("sessions-not-copied", "a region that a split has made knows nothing of earlier writes")
def sessions_not_copied() -> list[Change]:
    return [(Sessions, "copy", lambda self: Sessions(self._limits))]


@bug("split-record-alone", "a split is saved before what was applied with it")
def split_record_alone() -> list[Change]:
    def rewritten(self: Saver, replica: Replica) -> None:
        save(self._batch, region_key(replica.id), replica.record())

    return [(Saver, "rewritten", rewritten)]


# Snapshots.


@bug("cleared-before-complete", "the old rows go when a snapshot is offered, not when it is whole")
def cleared_before_complete() -> list[Change]:
    real = SnapshotsIn.offered

    def offered(self: SnapshotsIn, from_store: StoreId, header: SnapshotHeader) -> None:
        real(self, from_store, header)
        if header.region.id in self._arrivals:
            self._context.saver.batch.delete_range(*data_rows(header.region.keys))

    return [(SnapshotsIn, "offered", offered)]


@bug("installing-not-resumed", "after a crash amid an installation the replica goes on as it is")
def installing_not_resumed() -> list[Change]:
    def resume(self: SnapshotsIn, replica: Replica) -> None:
        if replica.installing is not None:
            replica.state, replica.installing = ReplicaState.LIVE, None
            replica.node.allow_campaigns(True)

    return [(SnapshotsIn, "resume", resume)]


@bug("old-rows-kept", "a snapshot's rows are laid over the old ones, and nothing old is removed")
def old_rows_kept() -> list[Change]:
    def write(self: Installation, rows: list[tuple[bytes, bytes]], batch: Any) -> int:
        for key, value in rows:
            batch.put(key, value)
        self.kept += [row for row in rows if row[0][:1] != DATA]
        return sum(len(key) + len(value) for key, value in rows)

    def clear_rest(self: Installation, batch: Any, wanted: int) -> None:
        self._range = wanted

    return [(Installation, "_write", write), (Installation, "_clear_rest", clear_rest)]


@bug("outbox-missing-from-snapshots", "a snapshot brings rows and no events")
def outbox_missing() -> list[Change]:
    real = installing.snapshot_ranges

    def ranges(region: Region) -> tuple[tuple[bytes, bytes], ...]:
        data, _, lanes = real(region)
        return data, lanes

    return [(installing, "snapshot_ranges", ranges), (snapshots_out, "snapshot_ranges", ranges)]


@bug("snapshot-never-reported", "a snapshot that fails is not reported to Raft")
def snapshot_never_reported() -> list[Change]:
    real = RaftNode.report_snapshot

    def report(self: RaftNode, peer: Any, ok: bool) -> None:
        if ok:
            real(self, peer, ok)

    return [(RaftNode, "report_snapshot", report)]


# Sleep, events, messages of another replica.


@bug("sleeping-leader-not-replaced", "who leads in its sleep and is killed is not missed")
def sleeping_leader_not_replaced() -> list[Change]:
    return [
        (Sleeping, "_wake_led_by", lambda self, store, for_good: None),
        (Sleeping, "_is_lost", lambda self, replica: False),
        (Sleeping, "missed", lambda self, replica: None),
    ]


@bug("handed-over-asleep", "who hands over in its sleep goes on sleeping, whatever becomes of that")
def handed_over_asleep() -> list[Change]:
    def hand_over(self: HandingOver, replica: Replica, to: PeerId) -> None:
        replica.node.transfer_leader(to)
        self._context.touch(replica.id)

    return [(HandingOver, "_hand_over", hand_over)]


@bug("sleep-without-agreement", "followers fall asleep with whatever they have")
def sleep_without_agreement() -> list[Change]:
    def answer(self: Sleeping, replica: Replica, offer: Any, from_store: StoreId) -> None:
        self._fall_asleep(replica)

    def consider(self: Sleeping, replica: Replica) -> None:
        rested = self._context.now - replica.last_activity
        if rested >= self._context.settings.sleep_after_ms / 1000 and replica.leads:
            self._fall_asleep(replica)

    return [(Sleeping, "_answer", answer), (Sleeping, "_consider", consider)]


@bug("published-before-acknowledged", "an event counts as published once it was offered")
def published_before_acknowledged() -> list[Change]:
    real = history.History.published

    def published(self: history.History, token: int, ok: bool) -> None:
        real(self, token, True)

    return [(history.History, "published", published)]
