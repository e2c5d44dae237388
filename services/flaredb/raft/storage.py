"""How raft reads its saved log (a Protocol), and the one that lives in memory.

Raft reads here only what `RaftNode.saved` has confirmed; what is newer it holds itself.
"""

from collections.abc import Sequence
from typing import Final, Protocol

from flaredb.raft.refusals import Compacted, SnapshotUnavailable
from flaredb_schemas.ids import Index, Term
from flaredb_schemas.raft import Configuration, Entry, HardState, SnapshotMeta

NO_INDEX: Final = Index(0)
NO_TERM: Final = Term(0)
NO_MEMBERS: Final = Configuration()
NO_STATE: Final = HardState()
ENTRY_OVERHEAD: Final = 8
"""What an entry is counted with beyond its data, in bytes, against every limit."""


def entry_size(entry: Entry) -> int:
    """The bytes that an entry counts for."""
    return len(entry.data) + ENTRY_OVERHEAD


def limit_entries(entries: Sequence[Entry], max_bytes: int) -> Sequence[Entry]:
    """The longest prefix within `max_bytes`, and never less than one entry."""
    total = 0
    for position, entry in enumerate(entries):
        total += len(entry.data) + ENTRY_OVERHEAD
        if total > max_bytes and position:
            return entries[:position]
    return entries


class Storage(Protocol):
    """The saved log of one member, read only."""

    def initial(self) -> tuple[HardState, Configuration]:
        """What was saved last; read once, when the node is made."""

    def first_index(self) -> Index:
        """The oldest entry that can still be read; one more than the last if there is none."""

    def last_index(self) -> Index:
        """The newest saved entry, or the index that the log starts behind."""

    def term(self, index: Index) -> Term | Compacted:
        """The term at `index`, which is at least `first_index() - 1` or else `Compacted`."""

    def entries(self, low: Index, high: Index, max_bytes: int) -> Sequence[Entry] | Compacted:
        """Entries `low` to `high - 1`, cut at `max_bytes` but never to nothing."""

    def snapshot(self) -> SnapshotMeta | SnapshotUnavailable:
        """A point at or beyond `first_index() - 1` for which a snapshot can be sent."""


class MemoryStorage:
    """The storage of tests and of the simulator.

    Invariants: entries are contiguous and follow `start`; the snapshot is not behind `start`.
    """

    __slots__ = (
        "_entries",
        "_snapshot",
        "_start",
        "_start_term",
        "hard_state",
        "log_configuration",
    )

    def __init__(
        self,
        configuration: Configuration = NO_MEMBERS,
        start: Index = NO_INDEX,
        start_term: Term = NO_TERM,
        hard_state: HardState = NO_STATE,
    ) -> None:
        self.hard_state = hard_state
        self.log_configuration = configuration
        self._entries: list[Entry] = []
        self._start = start
        self._start_term = start_term
        self._snapshot: SnapshotMeta | SnapshotUnavailable = SnapshotMeta(
            start, start_term, configuration
        )

    def initial(self) -> tuple[HardState, Configuration]:
        return self.hard_state, self.log_configuration

    def first_index(self) -> Index:
        return Index(self._start + 1)

    def last_index(self) -> Index:
        return Index(self._start + len(self._entries))

    def term(self, index: Index) -> Term | Compacted:
        assert index <= self.last_index(), f"term({index}) beyond {self.last_index()}"
        if index < self._start:
            return Compacted()
        return self._start_term if index == self._start else self._at(index).term

    def entries(self, low: Index, high: Index, max_bytes: int) -> Sequence[Entry] | Compacted:
        assert high <= self.last_index() + 1, f"entries(..{high}) beyond {self.last_index()}"
        if low <= self._start:
            return Compacted()
        offset = self._start + 1
        return limit_entries(self._entries[low - offset : high - offset], max_bytes)

    def snapshot(self) -> SnapshotMeta | SnapshotUnavailable:
        return self._snapshot

    def append(self, entries: Sequence[Entry]) -> None:
        """Save entries; everything at or after the first of them is replaced."""
        first = entries[0].index
        assert self._start < first <= self.last_index() + 1, f"append({first}) leaves a gap"
        del self._entries[first - self._start - 1 :]
        self._entries.extend(entries)

    def offer_snapshot(self, snapshot: SnapshotMeta | SnapshotUnavailable) -> None:
        """What `snapshot()` answers from now on."""
        self._snapshot = snapshot

    def install(self, snapshot: SnapshotMeta, keeps_suffix: bool = False) -> None:
        """The log starts behind `snapshot`; what follows it is kept only if so asked."""
        if keeps_suffix and snapshot.index <= self.last_index():
            self.compact(snapshot.index)
        else:
            self._entries = []
            self._start, self._start_term = snapshot.index, snapshot.term
        self.log_configuration = snapshot.configuration
        self._snapshot = snapshot

    def compact(self, index: Index) -> None:
        """Forget the entries up to `index`, which is applied."""
        assert self._start < index <= self.last_index(), f"compact({index})"
        self._start_term = self._at(index).term
        del self._entries[: index - self._start]
        self._start = index

    def _at(self, index: Index) -> Entry:
        return self._entries[index - self._start - 1]
