"""Rows that are applied but not saved yet, laid over what the disk has committed.

A read sees every applied write at once, although applied rows trail the log by a few milliseconds
before they are saved: an answer needs one quorum round, not two saves.
"""

from bisect import bisect_left, insort
from collections.abc import Iterator

from flaredb.disk.disk import Disk
from flaredb.disk.layout import DATA, SEAL_BYTES, data_key, data_rows, user_key
from flaredb.store.records import open_sealed
from flaredb_schemas.keys import KeyRange

Rows = dict[bytes, bytes | None]
"""User key to value; None for a removed one."""


class Layer:
    """The rows that are saved together. Sorted only when somebody scans it."""

    __slots__ = ("_sorted", "bytes", "rows")

    def __init__(self) -> None:
        self.rows: Rows = {}
        self.bytes = 0
        self._sorted: list[bytes] | None = None

    def set(self, key: bytes, value: bytes | None) -> None:
        """The newest value of `key`."""
        if self._sorted is not None and key not in self.rows:
            insort(self._sorted, key)
        self.rows[key] = value
        self.bytes += len(key) + (len(value) if value is not None else 0)

    def between(self, start: bytes, end: bytes) -> list[bytes]:
        """The keys of `[start, end)` in this layer, in order; `end` empty for no end."""
        if self._sorted is None:
            self._sorted = sorted(self.rows)
        low = bisect_left(self._sorted, start)
        high = bisect_left(self._sorted, end) if end else len(self._sorted)
        return self._sorted[low:high]


class Overlay:
    """The layers over one disk, and the view through them.

    Invariants: a sealed layer leaves only after the batch that holds it was saved and the disk's
    view was renewed; sealed layers are in the order of their batches.
    """

    __slots__ = ("_disk", "_sealed", "open")

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self.open = Layer()
        self._sealed: list[tuple[int, Layer]] = []

    def seal(self, number: int) -> Layer:
        """Close the open layer: batch `number` will save it. Returns it, to be written."""
        assert not self._sealed or self._sealed[-1][0] <= number, "layers are sealed in order"
        layer, self.open = self.open, Layer()
        if layer.rows:
            self._sealed.append((number, layer))
        return layer

    def saved(self, number: int) -> None:
        """Batches up to `number` are on disk, and the disk's view shows them."""
        while self._sealed and self._sealed[0][0] <= number:
            self._sealed.pop(0)

    def get(self, key: bytes) -> bytes | None:
        """The newest value of `key`, or None. Raises `CorruptRecordError` where the disk lies."""
        rows = self._rows_with(key)
        if rows is not None:
            return rows[key]
        row = data_key(key)
        stored = self._disk.view.get(row)
        return None if stored is None else open_sealed(row, stored)

    def size_of(self, key: bytes) -> int | None:
        """How many bytes the newest value of `key` has, or None. Takes the disk's word for it."""
        rows = self._rows_with(key)
        if rows is not None:
            value = rows[key]
            return None if value is None else len(value)
        stored = self._disk.view.get(DATA + key)
        return None if stored is None else len(stored) - SEAL_BYTES

    def _rows_with(self, key: bytes) -> Rows | None:
        """The newest layer's rows that hold `key`."""
        if key in self.open.rows:
            return self.open.rows
        for _, layer in reversed(self._sealed):
            if key in layer.rows:
                return layer.rows
        return None

    def scan(
        self, start: bytes, end: bytes, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """The newest rows of `[start, end)` in key order or backwards; `end` empty for no end."""
        fresh = self._fresh_between(start, end)
        low, high = data_rows(KeyRange(start, end))
        yield from _merge(fresh, self._disk.view.scan(low, high, reverse), reverse)

    def _fresh_between(self, start: bytes, end: bytes) -> Rows:
        fresh: Rows = {}
        for layer in (*(layer for _, layer in self._sealed), self.open):
            for key in layer.between(start, end):
                fresh[key] = layer.rows[key]
        return fresh


def _merge(
    fresh: Rows, stored: Iterator[tuple[bytes, bytes]], reverse: bool
) -> Iterator[tuple[bytes, bytes]]:
    """Fresh rows and stored ones in one order; a fresh row hides the stored one of its key."""
    waiting = sorted(fresh, reverse=not reverse)  # the next one is the last
    for row, record in stored:
        key = user_key(row)
        while waiting and ((waiting[-1] > key) if reverse else (waiting[-1] < key)):
            yield from _present(fresh, waiting.pop())
        if key not in fresh:
            yield key, open_sealed(row, record)
    while waiting:
        yield from _present(fresh, waiting.pop())


def _present(fresh: Rows, key: bytes) -> Iterator[tuple[bytes, bytes]]:
    value = fresh[key]
    if value is not None:
        yield key, value
