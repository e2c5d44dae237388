"""What the operations still to be placed say about the rest of a search.

An outlook never decides a history; it tells early that a branch leads nowhere, or that a choice is
none. It is kept up to date while the search places operations and takes them back.
"""

from collections import Counter
from collections.abc import Hashable, Sequence
from enum import Enum
from typing import Protocol

from tests.linearizability.history import (
    Append,
    CompareAndSet,
    Delete,
    Done,
    Get,
    Got,
    Operation,
    Put,
    Swapped,
    Value,
)


class Outlook(Protocol):
    """The foresight of one search. Operations are called by their number in the search."""

    def place(self, number: int) -> None:
        """The operation is placed."""
        ...

    def take_back(self, number: int) -> None:
        """The operation is to be placed again."""
        ...

    def hopeless(self, state: Hashable | None) -> bool:
        """Whether from `state` some answer can certainly not be explained any more."""
        ...

    def overwrites(self, number: int) -> bool:
        """Whether the operation leaves the same state behind whatever it meets."""
        ...

    def self_contained(self, ready: Sequence[int]) -> list[int]:
        """Those of the `ready` operations that can be placed right before any overwriting one.

        Whatever can notice such an operation changes nothing itself and is ready too, so it goes
        along; and once they are placed only an overwriting operation can come next.
        """
        ...


class Extent(Enum):
    """What stands in place of a value where there is none."""

    ANY = "any value"
    NONE = "no value"


class RegisterOutlook:
    """Counts, for each value, who needs it, who writes it and whom it would enable.

    Invariants: counts cover exactly the operations that are not placed; `_stranded` holds exactly
    the values that are needed and that nobody writes any more.
    """

    def __init__(self, operations: Sequence[Operation]) -> None:
        self._needs = [_needs(operation) for operation in operations]
        self._enabled_by = [_enabled_by(operation) for operation in operations]
        self._writes = [_writes(operation) for operation in operations]
        self._overwrites = [isinstance(op.call, Put | Delete) for op in operations]
        self._needed: Counter[Value] = Counter()
        self._enabling: Counter[Value] = Counter()
        self._written: Counter[Value] = Counter()
        self._stranded: set[Value] = set()
        for number in range(len(operations)):
            self.take_back(number)

    def place(self, number: int) -> None:
        """The operation is placed."""
        self._count(number, -1)

    def take_back(self, number: int) -> None:
        """The operation is to be placed again."""
        self._count(number, 1)

    def hopeless(self, state: Value) -> bool:
        """Whether some needed value is neither there nor ever written again."""
        return len(self._stranded) > (state in self._stranded)

    def overwrites(self, number: int) -> bool:
        """Puts and deletes do not look at what they replace."""
        return self._overwrites[number]

    def self_contained(self, ready: Sequence[int]) -> list[int]:
        """Puts and deletes whose value is needed by ready observers at most."""
        observers = Counter(
            self._needs[number] for number in ready if self._writes[number] is Extent.NONE
        )
        return [
            number
            for number in ready
            if self._overwrites[number]
            and self._needed[written := self._writes[number]] == observers[written]
            and not self._enabling[written]
        ]

    def _count(self, number: int, change: int) -> None:
        needed, written = self._needs[number], self._writes[number]
        self._needed[needed] += change
        self._enabling[self._enabled_by[number]] += change
        self._written[written] += change
        self._note(needed)
        self._note(written)

    def _note(self, value: Value) -> None:
        if not isinstance(value, Extent) and self._needed[value] and not self._written[value]:
            self._stranded.add(value)
        else:
            self._stranded.discard(value)


def _needs(operation: Operation) -> Value | Extent:
    """The one value that must be there for the operation to be answered so."""
    match operation.answer:
        case Got(value) | Swapped(_, value):
            return value
        case Done() | None:
            return Extent.ANY


def _enabled_by(operation: Operation) -> Value | Extent:
    """The value with which an operation of unknown outcome would change something."""
    if operation.answer is None and isinstance(operation.call, CompareAndSet):
        return operation.call.expected
    return Extent.NONE


def _writes(operation: Operation) -> Value | Extent:
    """The value that the operation leaves behind if it changes anything."""
    match operation.call, operation.answer:
        case CompareAndSet(), Swapped(False, _):
            return Extent.NONE
        case ((Put(value) | CompareAndSet(_, value)), _):
            return value
        case Delete(), _:
            return None
        case ((Get() | Append()), _):
            return Extent.NONE


class TextOutlook:
    """Knows which texts are still to be read, and what puts they could still grow from.

    Invariant: counts and `_open_reads` (a set of bits) cover exactly the operations not placed.
    """

    def __init__(self, operations: Sequence[Operation]) -> None:
        self._calls = [operation.call for operation in operations]
        self._reads = [_read_text(operation) for operation in operations]
        self._mentions = _mentions(operations, self._reads)
        self._open_reads = 0
        self._to_be_read: Counter[str] = Counter()
        self._puts: Counter[str] = Counter()
        for number in range(len(operations)):
            self.take_back(number)

    def place(self, number: int) -> None:
        """The operation is placed."""
        self._count(number, -1)

    def take_back(self, number: int) -> None:
        """The operation is to be placed again."""
        self._count(number, 1)

    def hopeless(self, state: Value) -> bool:
        """Whether some text to be read neither continues `state` nor the text of a coming put."""
        return any(
            not text.startswith(str(state)) and not self._can_be_put(text)
            for text in self._to_be_read
        )

    def overwrites(self, number: int) -> bool:
        """Puts do not look at what they replace."""
        return isinstance(self._calls[number], Put)

    def self_contained(self, ready: Sequence[int]) -> list[int]:
        """Puts and appends of which no text to be read tells anything."""
        return [
            number
            for number in ready
            if self._reads[number] is None and not self._mentions[number] & self._open_reads
        ]

    def _can_be_put(self, text: str) -> bool:
        return any(text.startswith(put) for put in self._puts)

    def _count(self, number: int, change: int) -> None:
        call, read = self._calls[number], self._reads[number]
        if read is not None:
            _change(self._to_be_read, read, change)
            self._open_reads ^= 1 << number
        elif isinstance(call, Put):
            _change(self._puts, str(call.value), change)


def _read_text(operation: Operation) -> str | None:
    """The text that a get found."""
    return str(operation.answer.value) if isinstance(operation.answer, Got) else None


def _mentions(operations: Sequence[Operation], reads: Sequence[str | None]) -> list[int]:
    """For each operation the reads (as bits) that found a text in which its own text occurs."""
    found = [(1 << number, text) for number, text in enumerate(reads) if text is not None]
    return [
        sum(bit for bit, text in found if written is not None and written in text)
        for written in map(_written_text, operations)
    ]


def _written_text(operation: Operation) -> str | None:
    """The text that a put or an append writes."""
    match operation.call:
        case Append(text):
            return text
        case Put(value):
            return str(value)
        case Get() | Delete() | CompareAndSet():
            return None


def _change(counter: Counter[str], text: str, change: int) -> None:
    """Count `text`; what is counted zero times is not kept."""
    counter[text] += change
    if not counter[text]:
        del counter[text]
