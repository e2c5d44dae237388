"""The kinds of writes that callers wait for, and the op that each becomes in a batch."""

import abc
import asyncio
from typing import Any, ClassVar

from flaredb.client.checks import OP_OVERHEAD
from flaredb.client.gathering import Call
from flaredb_schemas.commands import (
    MAX_BATCH_OPS,
    MAX_BATCH_RANGES,
    CompareAndSwap,
    Delete,
    DeleteRange,
    Group,
    Op,
    Put,
)
from flaredb_schemas.keys import MAX_KEY_BYTES, smaller_end
from flaredb_schemas.regions import Region

Outcome = asyncio.Future[Any]


class WriteCall(Call, abc.ABC):
    """A caller who waits for one op.

    `op` is the op under the number that it has in its batch; `needs_space` says whether it may
    store anything, so that a full store refuses it.
    """

    __slots__ = ("op",)

    needs_space: ClassVar[bool] = True

    op: Op

    @abc.abstractmethod
    def make(self, number: int) -> Op:
        """The op under this number."""

    def enter(self, region: Region) -> bool:
        """Prepare to be sent to `region`, which holds `key`; False if it does not hold it all."""
        del region
        return True


class PutCall(WriteCall):
    """A caller who waits for a put."""

    __slots__ = ("_value",)

    def __init__(self, key: bytes, value: bytes, deadline: float, outcome: Outcome) -> None:
        super().__init__(key, len(key) + len(value) + OP_OVERHEAD, deadline, outcome)
        self._value = value

    def make(self, number: int) -> Op:
        return Put(number, self.key, self._value)


class DeleteCall(WriteCall):
    """A caller who waits for a deletion."""

    __slots__ = ()

    needs_space = False

    def __init__(self, key: bytes, deadline: float, outcome: Outcome) -> None:
        super().__init__(key, len(key) + OP_OVERHEAD, deadline, outcome)

    def make(self, number: int) -> Op:
        return Delete(number, self.key)


class SwapCall(WriteCall):
    """A caller who waits for a compare-and-swap."""

    __slots__ = ("_expected", "_value")

    def __init__(
        self,
        key: bytes,
        expected: bytes | None,
        value: bytes | None,
        deadline: float,
        outcome: Outcome,
    ) -> None:
        size = len(key) + len(expected or b"") + len(value or b"") + OP_OVERHEAD
        super().__init__(key, size, deadline, outcome)
        self._expected = expected
        self._value = value

    def make(self, number: int) -> Op:
        return CompareAndSwap(number, self.key, self._expected, self._value)


class GroupCall(WriteCall):
    """A caller who waits for several writes that take effect together."""

    __slots__ = ("_writes", "weight")

    def __init__(
        self, writes: tuple[Put | Delete, ...], size: int, deadline: float, outcome: Outcome
    ) -> None:
        super().__init__(writes[0].key, size, deadline, outcome)
        self._writes = writes
        self.weight = len(writes)

    def make(self, number: int) -> Op:
        return Group(number, self._writes)

    def enter(self, region: Region) -> bool:
        return all(region.keys.contains(write.key) for write in self._writes)


class RangeCall(WriteCall):
    """A caller who waits for the deletion of that part of a range which lies in one region.

    `reach` is where that part ends. The op is narrowed to the region; its number stays, since a
    region that executed it before a split answers by the number.
    """

    __slots__ = ("reach",)

    needs_space = False
    weight = MAX_BATCH_OPS // MAX_BATCH_RANGES

    def __init__(self, start: bytes, end: bytes, deadline: float, outcome: Outcome) -> None:
        # Narrowed to its region it may end at a longer key than the caller's.
        super().__init__(start, len(start) + MAX_KEY_BYTES + OP_OVERHEAD, deadline, outcome)
        self.reach = end

    def make(self, number: int) -> Op:
        return DeleteRange(number, self.key, self.reach)

    def enter(self, region: Region) -> bool:
        self.reach = smaller_end(self.reach, region.keys.end)
        return True
