"""Weighs rows that pass by in key order: how many and how heavy on each side of some cuts.

Where no cut is named it finds the rows at which to cut into equal pieces by bytes, near enough: it
remembers a row for about every five-hundredth of the bytes, whatever their number.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from msgspec import Struct

MOST_SAMPLES: Final = 1_024


class Part(Struct, frozen=True, array_like=True):
    """Rows between two cuts, and the bytes of their keys and records."""

    rows: int
    bytes: int


class Sample(Struct, frozen=True, gc=False):
    """A row's key, and what came before it."""

    key: bytes
    before: Part


class RowScale:
    """Rows in, parts out.

    Invariant: samples are in key order, at least `_step` bytes apart, and never the first row.
    """

    __slots__ = ("_bytes", "_cuts", "_marks", "_pieces", "_rows", "_samples", "_step")

    def __init__(self, cuts: Sequence[bytes], pieces: int = 2) -> None:
        """`cuts` are keys of rows, rising; whether there are such rows or not.

        Without any, so many `pieces` are made, or fewer where there are too few rows.
        """
        assert 2 <= pieces < MOST_SAMPLES // 2, "each piece needs a sample"
        self._cuts = list(cuts)
        self._pieces = pieces
        self._marks: list[Part] = []
        self._samples: list[Sample] = []
        self._step = 1
        self._rows = 0
        self._bytes = 0

    def add(self, key: bytes, size: int) -> None:
        """The next row, with the size of its key and record together."""
        while len(self._marks) < len(self._cuts) and key >= self._cuts[len(self._marks)]:
            self._marks.append(Part(self._rows, self._bytes))
        if not self._cuts and self._rows:
            self._sample(key)
        self._rows += 1
        self._bytes += size

    def _sample(self, key: bytes) -> None:
        last = self._samples[-1].before.bytes if self._samples else 0
        if self._bytes - last >= self._step:
            self._samples.append(Sample(key, Part(self._rows, self._bytes)))
        if len(self._samples) > MOST_SAMPLES:
            del self._samples[::2]
            self._step = max(self._step * 2, 2 * self._bytes // MOST_SAMPLES)

    def weigh(self) -> tuple[tuple[bytes, ...], tuple[Part, ...]]:
        """The cuts, and the parts that they make; without rows to cut between there is one part."""
        cuts, whole = self._cuts, Part(self._rows, self._bytes)
        marks = self._marks + [whole] * (len(cuts) - len(self._marks))
        if not cuts:
            found = self._edges()
            cuts, marks = [one.key for one in found], [one.before for one in found]
        edges = [Part(0, 0), *marks, whole]
        parts = [
            Part(right.rows - left.rows, right.bytes - left.bytes)
            for left, right in pairwise(edges)
        ]
        return tuple(cuts), tuple(parts)

    def _edges(self) -> list[Sample]:
        """The samples nearest to where the pieces end, each once."""
        found: list[Sample] = []
        for number in range(1, self._pieces):
            end = number * self._bytes
            later = [one for one in self._samples if not found or one.key > found[-1].key]
            if later:
                found.append(min(later, key=lambda at: abs(self._pieces * at.before.bytes - end)))
        return found
