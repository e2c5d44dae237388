"""Heartbeats: what this store and the regions it leads look like, for PD and for history.

A full report every period, the changed regions soon after they changed, gathered for a moment, and
those that took writes within some seconds. Nothing is sent for a region in which nothing happens.
Published plainly: PD hears them even when no stream records them. What the bus does not take is
told when it does.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Final

import msgspec

from flaredb.raft.progress import ProgressState
from flaredb.store.ageing import Ageing
from flaredb.store.births import is_bootstrapped
from flaredb.store.context import Context
from flaredb.store.liveness import Liveness
from flaredb.store.replica import Replica, Traffic
from flaredb_schemas.ids import Index, PeerId, RegionId
from flaredb_schemas.keys import MAX_FRAME_BYTES, show_key
from flaredb_schemas.placement import (
    MAX_REGIONS_PER_HEARTBEAT,
    DownPeer,
    Heartbeat,
    PendingPeer,
    RegionReport,
    StoreReport,
)
from flaredb_schemas.reported import report_peers
from flaredb_schemas.subjects import Subjects

CHANGES_GATHERED_SECONDS: Final = 0.1

WRITES_GATHERED_SECONDS: Final = 5.0
"""How long the new size of a region that takes writes may go untold."""

RETRY_SECONDS: Final = 1.0
"""After how long it is tried again to report where the bus has not taken a report."""

CHUNK_BYTES: Final = MAX_FRAME_BYTES - 128 * 1024
"""What the regions of one message may take; the rest is the store's."""

COUNTED_SECONDS: Final = 1.0
"""How old the numbers of leaders and of damaged replicas may be in a report of changes."""

PENDING_ENTRIES: Final = 256
"""A peer that is so many entries behind counts as pending."""

_encoder: Final = msgspec.json.Encoder()


