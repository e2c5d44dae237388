"""Linearizable reads of one region: they wait for a quorum round that begins after they came.

A read joins the *next* round, never one already sent (thesis, 6.4: the round must start after the
read arrived). One round is under way at a time, so that reads gather for the next. A round's
context is fresh per attempt and contains the term.
"""

import struct
from collections.abc import Iterator
from typing import Final, Generic, TypeVar

from flaredb_schemas.ids import Index, Term

T = TypeVar("T")

_CONTEXT: Final = struct.Struct(">QQ")


class ReadQueue(Generic[T]):
    """Who waits for which round.

    Invariants: at most one round is under way; whoever is in it came before it was sent.
    """

    __slots__ = ("_confirmed", "_context", "_next", "_rounds", "_under_way")

    def __init__(self) -> None:
        self._next: list[T] = []
        self._under_way: list[T] = []
        self._context = b""
        self._rounds = 0
        self._confirmed: list[tuple[Index, list[T]]] = []

    def add(self, read: T) -> None:
        """`read` has come; it joins the next round."""
        self._next.append(read)

    def begin(self, term: Term) -> bytes | None:
        """The context of a round to send now, or None if none is due."""
        if self._context or not self._next:
            return None
        self._rounds += 1
        self._context = _CONTEXT.pack(term, self._rounds)
        self._under_way, self._next = self._next, []
        return self._context

    def confirmed(self, context: bytes, index: Index) -> None:
        """A quorum has answered the round: its reads may be served once `index` is applied."""
        if context == self._context:
            self._confirmed.append((index, self._under_way))
            self._under_way, self._context = [], b""

    def served_at(self, applied: Index) -> Iterator[T]:
        """The reads that may be served now that `applied` is applied; each is given out once."""
        while self._confirmed and self._confirmed[0][0] <= applied:
            yield from self._confirmed.pop(0)[1]

    def drop(self) -> list[T]:
        """Leadership is lost: all who wait, to be refused."""
        waiting = [read for _, reads in self._confirmed for read in reads]
        waiting += self._under_way + self._next
        self._confirmed, self._under_way, self._next, self._context = [], [], [], b""
        return waiting

    @property
    def wants_round(self) -> bool:
        """Whether reads wait for a round that has not been sent."""
        return bool(self._next) and not self._context

    def __len__(self) -> int:
        return len(self._next) + len(self._under_way) + sum(len(r) for _, r in self._confirmed)
