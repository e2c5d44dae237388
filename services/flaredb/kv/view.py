"""What apply and reads see of a region's data, and a layer of fresh writes on top of it."""

from collections.abc import Iterator
from typing import Protocol

Rows = dict[bytes, bytes | None]
"""User key to value; None for a removed one."""


class DataView(Protocol):
    """The rows of one moment, by user key. The moment is that of the last applied entry."""

    def get(self, key: bytes) -> bytes | None:
        """The value under `key`, or None."""
        ...

    def size_of(self, key: bytes) -> int | None:
        """How many bytes the value under `key` has, or None; cheaper than the value itself."""
        ...

    def scan(
        self, start: bytes, end: bytes, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """The rows of `[start, end)` in key order, or backwards; `end` empty for no end."""
        ...


class Layer:
    """The writes of one entry over the view that the host handed in; later ops see the earlier.

    Invariant: `rows` holds each written key once, with its newest value.
    """

    __slots__ = ("_below", "rows")

    def __init__(self, below: DataView) -> None:
        self._below = below
        self.rows: Rows = {}

    def get(self, key: bytes) -> bytes | None:
        """The newest value under `key`, or None."""
        if key in self.rows:
            return self.rows[key]
        return self._below.get(key)

    def size_of(self, key: bytes) -> int | None:
        """How many bytes the newest value under `key` has, or None."""
        if key in self.rows:
            value = self.rows[key]
            return None if value is None else len(value)
        return self._below.size_of(key)

    def put(self, key: bytes, value: bytes) -> None:
        """Store `value` under `key`."""
        self.rows[key] = value

    def remove(self, key: bytes) -> None:
        """Remove `key`, which is present."""
        self.rows[key] = None

    def scan(self, start: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
        """The newest rows of `[start, end)`. Nothing may be written before the scan has ended."""
        fresh = [key for key in self.rows if start <= key and (not end or key < end)]
        fresh.sort(reverse=True)  # the next one is the last
        for row in self._below.scan(start, end):
            while fresh and fresh[-1] < row[0]:
                yield from self._present(fresh.pop())
            if row[0] not in self.rows:
                yield row
        while fresh:
            yield from self._present(fresh.pop())

    def _present(self, key: bytes) -> Iterator[tuple[bytes, bytes]]:
        value = self.rows[key]
        if value is not None:
            yield key, value