class Reporter:
    """When to report what.

    Invariants: every led region is in each full report; traffic is counted into one report only,
    which the bus has taken. No message outgrows what the bus carries.
    """

    __slots__ = (
        "_ageing",
        "_changed",
        "_changed_at",
        "_context",
        "_counted_at",
        "_cpu_at",
        "_cpu_seconds",
        "_damaged",
        "_failing",
        "_full_at",
        "_leaders",
        "_liveness",
        "_number",
        "_read_cpu",
        "_retry_at",
        "_send",
        "_subjects",
        "_used_cpu",
        "_written_at",
    )

    def __init__(
        self,
        context: Context,
        liveness: Liveness,
        subjects: Subjects,
        send: Callable[[str, bytes], bool],
        read_cpu: Callable[[], float],
    ) -> None:
        """`read_cpu` tells the processor seconds that this store has used so far."""
        self._context = context
        self._liveness = liveness
        self._subjects = subjects
        self._send = send
        self._read_cpu = read_cpu
        self._ageing = Ageing(context)
        self._cpu_at = context.now
        self._used_cpu = read_cpu()
        self._cpu_seconds = 0.0
        self._leaders = self._damaged = 0
        self._counted_at = float("-inf")
        self._number = 0
        self._full_at = context.now
        self._changed: dict[RegionId, None] = {}
        self._changed_at: float | None = None
        self._written_at: float | None = None
        self._failing = False
        self._retry_at = context.now

    def note(self, replica: Replica) -> None:
        """Leader, range or peers of a region that is led here have changed."""
        self._changed[replica.id] = None
        self._note_change()

    def _note_change(self) -> None:
        if self._changed_at is None:
            self._changed_at = self._context.now

    def note_written(self, replica: Replica) -> None:
        """A region that is led here has taken writes: its size is told before long."""
        if replica.leads:
            self._changed[replica.id] = None
            if self._written_at is None:
                self._written_at = self._context.now

    def request_full(self) -> None:
        """PD wants a full report now."""
        self._full_at = self._context.now

    def next_due(self) -> float:
        """When the next report is due."""
        due = self._full_at
        if self._changed_at is not None:
            due = min(due, self._changed_at + CHANGES_GATHERED_SECONDS)
        if self._written_at is not None:
            due = min(due, self._written_at + WRITES_GATHERED_SECONDS)
        return max(due, self._retry_at)

    def flush(self) -> None:
        """Send what is due."""
        now = self._context.now
        if now < self.next_due():
            return
        if self._failing and not self._report([], full=False):
            return  # a report of no region has cost nothing; one of all would be made in vain
        full = now >= self._full_at
        registry = self._context.registry
        wanted: Iterable[Replica | None]
        wanted = registry if full else map(registry.get, list(self._changed))
        led = [replica for replica in wanted if replica is not None and replica.leads]
        self._changed.clear()
        self._changed_at = self._written_at = None
        if full:
            self._full_at = now + self._context.settings.heartbeat_seconds
            self._ageing.rise(self._note_change)
        if full or now - self._counted_at >= COUNTED_SECONDS:
            self._counted_at = now
            self._leaders = sum(replica.leads for replica in registry)
            self._damaged = registry.damaged_count
        if not self._report(led, full) and full:
            self._full_at = now

    def _report(self, led: list[Replica], full: bool) -> bool:
        """Tell of these; whether the bus has taken it all. What it has not is told again."""
        store, unsent = self._store(), list(led)
        chunks = list(_chunked(map(self._region, led)))
        self._number += 1
        self._failing = False
        for number, chunk in enumerate(chunks):
            position = (number, len(chunks))
            if not self._send_chunk(store, chunk, full, position):
                self._failing = True
                break
            sent, unsent = unsent[: len(chunk)], unsent[len(chunk) :]
            for replica in sent:
                replica.traffic = Traffic()
        if self._failing:
            self._retry_at = self._context.now + RETRY_SECONDS
            for replica in unsent:
                self.note(replica)
        return not self._failing

    def _send_chunk(
        self, store: StoreReport, chunk: list[RegionReport], full: bool, position: tuple[int, int]
    ) -> bool:
        context = self._context
        number, of = position
        heartbeat = Heartbeat(
            id=f"{context.me.store}.{context.me.boot}.hb{self._number}.{number}",
            at=context.clock.wall(),
            cluster=context.me.cluster,
            store=store,
            regions=tuple(chunk),
            full=full,
            chunk=number,
            chunks=of,
        )
        return self._send(self._subjects.heartbeat(context.me.store), _encoder.encode(heartbeat))

    def _store(self) -> StoreReport:
        context = self._context
        usage = context.disk.usage()
        capacity = context.settings.capacity_bytes or min(usage.quota, usage.used + usage.room)
        return StoreReport(
            store=context.me.store,
            boot=context.me.boot,
            regions=len(context.registry),
            leaders=self._leaders,
            capacity=capacity,
            used=usage.used,
            free=min(usage.room, max(0, capacity - usage.used)),
            cpu=self._cpu_share(),
            frames_refused=context.counters.frames_refused,
            labels=context.settings.labels,
            bootstrapped=is_bootstrapped(context.disk.view),
            damaged=self._damaged,
            generation=self._ageing.generation,
        )

    def _cpu_share(self) -> float:
        used, now = self._read_cpu(), self._context.now
        passed = now - self._cpu_at
        if passed >= 1.0:
            self._cpu_seconds = max(0.0, used - self._used_cpu) / passed
            self._used_cpu, self._cpu_at = used, now
        return round(self._cpu_seconds, 4)

    def _region(self, replica: Replica) -> RegionReport:
        region, state = replica.region, replica.machine.state
        size = state.size
        traffic = replica.traffic
        return RegionReport(
            id=region.id,
            start=region.keys.start,
            end=region.keys.end,
            start_text=show_key(region.keys.start),
            end_text=show_key(region.keys.end),
            version=region.epoch.version,
            conf_ver=region.epoch.conf_ver,
            peers=report_peers(region.peers),
            leader=replica.peer,
            term=replica.node.term,
            time=state.time,
            bytes=size.bytes,
            keys=size.keys,
            read_keys=traffic.read_keys,
            read_bytes=traffic.read_bytes,
            written_keys=traffic.written_keys,
            written_bytes=traffic.written_bytes,
            pending=tuple(self._pending(replica)),
            down=tuple(self._down(replica)),
            asleep=replica.asleep,
            removed=report_peers(region.removed),
            lost=tuple(peer.id for peer in region.peers if peer.id in replica.lost),
            absorbed=region.absorbed,
            absorbers=region.absorbers,
        )

    def _pending(self, replica: Replica) -> Iterable[PendingPeer]:
        last = replica.node.last_index
        for peer, progress in sorted(replica.node.status().progress.items()):
            behind = last - progress.match
            if behind > PENDING_ENTRIES or progress.state is ProgressState.SNAPSHOT:
                yield PendingPeer(PeerId(peer), Index(max(0, behind)))

    def _down(self, replica: Replica) -> Iterable[DownPeer]:
        for peer in replica.region.peers:
            if self._liveness.is_suspected(peer.store):
                silent = self._liveness.silent_for(peer.store, self._context.now)
                yield DownPeer(peer.id, int(silent))


def _chunked(regions: Iterable[RegionReport]) -> Iterator[list[RegionReport]]:
    """The regions in messages that the bus can carry; one message where there is none."""
    chunk: list[RegionReport] = []
    room = CHUNK_BYTES
    for region in regions:
        size = len(_encoder.encode(region)) + 1
        if chunk and (size > room or len(chunk) == MAX_REGIONS_PER_HEARTBEAT):
            yield chunk
            chunk, room = [], CHUNK_BYTES
        chunk.append(region)
        room -= size
    yield chunk
