"""What the next save will hold, and who waits for it.

While one batch is being saved the next is gathered: log entries and hard states at once, applied
rows when they have trailed long enough or are forced out. A save is acknowledged to Raft, and what
Raft holds back until then is let go, only when the disk has said that the batch is durable.
"""

from collections.abc import Callable, Iterable
from typing import Final

from msgspec import Struct

from flaredb.disk.disk import Batch, Disk
from flaredb.disk.layout import (
    APPLIED,
    HARD_STATE,
    LOG,
    OUTBOX,
    REGION,
    SESSION,
    applied_key,
    data_key,
    hard_state_key,
    log_start_key,
    outbox_key,
    region_key,
    region_of,
    region_rows,
    seal,
    session_key,
    tombstone_key,
)
from flaredb.kv.machine import AppliedState, Effects
from flaredb.raft.ready import Ready
from flaredb.store.named_ids import NamedIds
from flaredb.store.overlay import Overlay, Rows
from flaredb.store.records import LogStart, Tombstone, save
from flaredb.store.registry import RegionPeer
from flaredb.store.replica import Replica
from flaredb_schemas.commands import Lane
from flaredb_schemas.events import Event
from flaredb_schemas.ids import PeerId, RegionId
from flaredb_schemas.raft import SnapshotMeta
from flaredb_schemas.sessions import LANES, LaneState

UNDER_WAY: Final = 1
"""Batches in the writer's hands. One more may be under way than is gathered; see `Disk`."""


class Acknowledgement(Struct, frozen=True, gc=False):
    """A Ready in a batch, and the very replica object that it came from."""

    replica: Replica
    ready: Ready


class Saved:
    """All that waits for one batch."""

    __slots__ = ("acknowledgements", "applied", "callbacks", "submitted")

    def __init__(self) -> None:
        self.acknowledgements: list[Acknowledgement] = []
        self.applied: list[tuple[Replica, AppliedState]] = []
        self.callbacks: list[Callable[[], None]] = []
        self.submitted = 0.0


