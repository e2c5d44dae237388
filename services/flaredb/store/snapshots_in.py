"""A region's state arriving: fetched to a file, verified, and only then put in place of the old.

The old replica stays as it is until the file is complete and durable. Then it is marked as
installing, its rows are replaced in slices, and a last batch sets record, log and applied state
and makes it live. A crash in between resumes. While installing, the replica keeps term, vote and
old log, votes by that log's last entry, and neither applies, acknowledges, campaigns nor serves.
"""

import logging
import zlib
from collections.abc import Callable, Iterator
from typing import Final

from flaredb.disk.disk import DiskError, JobResult, Verified, VerifyFile
from flaredb.disk.layout import OUTBOX, SESSION, outbox_position, region_key
from flaredb.kv.machine import AppliedState, Machine
from flaredb.raft.roles import Role
from flaredb.store.absorptions import settled_by_snapshot
from flaredb.store.arrivals import Arrival
from flaredb.store.births import Births, load_sessions
from flaredb.store.context import Context
from flaredb.store.guarding import Guard
from flaredb.store.history import History
from flaredb.store.installing import Installation
from flaredb.store.jobs import Jobs
from flaredb.store.merging import Merging
from flaredb.store.outbox import Outbox
from flaredb.store.records import CorruptRecordError, ReplicaState, decode, open_sealed, save
from flaredb.store.replica import Replica
from flaredb.store.snapshot_checks import has_room, has_room_for_rows, is_here, refusal
from flaredb.store.snapshots_out import SNAPSHOT_ITEMS
from flaredb_schemas.events import SnapshotInstalled
from flaredb_schemas.frames import (
    SnapshotChunk,
    SnapshotEnded,
    SnapshotHeader,
    SnapshotItem,
    SnapshotPull,
)
from flaredb_schemas.ids import RegionId, StoreId
from flaredb_schemas.subjects import Subjects

log: Final = logging.getLogger(__name__)

REPEAT_SECONDS: Final = 1.0
"""A piece that has not come for so long is asked for again; also the receiver's sign of life."""

SILENCE_SECONDS: Final = 10.0

TOO_FULL: Final = "the disk is too full"

MISSED_SECONDS: Final = 2 * REPEAT_SECONDS
"""A sender that was asked twice in vain makes room for another one, if there is one."""


