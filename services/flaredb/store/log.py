"""A replica's saved log as Raft reads it: the newest entries in memory, the rest on disk.

Raft sees an entry here only after its save; what is newer it holds itself. Entries stay in memory
until they are applied, so that a replica that keeps up never reads its log back from disk.
"""

from collections.abc import Sequence
from typing import Final

from flaredb.disk.disk import Batch, Disk
from flaredb.disk.layout import (
    Corrupt,
    decode_entry,
    encode_entry,
    log_index,
    log_key,
    log_rows,
    log_start_key,
)
from flaredb.raft.refusals import Compacted, SnapshotUnavailable
from flaredb.raft.storage import entry_size, limit_entries
from flaredb.store.records import CorruptRecordError, LogStart, save
from flaredb_schemas.ids import Index, RegionId, Term
from flaredb_schemas.raft import Configuration, Entry, HardState, SnapshotMeta

KEPT_ENTRIES: Final = 32
KEPT_BYTES: Final = 128 * 1024
"""How much of the applied log a replica keeps in memory for a follower that is a little behind."""


class ReplicaLog:
    """The log of one replica.

    Invariants: entries in memory are contiguous and end at `last`; `start <= saved applied index`;
    `_written` is the newest index that any gathered or submitted batch holds, at least `last`
    unless such a batch replaces the end of the log. `size` is about how many bytes of entries were
    saved since the start of the process and are not cut.
    """

    __slots__ = (
        "_bytes",
        "_disk",
        "_initial",
        "_region",
        "_tail",
        "_written",
        "last",
        "offered",
        "size",
        "start",
        "start_term",
    )

    def __init__(
        self,
        disk: Disk,
        region: RegionId,
        initial: tuple[HardState, Configuration],
        start: LogStart,
    ) -> None:
        self._disk = disk
        self._region = region
        self._initial = initial
        self.start, self.start_term = start.index, start.term
        self.size = 0
        self.last = _last_on_disk(disk, region, self.start)
        self._written = self.last
        self._tail: list[Entry] = []
        self._bytes = 0
        self.offered: SnapshotMeta | None = None

    def initial(self) -> tuple[HardState, Configuration]:
        return self._initial

    def first_index(self) -> Index:
        return Index(self.start + 1)

    def last_index(self) -> Index:
        return self.last

    def term(self, index: Index) -> Term | Compacted:
        assert index <= self.last, f"term({index}) beyond {self.last}"
        if index < self.start:
            return Compacted()
        if index == self.start:
            return self.start_term
        first = self.last - len(self._tail) + 1
        return self._tail[index - first].term if index >= first else self._read(index).term

    def entries(self, low: Index, high: Index, max_bytes: int) -> Sequence[Entry] | Compacted:
        assert high <= self.last + 1, f"entries(..{high}) beyond {self.last}"
        if low <= self.start:
            return Compacted()
        first = self.last - len(self._tail) + 1
        if low >= first:
            return limit_entries(self._tail[low - first : high - first], max_bytes)
        return self._read_many(low, high, max_bytes)

    def snapshot(self) -> SnapshotMeta | SnapshotUnavailable:
        return self.offered if self.offered is not None else SnapshotUnavailable()

    @property
    def gathered(self) -> Index:
        """The last entry that is on disk or in the batch that is being gathered."""
        return self._written

    def write(self, batch: Batch, entries: Sequence[Entry]) -> None:
        """Have `entries` saved as the end of the log; whatever stood there goes with them."""
        first = entries[0].index
        if first <= self._written:
            batch.delete_range(*log_rows(self._region, first))
        for entry in entries:
            batch.put(log_key(self._region, entry.index), encode_entry(self._region, entry))
        self._written = entries[-1].index

    def saved(self, entries: Sequence[Entry]) -> None:
        """A batch with these entries is on disk: from here on Raft may read them."""
        first = entries[0].index
        assert self.start < first <= self.last + 1, f"saved({first}) leaves a gap"
        dropped = self.last + 1 - first
        if dropped >= len(self._tail):
            self._tail.clear()
        elif dropped:
            del self._tail[-dropped:]
        self._tail.extend(entries)
        self.last = entries[-1].index
        self.size += sum(map(entry_size, entries))
        self._bytes = (
            sum(map(entry_size, self._tail))
            if dropped
            else self._bytes + sum(map(entry_size, entries))
        )

    def trim(self, applied: Index) -> None:
        """Entries up to `applied` need not stay in memory, beyond a few."""
        if len(self._tail) <= KEPT_ENTRIES and self._bytes <= KEPT_BYTES:
            return
        gone = max(0, min(applied - (self.last - len(self._tail)), len(self._tail)))
        self._bytes -= sum(map(entry_size, self._tail[:gone]))
        del self._tail[:gone]

    def cut(self, batch: Batch, index: Index) -> None:
        """Drop the entries up to `index`, which is saved as applied."""
        assert self.start < index <= self.last, f"cut({index}) outside the log"
        term = self.term(index)
        assert not isinstance(term, Compacted)
        first = self.last - len(self._tail) + 1
        if index >= first:
            gone = index - first + 1
            self._bytes -= sum(map(entry_size, self._tail[:gone]))
            del self._tail[:gone]
        left = (self.last - index) / (self.last - self.start)
        self.size = int(self.size * left)
        batch.delete_range(*log_rows(self._region, Index(1), Index(index + 1)))
        self.start, self.start_term = index, term
        save(batch, log_start_key(self._region), LogStart(index, term))

    def write_restart(self, batch: Batch, meta: SnapshotMeta, keeps_suffix: bool) -> None:
        """Have the log saved as starting behind `meta`: a snapshot has replaced the state."""
        end = Index(meta.index + 1) if keeps_suffix else None
        batch.delete_range(*log_rows(self._region, Index(1), end))
        save(batch, log_start_key(self._region), LogStart(meta.index, meta.term))
        self._written = max(self._written, meta.index) if keeps_suffix else meta.index

    def restarted(self, meta: SnapshotMeta, keeps_suffix: bool) -> None:
        """A batch with that restart is on disk."""
        if not keeps_suffix:
            self._tail.clear()
            self.last = meta.index
        gone = max(0, meta.index - (self.last - len(self._tail)))
        del self._tail[:gone]
        self._bytes = sum(map(entry_size, self._tail))
        self.start, self.start_term = meta.index, meta.term
        self.offered = meta

    def _read(self, index: Index) -> Entry:
        record = self._disk.view.get(log_key(self._region, index))
        if record is None:
            raise CorruptRecordError(f"region {self._region}: no log entry at {index}")
        return _open(self._region, index, record)

    def _read_many(self, low: Index, high: Index, max_bytes: int) -> Sequence[Entry]:
        found: list[Entry] = []
        size = 0
        expected = low
        for key, record in self._disk.view.scan(*log_rows(self._region, low, high)):
            if log_index(key) != expected:
                break
            found.append(_open(self._region, expected, record))
            size += entry_size(found[-1])
            expected = Index(expected + 1)
            if size > max_bytes:
                break
        if not found:
            raise CorruptRecordError(f"region {self._region}: no log entry at {low}")
        return limit_entries(found, max_bytes)


def _open(region: RegionId, index: Index, record: bytes) -> Entry:
    entry = decode_entry(region, index, record)
    if isinstance(entry, Corrupt):
        raise CorruptRecordError(f"{entry.key!r}: {entry.reason}")
    return entry


def _last_on_disk(disk: Disk, region: RegionId, start: Index) -> Index:
    for key, _ in disk.view.scan(*log_rows(region, Index(1)), reverse=True):
        return max(start, log_index(key))
    return start
