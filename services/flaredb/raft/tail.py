"""The newest part of the log, in memory: what is not saved yet, and what waits to be applied.

Knows entries and terms, nothing of marks or of storage.
"""

from collections.abc import Sequence

from flaredb_schemas.ids import Index, Term
from flaredb_schemas.raft import Entry


class Tail:
    """Entries `first` to `last`, without a gap, and the term just before them.

    Invariants: `last == first - 1 + len(entries)`; `last_term` is the term at `last`, which is
    `anchor_term` while there are no entries; terms never fall.
    """

    __slots__ = ("anchor_term", "entries", "first", "last", "last_term")

    def __init__(self, index: Index, term: Term) -> None:
        self.restart(index, term)

    def restart(self, index: Index, term: Term) -> None:
        """Hold nothing, behind the entry (index, term)."""
        self.first = Index(index + 1)
        self.anchor_term = term
        self.entries: list[Entry] = []
        self.last = index
        self.last_term = term

    def check(self) -> None:
        """The invariants of the class; linear in the length."""
        assert self.last == self.first - 1 + len(self.entries), "tail has lost count"
        term = self.anchor_term
        for position, entry in enumerate(self.entries):
            assert entry.index == self.first + position, f"gap at {entry.index}"
            assert entry.term >= term, f"term falls at {entry.index}"
            term = entry.term
        assert term == self.last_term, "last term is not that of the last entry"

    def extend(self, entries: Sequence[Entry]) -> None:
        """Put entries behind the last one."""
        assert entries[0].index == self.last + 1, "entries leave a gap"
        newest = entries[-1]
        assert newest.term >= self.last_term, "an older term follows a newer one"
        self.entries.extend(entries)
        self.last = newest.index
        self.last_term = newest.term

    def cut_from(self, index: Index) -> None:
        """Forget everything at or after `index`, which is held."""
        assert self.first <= index <= self.last, f"cut at {index}, holding {self.first}.."
        del self.entries[index - self.first :]
        self.last = Index(index - 1)
        self.last_term = self.entries[-1].term if self.entries else self.anchor_term

    def drop_through(self, index: Index) -> None:
        """Forget everything up to `index`; what is older than the tail is forgotten already."""
        count = index - self.first + 1
        if count <= 0:
            return
        if index == self.last:
            self.anchor_term = self.last_term
            self.entries.clear()
        else:
            self.anchor_term = self.entries[count - 1].term
            del self.entries[:count]
        self.first = Index(index + 1)

    def term(self, index: Index) -> Term | None:
        """The term at `index`, or None before the anchor. The caller stays within `last`."""
        position = index - self.first
        if position >= 0:
            return self.entries[position].term
        return self.anchor_term if position == -1 else None
