"""Put, delete, compare-and-swap, range deletion and groups: ops in, outcomes and fresh rows out.

A batch is looked over as a whole before any of it is executed; once execution begins nothing is
refused, so that a group, and a batch, take effect together or not at all.
"""

from collections.abc import Iterable
from operator import lt
from typing import Final, assert_never

from flaredb.kv.view import Layer
from flaredb_schemas.commands import (
    MAX_BATCH_OPS,
    MAX_BATCH_RANGES,
    MAX_DELETED_BYTES,
    MAX_DELETED_PER_ENTRY,
    MAX_TOLD_BYTES,
    Batch,
    CompareAndSwap,
    Delete,
    DeleteRange,
    Done,
    Group,
    NotSwapped,
    NotSwappedUntold,
    Op,
    Outcome,
    Put,
    RangeDeleted,
    Swapped,
)
from flaredb_schemas.keys import KeyRange

DONE: Final = Done()
SWAPPED: Final = Swapped()
NOT_SWAPPED_UNTOLD: Final = NotSwappedUntold()


def find_fault(batch: Batch) -> str | None:
    """What is wrong with the batch in itself, whatever the region; None if nothing is."""
    if not batch.ops:
        return "a batch without ops"
    if batch.sequence < batch.done_below:
        return f"sequence {batch.sequence} is settled by the batch's own {batch.done_below}"
    numbers = [op.op for op in batch.ops]
    if not all(map(lt, numbers, numbers[1:])):
        return "the numbers of the ops do not rise"
    kinds = set(map(type, batch.ops))
    if Group in kinds or DeleteRange in kinds:
        return _find_excess(batch.ops)
    return None


def _find_excess(ops: tuple[Op, ...]) -> str | None:
    writes = sum(len(op.writes) if isinstance(op, Group) else 1 for op in ops)
    if writes > MAX_BATCH_OPS:
        return f"{writes} writes in one batch, more than {MAX_BATCH_OPS}"
    ranges = sum(isinstance(op, DeleteRange) for op in ops)
    if ranges > MAX_BATCH_RANGES:
        return f"{ranges} range deletions in one batch, more than {MAX_BATCH_RANGES}"
    return None


def first_outside(keys: KeyRange, ops: Iterable[Op]) -> bytes | None:
    """The first key that some op touches outside `keys`, or None. Ranges must lie inside whole."""
    start, end = keys.start, keys.end
    for op in ops:
        match op:
            case Put() | Delete() | CompareAndSwap():
                if op.key < start or (end and op.key >= end):
                    return op.key
            case DeleteRange():
                if not keys.covers(KeyRange(op.start, op.end)):
                    return op.start if not keys.contains(op.start) else end
            case Group():
                outside = first_outside(keys, op.writes)
                if outside is not None:
                    return outside
            case _:
                assert_never(op)
    return None


class Writer:
    """Executes the ops of one entry on a layer, and counts what that does to the region's size.

    `bytes` (keys and values) and `keys` are the change so far, and may be negative; `written_bytes`
    counts the keys and values of all writes.
    Invariant: they are exact, because every write looks at the value before it.
    """

    __slots__ = (
        "_deletable_bytes",
        "_deletable_keys",
        "_layer",
        "_tellable_bytes",
        "bytes",
        "keys",
        "written_bytes",
    )

    def __init__(self, layer: Layer) -> None:
        self._layer = layer
        self._deletable_keys = MAX_DELETED_PER_ENTRY
        self._deletable_bytes = MAX_DELETED_BYTES
        self._tellable_bytes = MAX_TOLD_BYTES
        self.bytes = 0
        self.keys = 0
        self.written_bytes = 0

    def execute(self, op: Op) -> Outcome:
        """Carry out `op`, all of whose keys lie in the region, and say what came of it."""
        match op:
            case Put():
                self._put(op.key, op.value)
                return DONE
            case Delete():
                self._delete(op.key)
                return DONE
            case CompareAndSwap():
                return self._compare_and_swap(op)
            case DeleteRange():
                return self._delete_range(op)
            case Group():
                return self._group(op)
            case _:
                assert_never(op)

    def _put(self, key: bytes, value: bytes) -> None:
        before = self._layer.size_of(key)
        size = len(key) + len(value)
        self.written_bytes += size
        if before is None:
            self.keys += 1
            self.bytes += size
        else:
            self.bytes += len(value) - before
        self._layer.put(key, value)

    def _delete(self, key: bytes) -> None:
        before = self._layer.size_of(key)
        if before is not None:
            self._remove(key, before)

    def _remove(self, key: bytes, value_size: int) -> None:
        self.keys -= 1
        self.bytes -= len(key) + value_size
        self.written_bytes += len(key)
        self._layer.remove(key)

    def _compare_and_swap(self, op: CompareAndSwap) -> Outcome:
        actual = self._layer.get(op.key)
        if actual != op.expected:
            return self._not_swapped(actual)
        if op.value is not None:
            self._put(op.key, op.value)
        elif actual is not None:
            self._remove(op.key, len(actual))
        return SWAPPED

    def _not_swapped(self, actual: bytes | None) -> NotSwapped | NotSwappedUntold:
        size = len(actual) if actual is not None else 0
        if size > self._tellable_bytes:
            return NOT_SWAPPED_UNTOLD
        self._tellable_bytes -= size
        return NotSwapped(actual)

    def _delete_range(self, op: DeleteRange) -> RangeDeleted:
        if op.end and op.end <= op.start:
            return RangeDeleted(0, None)
        doomed: list[tuple[bytes, int]] = []
        resume = None
        for key, value in self._layer.scan(op.start, op.end):
            if self._deletable_keys == 0 or self._deletable_bytes <= 0:
                resume = key
                break
            self._deletable_keys -= 1
            self._deletable_bytes -= len(key) + len(value)
            doomed.append((key, len(value)))
        for key, value_size in doomed:
            self._remove(key, value_size)
        return RangeDeleted(len(doomed), resume)

    def _group(self, op: Group) -> Done:
        for write in op.writes:
            self.execute(write)
        return DONE