class Saver:
    """Gathers and submits batches.

    Invariants: batches are numbered without gaps; at most `UNDER_WAY` are submitted and not saved;
    applied rows of a replica, its sessions, events and applied index are in one batch.
    """

    __slots__ = (
        "_applied_bytes",
        "_applied_delay",
        "_batch",
        "_dirty",
        "_disk",
        "_events",
        "_forced",
        "_lanes",
        "_overlay",
        "_submitted",
        "_trailing_since",
        "_waiting",
        "last_number",
        "named",
        "saved_number",
    )

    def __init__(
        self,
        disk: Disk,
        overlay: Overlay,
        applied_delay: float,
        applied_bytes: int,
        last_number: int,
    ) -> None:
        """`last_number` is that of the last batch saved before there was a saver."""
        self._disk = disk
        self._overlay = overlay
        self._applied_delay = applied_delay
        self._applied_bytes = applied_bytes
        self._batch = Batch()
        self._waiting = Saved()
        self._submitted: dict[int, Saved] = {}
        self._dirty: dict[RegionId, Replica] = {}
        self._lanes: dict[tuple[RegionId, Lane], LaneState | None] = {}
        self._events: dict[bytes, bytes] = {}
        self._trailing_since: float | None = None
        self._forced = False
        self.named: Final = NamedIds(disk.view)
        self.last_number = last_number
        self.saved_number = last_number

    @property
    def batch(self) -> Batch:
        """The batch that is being gathered; what is put here is saved with the next submit."""
        return self._batch

    @property
    def is_full(self) -> bool:
        """Whether enough is gathered that the turn should take no more input."""
        return self._batch.size >= 4 * 1024 * 1024

    @property
    def is_settled(self) -> bool:
        """Whether everything is on disk."""
        return not self._batch and not self._submitted and self._trailing_since is None

    def add(self, replica: Replica, ready: Ready, durable: bool) -> None:
        """Gather what `ready` wants saved; it is acknowledged when that is durable.

        Without `durable` nothing rests on it: it only waits for those before it.
        """
        if durable and ready.hard_state is not None:
            save(self._batch, hard_state_key(replica.id), ready.hard_state)
        if ready.snapshot is not None:
            self._restart(replica, ready.snapshot, ready.keeps_suffix)
        if ready.entries:
            replica.log.write(self._batch, ready.entries)
            self.named.note_entries(self._batch, ready.entries)
        replica.unsaved += 1
        self._waiter(durable).acknowledgements.append(Acknowledgement(replica, ready))

    def _restart(self, replica: Replica, meta: SnapshotMeta, keeps_suffix: bool) -> None:
        """A snapshot is installed: record, applied state and log change together."""
        replica.log.write_restart(self._batch, meta, keeps_suffix)
        save(self._batch, region_key(replica.id), replica.record())
        self.named.note_region(self._batch, replica.region)
        save(self._batch, applied_key(replica.id), replica.machine.state)
        save(self._batch, hard_state_key(replica.id), replica.hard_state())
        self._waiting.applied.append((replica, replica.machine.state))

    def _waiter(self, durable: bool) -> Saved:
        """Who a Ready waits with: one that saves nothing itself only waits for those before it."""
        if not durable and not self._batch and self._submitted:
            return self._submitted[self.last_number]
        return self._waiting

    def applied(self, replica: Replica, effects: Effects, now: float) -> None:
        """An entry was applied: its effects are visible now and saved a little later."""
        layer = self._overlay.open
        for key, value in effects.rows:
            layer.set(key, value)
        for lane, state in effects.lanes:
            self._lanes[replica.id, lane] = state
        self._keep_events(replica, effects.events)
        self._dirty[replica.id] = replica
        if self._trailing_since is None:
            self._trailing_since = now

    def _keep_events(self, replica: Replica, events: Iterable[Event], first: int = 0) -> None:
        """Events that the entry applied last has brought, numbered from `first` on."""
        index = replica.machine.state.index
        for number, event in enumerate(events, first):
            record = replica.outbox.add(index, number, event)
            if record is not None:
                row = outbox_key(replica.id, index, number)
                self._events[row] = seal(row, record)

    def take_over_events(self, replica: Replica, source: Replica) -> None:
        """What the absorbed region had still to publish goes with the entry that absorbed it.

        The numbers differ from replica to replica, as what was published is not known to all
        alike; an entry's events are forgotten together.
        """
        first = len(replica.outbox.of(replica.machine.state.index))
        self._keep_events(replica, [waiting.event for waiting in source.outbox], first)

    def rewritten(self, replica: Replica) -> None:
        """The entry that was applied last has changed the region itself: nothing of that waits."""
        assert replica.id in self._dirty, "an entry is applied before its record is saved"
        save(self._batch, region_key(replica.id), replica.record())
        self.force()

    def buried(self, replica: Replica, tombstone: Tombstone, peer: PeerId) -> None:
        """The replica is gone for good, and so is `peer`: of its region only the rows stay.

        Those that are applied and not saved yet go to disk with the batch that says so.
        """
        assert peer >= replica.peer, "who comes later is buried with those before"
        self.forget(replica)
        self.erased(replica.id)
        self.tombstone(RegionPeer(replica.id, peer), tombstone)
        self.force()

    def erased(self, region: RegionId) -> None:
        """Nothing of a replica of `region` stays but its rows."""
        for kind in (APPLIED, HARD_STATE, LOG, OUTBOX, REGION, SESSION):
            self._batch.delete_range(*region_rows(kind, region))

    def tombstone(self, name: RegionPeer, tombstone: Tombstone) -> None:
        """Have it saved who is gone for good."""
        save(self._batch, tombstone_key(name.region, name.peer), tombstone)

    def born(self, replica: Replica) -> None:
        """A replica with its machine has come into being: saved with all that is applied."""
        save(self._batch, region_key(replica.id), replica.record())
        start = LogStart(replica.log.start, replica.log.start_term)
        save(self._batch, log_start_key(replica.id), start)
        for state in replica.machine.sessions.lanes:
            self._lanes[replica.id, state.lane] = state
        self._dirty[replica.id] = replica

    def published(self, row: bytes) -> None:
        """The event of this row of the outbox is in the stream: it is not kept any more."""
        if self._events.pop(row, None) is None:
            self._batch.delete(row)

    def force(self) -> None:
        """Save the applied rows with the next batch, however young they are."""
        self._forced = True

    def then(self, callback: Callable[[], None]) -> None:
        """Call back when the batch that is being gathered is durable."""
        self._waiting.callbacks.append(callback)

    def damaged(self, replica: Replica) -> None:
        """The replica is out of service: keep only that it is."""
        self.forget(replica)
        save(self._batch, region_key(replica.id), replica.record())

    def forget(self, replica: Replica) -> None:
        """What of this replica is applied but not gathered yet is not to be saved any more."""
        self._dirty.pop(replica.id, None)
        for known in [known for known in self._lanes if known[0] == replica.id]:
            del self._lanes[known]
        for row in [row for row in self._events if region_of(row) == replica.id]:
            del self._events[row]

    def next_due(self) -> float | None:
        """When trailing rows must be saved; while a batch is under way its end brings the turn."""
        if self._trailing_since is None or len(self._submitted) >= UNDER_WAY:
            return None
        return self._trailing_since + self._applied_delay

    def submit(self, now: float) -> None:
        """Hand the gathered batch to the disk, if there is one and the disk is free for it."""
        if len(self._submitted) >= UNDER_WAY:
            return
        if self._is_trailing_due(now):
            self._write_applied(self.last_number + 1)
        if not self._batch and not self._waiting.acknowledgements and not self._waiting.callbacks:
            return
        self.last_number += 1
        batch, self._batch = self._batch, Batch()
        waiting, self._waiting = self._waiting, Saved()
        waiting.submitted = now
        self._submitted[self.last_number] = waiting
        self._disk.submit(self.last_number, batch)

    def saved(self, number: int) -> Saved:
        """The disk says that batch `number` is durable; returns who waited for it."""
        assert number == self.saved_number + 1, "saves are acknowledged in order"
        self.saved_number = number
        self._disk.renew()
        self._overlay.saved(number)
        return self._submitted.pop(number)

    def age(self, now: float) -> float:
        """For how many seconds the oldest submitted batch has been under way."""
        return max((now - waiting.submitted for waiting in self._submitted.values()), default=0.0)

    def _is_trailing_due(self, now: float) -> bool:
        if self._trailing_since is None:
            return False
        return (
            self._forced
            or now - self._trailing_since >= self._applied_delay
            or self._overlay.open.bytes >= self._applied_bytes
        )

    def _write_applied(self, number: int) -> None:
        write_rows(self._batch, self._overlay.seal(number).rows)
        for (region, lane), known in self._lanes.items():
            key = session_key(region, lane)
            if known is None:
                self._batch.delete(key)
            else:
                self._batch.put(key, seal(key, LANES.encode(known)))
        for row, event in self._events.items():
            self._batch.put(row, event)
        for region, replica in self._dirty.items():
            state = replica.machine.state
            save(self._batch, applied_key(region), state)
            save(self._batch, hard_state_key(region), replica.hard_state())
            self._waiting.applied.append((replica, state))
        self._lanes.clear()
        self._events.clear()
        self._dirty.clear()
        self._trailing_since = None
        self._forced = False


def write_rows(batch: Batch, rows: Rows) -> None:
    """Have user rows saved, each sealed under its own key; None removes."""
    put, delete = batch.put, batch.delete
    for key, value in rows.items():
        row = data_key(key)
        if value is None:
            delete(row)
        else:
            put(row, seal(row, value))
