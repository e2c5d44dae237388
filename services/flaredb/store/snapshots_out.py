"""A region's state on its way to a replica that is too far behind for log entries.

The rows are copied beside the loop to a file, from one moment of the disk; then the receiver
fetches the file piece by piece, at its own pace. Every attempt ends in exactly one report to Raft,
by its deadline at the latest, and the log is not cut past the copied state meanwhile, nor right
after that.
"""

import enum
import logging
import zlib
from collections.abc import Callable
from typing import Final

from msgspec import Struct

from flaredb.disk.disk import Copied, CopyRows, DiskError, JobFailed, JobResult
from flaredb.disk.layout import applied_key, region_key
from flaredb.kv.machine import AppliedState
from flaredb.store.catching_up import CatchingUp
from flaredb.store.context import Context
from flaredb.store.guarding import Guard, raise_damage
from flaredb.store.installing import snapshot_ranges
from flaredb.store.jobs import Jobs
from flaredb.store.records import ReplicaRecord, ReplicaState, decode, encode, open_sealed
from flaredb.store.replica import Replica, configuration_of
from flaredb.store.snapshot_pauses import SnapshotPauses
from flaredb_schemas.envelope import Codec
from flaredb_schemas.frames import (
    SnapshotChunk,
    SnapshotEnded,
    SnapshotHeader,
    SnapshotItem,
    SnapshotPull,
    Transfer,
)
from flaredb_schemas.ids import PeerId, RegionId, StoreId
from flaredb_schemas.keys import KeyRange
from flaredb_schemas.raft import SnapshotMeta
from flaredb_schemas.subjects import Subjects

log: Final = logging.getLogger(__name__)

SNAPSHOT_ITEMS: Final[Codec[SnapshotItem]] = Codec(SnapshotItem)

LONGEST_COPY_SECONDS: Final = 60.0
"""A read that is held longer would keep the disk from using freed pages again."""

CHUNK_BYTES: Final = 256 * 1024
SILENCE_SECONDS: Final = 10.0
"""An attempt whose receiver says nothing for so long has failed."""


class Phase(enum.Enum):
    """How far an attempt is."""

    WAITING = 0
    COPYING = 1
    SENDING = 2


class Attempt(Struct):
    """One snapshot to one peer."""

    replica: Replica
    peer: PeerId
    store: StoreId
    transfer: Transfer
    seconds: float
    deadline: float
    phase: Phase = Phase.WAITING
    keys: KeyRange | None = None
    """The range whose rows are copied."""
    header: SnapshotHeader | None = None

    @property
    def file(self) -> str:
        """The file that holds the rows."""
        return f"out-{self.replica.id}-{self.transfer.boot}-{self.transfer.number}"