class SnapshotsIn:
    """The snapshots that this store receives.

    Invariants: one arrival per region; nothing of the old state is touched before the file is
    verified and the `installing` mark is durable; a replica is live again only with its last batch,
    and a damaged one never; a replica that is installing stands for no election.
    """

    __slots__ = (
        "_arrivals",
        "_births",
        "_context",
        "_guard",
        "_history",
        "_jobs",
        "_merging",
        "_send",
        "_subjects",
    )

    def __init__(
        self,
        context: Context,
        jobs: Jobs,
        history: History,
        guard: Guard,
        births: Births,
        merging: Merging,
        subjects: Subjects,
        send: Callable[[str, bytes], bool],
    ) -> None:
        self._context = context
        self._jobs = jobs
        self._history = history
        self._guard = guard
        self._births = births
        self._merging = merging
        self._subjects = subjects
        self._send = send
        self._arrivals: dict[RegionId, Arrival] = {}

    def offered(self, from_store: StoreId, header: SnapshotHeader) -> None:
        """A store offers a snapshot."""
        if is_here(self._context.registry, header):
            # The leader did not hear of it; told so, it goes to probe behind the snapshot.
            ended = SnapshotEnded(header.transfer, header.region.id, True, "it is here already")
            self._emit(from_store, header.region.id, ended)
            return
        reason = refusal(self._context, self._births, header) or self._conflict(header)
        if reason is not None:
            log.info("snapshot of region %s refused: %s", header.region.id, reason)
            ended = SnapshotEnded(header.transfer, header.region.id, False, reason)
            self._emit(from_store, header.region.id, ended)
            return
        missed = self._arrivals.get(header.region.id)
        if missed is not None:
            self._end(missed, False, "its sender is silent, and there is another one")
        now, transfer = self._context.now, header.transfer
        file = f"in-{header.region.id}-{from_store}-{transfer.boot}-{transfer.number}"
        arrival = Arrival(None, header, from_store, file, now, now, now)
        self._arrivals[header.region.id] = arrival
        if header.size:
            self._pull(arrival)
        elif self._keep(arrival, 0, b""):  # a region without rows: there is no piece to wait for
            self._verify(arrival)

    def chunk(self, from_store: StoreId, item: SnapshotChunk) -> None:
        """A piece has come."""
        arrival = self._arrivals.get(item.region)
        if (
            arrival is None
            or arrival.verifying
            or item.transfer != arrival.header.transfer
            or from_store != arrival.from_store
            or item.offset != arrival.offset
            or zlib.crc32(item.data) != item.checksum
        ):
            return
        if not self._keep(arrival, item.offset, item.data):
            return
        arrival.offset += len(item.data)
        arrival.heard = self._context.now
        if arrival.offset >= arrival.header.size:
            self._verify(arrival)
        else:
            self._pull(arrival)

    def resume(self, replica: Replica) -> None:
        """After a restart: a replica that was installing goes on; without its file it is lost."""
        if replica.installing is None:
            return
        header, name = replica.installing
        now = self._context.now
        arrival = Arrival(replica, header, StoreId(0), name, now, now, now, header.size, True)
        arrival.installation = Installation(header.region, replica.region.keys, name)
        self._arrivals[replica.id] = arrival
        self._context.registry.arriving[replica.id] = header.region.keys
        self._slice(arrival)

    def clear_files(self) -> None:
        """After a restart: what no replica resumes from is left over from the process before."""
        wanted = {arrival.file for arrival in self._arrivals.values()}
        for name in self._context.disk.files.names():
            if name not in wanted:
                self._context.disk.files.delete(name)

    def tick(self) -> None:
        """Once per tick: ask again for what has not come, give up what is silent."""
        now = self._context.now
        for region, arrival in list(self._arrivals.items()):
            if arrival.is_missed(now, SILENCE_SECONDS):
                del self._arrivals[region]
                self._context.disk.files.delete(arrival.file)
            elif arrival.from_store and now - arrival.asked > REPEAT_SECONDS:
                self._pull(arrival)

    def __iter__(self) -> Iterator[Arrival]:
        return iter(self._arrivals.values())

    def __len__(self) -> int:
        return len(self._arrivals)

    def _conflict(self, header: SnapshotHeader) -> str | None:
        """Why the snapshot cannot be fetched now. One whose sender is silent is in nobody's way."""
        arriving, now = self._arrivals.get(header.region.id), self._context.now
        if arriving is not None and not arriving.is_missed(now, MISSED_SECONDS):
            return "another snapshot is arriving"
        others = [other for other in self if other is not arriving]
        if any(other.header.region.keys.overlaps(header.region.keys) for other in others):
            return "a snapshot of keys of its range is arriving"
        promised = sum(other.promised for other in others)
        return None if has_room(self._context.disk.usage(), header.size, promised) else TOO_FULL

    def _keep(self, arrival: Arrival, offset: int, data: bytes) -> bool:
        """Write a piece; where the disk does not take it, that is the end of this arrival."""
        try:
            self._context.disk.files.write(arrival.file, offset, data)
        except DiskError as fault:
            log.warning("snapshot of region %s given up: %s", arrival.header.region.id, fault)
            self._end(arrival, False, str(fault))
            return False
        return True

    def _verify(self, arrival: Arrival) -> None:
        arrival.verifying = True
        job = VerifyFile(self._jobs.next_number(), arrival.file, arrival.header.size)
        self._jobs.start(job, lambda result: self._verified(arrival, result))

    def _verified(self, arrival: Arrival, result: JobResult) -> None:
        header = arrival.header
        if not isinstance(result, Verified):
            self._end(arrival, False, getattr(result, "reason", "the file is not verified"))
            return
        # Once more: the replica, and what stands beside it, may have changed since the offer.
        reason = refusal(self._context, self._births, header)
        here = self._context.registry.get(header.region.id)
        if here is not None and here.node.role is not Role.FOLLOWER:
            reason = "a vote that comes later would make the replica lead"
        promised = sum(other.promised for other in self if other is not arrival)
        if not has_room_for_rows(self._context.disk.usage(), header.size, promised):
            reason = TOO_FULL
        if reason is not None:
            self._end(arrival, False, reason)
            return
        for absorbed in settled_by_snapshot(self._context.registry, header.region):
            self._merging.bury_part(absorbed, header.region)
        replica = arrival.replica = self._receiver(header)
        self._context.registry.arriving[replica.id] = header.region.keys
        replica.state = ReplicaState.INSTALLING
        replica.installing = (header, arrival.file)
        replica.node.allow_campaigns(False)
        arrival.installation = Installation(header.region, replica.region.keys, arrival.file)
        saver = self._context.saver
        save(saver.batch, region_key(replica.id), replica.record())
        saver.named.note_region(saver.batch, header.region)
        saver.force()  # what is applied goes to disk before its rows are replaced
        saver.then(lambda: self._slice(arrival))

    def _receiver(self, header: SnapshotHeader) -> Replica:
        """The replica that the snapshot is for: one that is here, or one that is born for it."""
        replica = self._context.registry.get(header.region.id)
        if replica is None:
            return self._births.empty(header.region, ReplicaState.INSTALLING)
        if replica.state is ReplicaState.EMPTY:
            # It has heard of its region from whoever asked for its vote; this knows better.
            replica.machine.region = header.region
            self._context.registry.move(replica)
        return replica

    def _slice(self, arrival: Arrival) -> None:
        self._install(arrival, self._write_slice)

    def _finish(self, arrival: Arrival) -> None:
        self._install(arrival, self._go_live)

    def _install(self, arrival: Arrival, work: Callable[[Replica, Arrival], None]) -> None:
        """A step of the installation. Rows or a file that are damaged cost this replica alone."""
        assert arrival.replica is not None, "what is installed has a place"
        self._guard(arrival.replica, work, arrival)
        if arrival.replica.state in (ReplicaState.DAMAGED, ReplicaState.GONE):
            self._end(arrival, False, "the replica is damaged, or has left the region")

    def _write_slice(self, _: Replica, arrival: Arrival) -> None:
        """Replace some rows; go on when they are saved."""
        installation = arrival.installation
        assert installation is not None
        saver = self._context.saver
        try:
            last = installation.write_slice(self._context.disk.files, saver.batch)
        except DiskError as fault:
            raise CorruptRecordError(str(fault)) from fault
        if last:
            saver.then(lambda: self._finish(arrival))
        else:
            saver.then(lambda: self._slice(arrival))

    def _go_live(self, replica: Replica, arrival: Arrival) -> None:
        """All rows are saved: the last batch makes the replica live at the snapshot's index."""
        header = arrival.header
        assert arrival.installation is not None
        if arrival.installation.rows != header.rows:
            raise CorruptRecordError(f"the file {arrival.file} has lost rows since it was verified")
        rows = arrival.installation.kept
        state = decode(AppliedState, header.applied)
        sessions = load_sessions((key, value) for key, value in rows if key[:1] == SESSION)
        before = replica.region
        replica.machine = Machine(header.region, state, sessions)
        replica.outbox = Outbox()
        for key, value in rows:
            if key[:1] == OUTBOX:
                replica.outbox.load(*outbox_position(key), open_sealed(key, value))
        registry = self._context.registry
        late = [one.region for one in header.region.absorptions if one.into == replica.id]
        assert not any(map(registry.get, late)), "who is past absorbing a region has buried it"
        del registry.arriving[replica.id]
        if header.region != before:
            registry.move(replica)
        self._merging.note(replica)
        replica.applying.clear()
        replica.state, replica.installing = ReplicaState.LIVE, None
        replica.node.allow_campaigns(True)
        replica.node.restore(header.meta, header.term)
        self._context.touch(replica.id)
        self._context.saver.then(lambda: self._end(arrival, True, "installed"))

    def _end(self, arrival: Arrival, ok: bool, reason: str) -> None:
        region = arrival.header.region.id
        del self._arrivals[region]
        self._context.registry.arriving.pop(region, None)
        self._context.disk.files.delete(arrival.file)
        if arrival.from_store:
            ended = SnapshotEnded(arrival.header.transfer, region, ok, reason)
            self._emit(arrival.from_store, region, ended)
        if ok:
            self._context.counters.snapshots_installed += 1
            self._history.add_own(self._event(arrival))

    def _event(self, arrival: Arrival) -> SnapshotInstalled:
        context, header = self._context, arrival.header
        return SnapshotInstalled(
            id=self._history.next_own_id(),
            at=context.clock.wall(),
            region=header.region.id,
            peer=header.to_peer,
            store=context.me.store,
            term=header.meta.term,
            index=header.meta.index,
            rows=header.rows,
            bytes=header.row_bytes,
            ms=int((context.now - arrival.began) * 1000),
        )

    def _pull(self, arrival: Arrival) -> None:
        arrival.asked = self._context.now
        pull = SnapshotPull(arrival.header.transfer, arrival.header.region.id, arrival.offset)
        self._emit(arrival.from_store, arrival.header.region.id, pull)

    def _emit(self, to: StoreId, region: RegionId, item: SnapshotItem) -> None:
        subject = self._subjects.snapshot(region, to, self._context.me.store)
        self._send(subject, SNAPSHOT_ITEMS.encode(item))
