"""The rows of a snapshot put in place of the old ones, slice by slice.

Blocks come in key order, so each slice removes what stood between the last row of the slice before
and its own last row, and writes its rows: at every moment the disk holds a prefix of the new rows
and a suffix of the old ones. Doing it again from the start does no harm.
"""

from typing import Final

from flaredb.disk.disk import Batch, Files
from flaredb.disk.layout import DATA, OUTBOX, SESSION, data_rows, region_rows
from flaredb.store.records import CorruptRecordError
from flaredb_schemas.keys import KeyRange
from flaredb_schemas.regions import Region

SLICE_BYTES: Final = 1024 * 1024
"""What one slice writes, about."""


def snapshot_ranges(region: Region) -> tuple[tuple[bytes, bytes], ...]:
    """The rows that make up a snapshot of `region`: ranges in key order, as a file holds them."""
    return (
        data_rows(region.keys),
        region_rows(OUTBOX, region.id),
        region_rows(SESSION, region.id),
    )


class Installation:
    """How far the rows of one file are in place.

    Invariants: rows come in key order, and so do the ranges; nothing outside the ranges is written,
    and nothing removed but there and where the replica was before. `rows` were written so far;
    `kept` are those of sessions and events, which the replica also holds in memory.
    """

    __slots__ = ("_at", "_given_up", "_name", "_offset", "_range", "_ranges", "kept", "rows")

    def __init__(self, region: Region, held: KeyRange, name: str) -> None:
        """`held` is what the replica has held until now: a split may have taken some of that."""
        self._name = name
        self._given_up = held.without(region.keys)
        self._ranges = snapshot_ranges(region)
        self._range = 0
        self._at = self._ranges[0][0]
        self._offset: int | None = 0
        self.kept: list[tuple[bytes, bytes]] = []
        self.rows = 0

    def write_slice(self, files: Files, batch: Batch) -> bool:
        """Put the next slice into `batch`; whether it was the last."""
        for left in self._given_up:
            batch.delete_range(*data_rows(left))
        self._given_up = ()
        written = 0
        while self._offset is not None and written < SLICE_BYTES:
            block = files.read_block(self._name, self._offset)
            written += self._write(block.rows, batch)
            self.rows += len(block.rows)
            self._offset = block.next
        if self._offset is None:
            self._clear_rest(batch, len(self._ranges))
            return True
        return False

    def _write(self, rows: list[tuple[bytes, bytes]], batch: Batch) -> int:
        size = 0
        position = 0
        while position < len(rows):
            self._clear_rest(batch, self._range_of(rows[position][0]))
            end = self._ranges[self._range][1]
            portion = [row for row in rows[position:] if row[0] < end]
            batch.delete_range(self._at, portion[-1][0] + b"\0")
            for key, value in portion:
                batch.put(key, value)
                size += len(key) + len(value)
            if portion[0][0][:1] != DATA:
                self.kept += portion
            self._at = portion[-1][0] + b"\0"
            position += len(portion)
        return size

    def _range_of(self, key: bytes) -> int:
        for number, (start, end) in enumerate(self._ranges):
            if start <= key < end:
                return number
        raise CorruptRecordError(f"{key!r} does not belong into this snapshot")

    def _clear_rest(self, batch: Batch, wanted: int) -> None:
        """Remove the old rows up to the beginning of range number `wanted`."""
        while self._range < wanted:
            batch.delete_range(self._at, self._ranges[self._range][1])
            self._range += 1
            if self._range < len(self._ranges):
                self._at = self._ranges[self._range][0]