class SnapshotsOut:
    """The snapshots that this store sends.

    Invariants: one attempt per region and peer; no more are copied or sent at a time than the
    setting says, and a copy counts until its job has ended, also when its attempt has been given up
    (else such jobs pile up, and each keeps the next one waiting until it is given up, too); each
    attempt ends in one report, and after one that came to nothing there is a pause; a region keeps
    its log from the floor of each attempt on; a replica whose rows or records are found damaged is
    out of service, and sends nothing.
    """

    __slots__ = (
        "_attempts",
        "_catching_up",
        "_context",
        "_copying",
        "_guard",
        "_jobs",
        "_number",
        "_pauses",
        "_seconds",
        "_send",
        "_subjects",
    )

    def __init__(
        self,
        context: Context,
        jobs: Jobs,
        guard: Guard,
        subjects: Subjects,
        send: Callable[[str, bytes], bool],
    ) -> None:
        self._context = context
        self._jobs = jobs
        self._guard = guard
        self._subjects = subjects
        self._send = send
        self._number = 0
        self._copying = 0
        self._attempts: dict[tuple[RegionId, PeerId], Attempt] = {}
        self._pauses = SnapshotPauses()
        self._catching_up = CatchingUp(context)
        self._seconds: dict[RegionId, float] = {}

    def begin(self, replica: Replica, peer: PeerId, store: StoreId) -> None:
        """Raft has offered a snapshot to `peer`."""
        name = (replica.id, peer)
        if name in self._attempts:
            return
        self._number += 1
        settings = self._context.settings
        attempt = Attempt(
            replica,
            peer,
            store,
            Transfer(self._context.me.boot, self._number),
            self._seconds.get(replica.id, settings.snapshot_seconds),
            self._context.now + LONGEST_COPY_SECONDS + SILENCE_SECONDS,
        )
        self._attempts[name] = attempt
        self._catching_up.forget(name)
        replica.snapshot_floor[peer] = replica.saved_applied
        self._start_waiting()

    def handle(self, from_store: StoreId, item: SnapshotPull | SnapshotEnded) -> None:
        """The receiver of an attempt says something."""
        attempt = self._find(item.transfer, from_store)
        if attempt is None:
            return
        if isinstance(item, SnapshotEnded):
            self._end(attempt, item.ok, item.reason)
            return
        attempt.deadline = self._context.now + SILENCE_SECONDS
        try:
            data = self._context.disk.files.read(attempt.file, item.offset, CHUNK_BYTES)
        except DiskError as fault:
            self._end(attempt, False, str(fault))
            return
        if data:
            chunk = SnapshotChunk(item.transfer, item.region, item.offset, data, zlib.crc32(data))
            self._emit(attempt, chunk)

    def tick(self) -> None:
        """Once per tick: end what has been silent for too long, or has lost its leader."""
        for attempt in list(self._attempts.values()):
            if not self._may_send(attempt.replica):
                self._end(attempt, False, "this replica leads no longer, or is damaged")
            elif self._context.now > attempt.deadline:
                self._end(attempt, False, "nothing was heard of the receiver")
        self._catching_up.tick()
        self._pauses.forget(self._context.now)
        self._start_waiting()

    def __len__(self) -> int:
        return len(self._attempts)

    def _start_waiting(self) -> None:
        sending = sum(attempt.phase is Phase.SENDING for attempt in self._attempts.values())
        busy = sending + self._copying
        for name, attempt in self._attempts.items():
            if busy >= self._context.settings.snapshots_at_once:
                return
            due = attempt.phase is Phase.WAITING and self._pauses.is_over(name, self._context.now)
            if due:
                busy += 1
                self._copy(attempt)

    def _copy(self, attempt: Attempt) -> None:
        attempt.phase = Phase.COPYING
        attempt.deadline = self._context.now + attempt.seconds + SILENCE_SECONDS
        region = attempt.replica.region
        attempt.keys = region.keys
        job = CopyRows(
            self._jobs.next_number(),
            attempt.file,
            (applied_key(region.id), region_key(region.id)),
            snapshot_ranges(region),
            attempt.seconds,
        )
        self._copying += 1
        self._jobs.start(job, lambda result: self._copied(attempt, result))

    def _copied(self, attempt: Attempt, result: JobResult) -> None:
        self._copying -= 1
        region = attempt.replica.id
        self._guard(attempt.replica, _examine, (attempt, result))
        if self._attempts.get((region, attempt.peer)) is not attempt:
            self._context.disk.files.delete(attempt.file)
            self._start_waiting()
            return
        if not isinstance(result, Copied):
            assert isinstance(result, JobFailed)
            self._context.disk.files.delete(attempt.file)  # whose process was killed leaves it
            if result.expired:
                self._seconds[region] = min(LONGEST_COPY_SECONDS, attempt.seconds * 2)
            self._end(attempt, False, result.reason)
            return
        self._seconds.pop(region, None)
        attempt.phase = Phase.SENDING
        if attempt.header is not None and attempt.header.region.keys != attempt.keys:
            self._end(attempt, False, "the region's range has changed while its rows were copied")
            return
        if attempt.header is not None and attempt.header.region.peer(attempt.peer) is None:
            self._end(attempt, False, "the peer was not a member yet when the rows were copied")
            return
        if not self._may_send(attempt.replica):
            self._end(attempt, False, "this replica leads no longer, or is damaged")
            return
        assert attempt.header is not None, "what may be sent was examined"
        attempt.deadline = self._context.now + SILENCE_SECONDS
        self._emit(attempt, attempt.header)

    def _may_send(self, replica: Replica) -> bool:
        """Whether its rows are worth having: those of a damaged replica would spread the damage."""
        current = self._context.registry.current(replica)
        return current and replica.leads and replica.state is ReplicaState.LIVE

    def _end(self, attempt: Attempt, ok: bool, reason: str) -> None:
        replica = attempt.replica
        name = replica.id, attempt.peer
        del self._attempts[name]
        self._pauses.ended(name, ok, self._context.now)
        replica.snapshot_floor.pop(attempt.peer, None)
        if attempt.phase is Phase.SENDING:
            self._context.disk.files.delete(attempt.file)
        if self._context.registry.current(replica):
            replica.node.report_snapshot(attempt.peer, ok)
            self._context.touch(replica.id)
        if ok:
            self._context.counters.snapshots_sent += 1
            assert attempt.header is not None, "what has arrived was sent"
            self._catching_up.begin(replica, attempt.peer, attempt.header.meta.index)
        log.info(
            "snapshot of region %s to store %s: %s",
            replica.id,
            attempt.store,
            "installed" if ok else reason,
        )
        self._start_waiting()

    def _find(self, transfer: Transfer, store: StoreId) -> Attempt | None:
        for attempt in self._attempts.values():
            if attempt.transfer == transfer and attempt.store == store:
                return attempt
        return None

    def _emit(self, attempt: Attempt, item: SnapshotItem) -> None:
        subject = self._subjects.snapshot(attempt.replica.id, attempt.store, self._context.me.store)
        self._send(subject, SNAPSHOT_ITEMS.encode(item))


def _examine(_: Replica, ended: tuple[Attempt, JobResult]) -> None:
    """Make the header of what was copied. Raises `CorruptRecordError` for what is damaged here."""
    attempt, result = ended
    raise_damage(result)
    # A region that was merged into another meanwhile has no records any more.
    if isinstance(result, Copied) and None not in result.values:
        attempt.header = _header(attempt, result)


def _header(attempt: Attempt, copied: Copied) -> SnapshotHeader:
    """What goes before the rows, from the same moment of the disk as the rows."""
    region_id = attempt.replica.id
    sealed_applied, sealed_record = copied.values
    assert sealed_applied is not None and sealed_record is not None
    state = decode(AppliedState, open_sealed(applied_key(region_id), sealed_applied))
    record = decode(ReplicaRecord, open_sealed(region_key(region_id), sealed_record))
    return SnapshotHeader(
        attempt.transfer,
        record.region,
        attempt.replica.peer,
        attempt.peer,
        attempt.replica.node.term,
        SnapshotMeta(state.index, state.term, configuration_of(record.region)),
        encode(state),
        copied.size,
        copied.rows,
        copied.row_bytes,
    )
