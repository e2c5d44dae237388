"""The saved log and the unsaved tail as one log, and the marks upon it.

In order along the log: `applied` (the host has applied), `applying` (handed out to apply),
`commit`, and beside them `handed` (handed out to save) and `saved` (saved here).
"""

from collections.abc import Iterator, Sequence

from flaredb.raft.refusals import Compacted, SnapshotUnavailable
from flaredb.raft.storage import ENTRY_OVERHEAD, Storage, entry_size, limit_entries
from flaredb.raft.tail import Tail
from flaredb_schemas.ids import Index, Term
from flaredb_schemas.raft import Entry, EntryKind, SnapshotMeta


class Log:
    """One member's log.

    Invariants: `applied <= applying <= commit <= last`; `saved <= handed <= last`; the tail begins
    at or before `saved + 1`, so that nothing unsaved is read from storage.
    """

    __slots__ = (
        "_apply_unsaved",
        "_applying_bytes",
        "_applying_sizes",
        "_max_applying_bytes",
        "_paused",
        "_saving",
        "_storage",
        "applied",
        "applying",
        "commit",
        "handed",
        "saved",
        "snapshot",
        "tail",
    )

    def __init__(
        self, storage: Storage, commit: Index, applied: Index, apply_unsaved: bool, max_bytes: int
    ) -> None:
        self._storage = storage
        last, start = storage.last_index(), Index(storage.first_index() - 1)
        self.tail = Tail(last, _known(storage.term(last)))
        self.saved = self.handed = last
        self.applied = self.applying = max(applied, start)
        # What was applied was committed, even if the commit index was saved less often.
        self.commit = max(commit, self.applied)
        self.snapshot: SnapshotMeta | None = None
        """Received and not saved yet; nothing is handed out to apply meanwhile."""
        self._apply_unsaved = apply_unsaved
        self._max_applying_bytes = max_bytes
        self._applying_bytes = 0
        self._applying_sizes: list[tuple[Index, int]] = []
        self._paused = False
        self._saving: list[tuple[int, Index]] = []
        self.check()

    def check(self) -> None:
        """The marks in their order; constant time."""
        last = self.tail.last
        assert self.applied <= self.applying <= self.commit <= last, self.marks()
        assert self.saved <= self.handed <= last, self.marks()
        assert self.tail.first <= self.saved + 1, self.marks()

    def marks(self) -> str:
        """The marks as text."""
        return (
            f"applied={self.applied} applying={self.applying} commit={self.commit} "
            f"saved={self.saved} handed={self.handed} tail={self.tail.first}..{self.tail.last}"
        )

    # Reading.

    def first_index(self) -> Index:
        """The oldest entry that can be read."""
        if self.snapshot is not None:
            return Index(self.snapshot.index + 1)
        return self._storage.first_index()

    def term(self, index: Index) -> Term | Compacted:
        """The term at `index`, which is not beyond the last entry."""
        term = self.tail.term(index)
        if term is not None:
            return term
        if self.snapshot is not None and index < self.snapshot.index:
            return Compacted()
        return self._storage.term(index)

    def has(self, index: Index, term: Term) -> bool:
        """Whether the entry at `index` is there and of that term."""
        return index <= self.tail.last and self.term(index) == term

    def is_up_to_date(self, index: Index, term: Term) -> bool:
        """Whether a log that ends so holds at least as much (Raft paper, 5.4.1)."""
        last_term = self.tail.last_term
        return term > last_term or (term == last_term and index >= self.tail.last)

    def entries_from(self, low: Index, max_bytes: int) -> Sequence[Entry] | Compacted:
        """From `low` to the end, cut at `max_bytes` but never to nothing."""
        return self._slice(low, Index(self.tail.last + 1), max_bytes)

    def latest_agreement(self, index: Index, term: Term) -> tuple[Index, Term]:
        """The newest entry at or before `index` whose term is at most `term`, and its term.

        A log that has `term` at `index` cannot agree with this one beyond that entry. The term is
        zero where it is compacted, that is, unknown.
        """
        while index > 0:
            own = self.term(index)
            if isinstance(own, Compacted):
                return index, Term(0)
            if own <= term:
                return index, own
            index = Index(index - 1)
        return Index(0), Term(0)

    def snapshot_to_send(self) -> SnapshotMeta | SnapshotUnavailable:
        """A snapshot that stands for the beginning of the log."""
        return self._storage.snapshot() if self.snapshot is None else self.snapshot

    def has_unapplied_change(self) -> bool:
        """Whether a committed membership change still waits for its apply."""
        return any(
            entry.kind is EntryKind.MEMBERSHIP
            for entry in self._walk(Index(self.applied + 1), Index(self.commit + 1))
        )

    # Writing.

    def append(self, entries: Sequence[Entry]) -> None:
        """A leader's own entries, behind the last one."""
        self.tail.extend(entries)

    def merge(self, previous: Index, term: Term, entries: Sequence[Entry]) -> Index | None:
        """A leader's entries, as a follower takes them: the newest index that agrees, or None.

        Entries that are there already stay; the first that differs replaces all that follow it
        (Raft paper, 5.3).
        """
        tail = self.tail
        if previous == tail.last and term == tail.last_term:
            if entries:
                tail.extend(entries)
            return tail.last
        if not self.has(previous, term):
            return None
        for position, entry in enumerate(entries):
            if not self.has(entry.index, entry.term):
                if entry.index <= tail.last:
                    self._cut_from(entry.index)
                tail.extend(entries[position:])
                break
        return Index(previous + len(entries))

    def commit_to(self, index: Index) -> bool:
        """Everything up to `index` is committed; whether that is news."""
        if index <= self.commit:
            return False
        assert index <= self.tail.last, f"commit {index} beyond the log: {self.marks()}"
        self.commit = index
        return True

    def restore(self, meta: SnapshotMeta) -> None:
        """Start anew behind `meta`, which is to be saved."""
        assert meta.index > self.commit, "snapshot of what is committed here"
        self.tail.restart(meta.index, meta.term)
        self.saved = self.handed = self.commit = meta.index
        self._saving.clear()
        self.snapshot = meta

    def pass_over(self, index: Index) -> None:
        """The host's state is that at `index`, which is in this log: nothing before it is due."""
        self.commit = max(self.commit, index)
        self.applied = self.applying = index
        self.saved = max(self.saved, index)
        self.handed = max(self.handed, index)
        self.snapshot = None
        self._forget_applying(index)
        self._trim()

    # To save and to apply.

    def to_save(self, number: int) -> Sequence[Entry]:
        """Entries to hand out to save under `number`; they count as handed out from now on."""
        tail = self.tail
        start = self.handed + 1 - tail.first
        self.handed = tail.last
        self._saving.append((number, tail.last))
        return tail.entries[start:] if start else tail.entries[:]

    def saved_under(self, number: int) -> None:
        """Whatever was handed out to save up to `number`, and still stands, is saved."""
        saving = self._saving
        while saving and saving[0][0] <= number:
            index = saving.pop(0)[1]
            if index > self.saved:
                self.saved = index
        self._trim()

    def snapshot_saved(self, index: Index) -> None:
        """The snapshot at `index` is saved, so its state is applied."""
        if self.snapshot is not None and self.snapshot.index == index:
            self.snapshot = None
            self.applied = self.applying = index
            self._forget_applying(index)

    def has_to_apply(self) -> bool:
        """Whether committed entries can be handed out."""
        return (
            self.applying < self.commit
            and self.applying < self._appliable()
            and not self._paused
            and self.snapshot is None
        )

    def to_apply(self) -> Sequence[Entry]:
        """Committed entries to hand out; they count as handed out from now on."""
        limit = self._appliable()
        room = self._max_applying_bytes - self._applying_bytes
        entries = self._slice(Index(self.applying + 1), Index(limit + 1), room)
        assert not isinstance(entries, Compacted), f"unapplied entries are gone: {self.marks()}"
        size = 0
        for entry in entries:
            size += len(entry.data) + ENTRY_OVERHEAD
        last = entries[-1].index
        self.applying = last
        self._applying_bytes += size
        self._applying_sizes.append((last, size))
        self._paused = self._applying_bytes >= self._max_applying_bytes or last < limit
        self._trim()
        return entries

    def applied_to(self, index: Index) -> None:
        """The host has applied everything up to `index`."""
        assert self.applied <= index <= self.applying, f"applied({index}): {self.marks()}"
        self.applied = index
        self._forget_applying(index)

    # Inside.

    def _appliable(self) -> Index:
        return self.commit if self._apply_unsaved else min(self.commit, self.saved)

    def _forget_applying(self, index: Index) -> None:
        sizes = self._applying_sizes
        while sizes and sizes[0][0] <= index:
            self._applying_bytes -= sizes.pop(0)[1]
        self._paused = self._applying_bytes >= self._max_applying_bytes

    def _cut_from(self, index: Index) -> None:
        assert index > self.commit, f"conflict at {index}: {self.marks()}"
        if index >= self.tail.first:
            self.tail.cut_from(index)
        else:
            before = Index(index - 1)
            self.tail.restart(before, _known(self.term(before)))
        self.saved = min(self.saved, Index(index - 1))
        self.handed = min(self.handed, Index(index - 1))
        # A save that is under way still writes what was cut off. An entry of the same index and
        # term may come back later; only the save that holds it again vouches for it.
        self._saving = [(number, min(last, self.handed)) for number, last in self._saving]

    def _trim(self) -> None:
        self.tail.drop_through(min(self.saved, self.applying))

    def _slice(self, low: Index, high: Index, max_bytes: int) -> Sequence[Entry] | Compacted:
        tail = self.tail
        if low >= tail.first:
            if high > tail.last:
                return limit_entries(tail.entries[low - tail.first :], max_bytes)
            return limit_entries(tail.entries[low - tail.first : high - tail.first], max_bytes)
        if self.snapshot is not None:
            return Compacted()
        older = self._storage.entries(low, min(high, tail.first), max_bytes)
        if isinstance(older, Compacted) or low + len(older) < tail.first or high <= tail.first:
            return older
        newer = tail.entries[: high - tail.first]
        room = max_bytes - sum(map(entry_size, older))
        fitting = limit_entries(newer, room)
        return [*older, *fitting] if room >= entry_size(fitting[0]) else older

    def _walk(self, low: Index, high: Index) -> Iterator[Entry]:
        while low < high:
            page = self._slice(low, high, 1024 * 1024)
            assert not isinstance(page, Compacted), f"unapplied entries are gone: {self.marks()}"
            yield from page
            low = Index(low + len(page))


def _known(term: Term | Compacted) -> Term:
    assert not isinstance(term, Compacted), "the log does not know the term before its start"
    return term
