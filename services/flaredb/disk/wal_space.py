"""Where the next record of the write-ahead log goes: segments that are used in turns."""

from typing import Final

import msgspec


class Place(msgspec.Struct, frozen=True):
    """Where a record goes: the segment's number from 0, and the offset in it."""

    segment: int
    offset: int


class WalSpace:
    """The room in the segments of one run.

    Invariants: records never overlap before they are committed: a segment is used again only when
    the rows hold every batch in it. Numbers rise.
    """

    def __init__(self, segments: int, size: int) -> None:
        """`segments` of `size` bytes each; without any there is never a place."""
        self._size: Final = size
        self._newest: Final = [0] * segments
        self._segment = 0
        self._offset = 0
        self._committed = 0

    def place(self, number: int, size: int) -> Place | None:
        """A place for batch `number`, whose record has `size` bytes; None if there is none now."""
        if size > self._size or not self._newest:
            return None
        if self._offset + size > self._size and not self._turn():
            return None
        assert number > max(self._newest), "numbers rise"
        place = Place(self._segment, self._offset)
        self._newest[self._segment] = number
        self._offset += size
        return place

    def committed(self, number: int) -> None:
        """The rows hold every batch up to `number`."""
        assert number >= self._committed, "commits do not go back"
        self._committed = number

    def _turn(self) -> bool:
        """Go to the next segment, if all that is in it is committed."""
        after = (self._segment + 1) % len(self._newest)
        if self._newest[after] > self._committed:
            return False
        self._segment, self._offset = after, 0
        return True
