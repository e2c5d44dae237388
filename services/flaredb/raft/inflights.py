"""How much may be on the way to one follower: a bound in messages and one in bytes."""

from flaredb_schemas.ids import Index


class Inflights:
    """The appends sent to one follower and not acknowledged, oldest first.

    Invariants: the last indexes rise; `bytes` is the sum of the sizes held; empty means zero.
    """

    __slots__ = ("_ends", "_sizes", "bytes", "max_bytes", "max_messages")

    def __init__(self, max_messages: int, max_bytes: int) -> None:
        self.max_messages = max_messages
        self.max_bytes = max_bytes
        self.bytes = 0
        self._ends: list[Index] = []
        self._sizes: list[int] = []

    def __len__(self) -> int:
        return len(self._ends)

    def full(self) -> bool:
        """Whether the next append must wait. The one that passes the byte limit still went."""
        return len(self._ends) >= self.max_messages or self.bytes >= self.max_bytes

    def add(self, end: Index, size: int) -> None:
        """An append whose last entry is `end` is on its way."""
        assert not self.full(), "append sent beyond the limit"
        assert not self._ends or end > self._ends[-1], "appends out of order"
        self._ends.append(end)
        self._sizes.append(size)
        self.bytes += size

    def free_through(self, index: Index) -> None:
        """Everything that ends at or before `index` has arrived."""
        ends = self._ends
        count = 0
        for end in ends:
            if end > index:
                break
            self.bytes -= self._sizes[count]
            count += 1
        if count:
            del ends[:count]
            del self._sizes[:count]

    def clear(self) -> None:
        """Nothing is on its way any more."""
        self._ends.clear()
        self._sizes.clear()
        self.bytes = 0
