"""What clients call: ops, what each does to keys as a register sees it, and what was answered.

A value is a name that no other write has, and behind it a filler that follows from the name: the
history holds names, and whoever reads a value checks its filler.
"""

import random
from collections.abc import Hashable, Sequence

from msgspec import Struct

from flaredb_schemas.commands import (
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
from tests.linearizability import Answer as Observed
from tests.linearizability import Call as Called
from tests.linearizability import CompareAndSet
from tests.linearizability import Delete as Deleted
from tests.linearizability import Done as Finished
from tests.linearizability import Put as Stored
from tests.linearizability import Swapped as Exchanged

Effect = tuple[bytes, Called]
Seen = tuple[bytes, Called, Observed]


class Step(Struct, frozen=True):
    """One op, and what it does to single keys."""

    op: Op
    effects: tuple[Effect, ...]

    @property
    def first_key(self) -> bytes:
        """The key by whose region the op is carried out."""
        return self.op.start if isinstance(self.op, DeleteRange) else self.effects[0][0]


def all_keys(count: int) -> list[bytes]:
    """The keys of a world, spread over its regions."""
    return sorted(b"%c%02d" % (b"a"[0] + (number * 7) % 26, number) for number in range(count))


def name_of(value: bytes | None) -> Hashable:
    """The name in a value. Raises `AssertionError` for a value that nobody wrote."""
    if value is None:
        return None
    name = value.partition(b"|")[0]
    assert value == filled(name, len(value) - len(name) - 1), f"{name!r} has other bytes"
    return name


def filled(name: bytes, size: int) -> bytes:
    """The value of that name with `size` bytes of filler."""
    return name + b"|" + (name * (size // len(name) + 1))[:size]


class Writes:
    """Draws what one client writes."""

    def __init__(self, dice: random.Random, client: str, keys: list[bytes], most: int) -> None:
        """`most` is how many bytes of filler a value may have."""
        self._dice = dice
        self._client = client.encode()
        self._keys = keys
        self._most = most
        self._count = 0
        self.seen: dict[bytes, bytes | None] = {}
        """What each key held when this client last heard of it."""

    def draw(self, key: bytes, nearby: Sequence[bytes], count: int) -> list[Step]:
        """Up to `count` ops on `key` and on `nearby`, the keys of the same region."""
        keys = [key, *(self._dice.choice(nearby) for _ in range(self._dice.randrange(count)))]
        return [self._step(number, each, nearby) for number, each in enumerate(keys)]

    def _step(self, number: int, key: bytes, nearby: Sequence[bytes]) -> Step:
        kind = self._dice.random()
        if kind < 0.45:
            value = self._value()
            return Step(Put(number, key, value), ((key, Stored(name_of(value))),))
        if kind < 0.55:
            return Step(Delete(number, key), ((key, Deleted()),))
        if kind < 0.85:
            return self._swap(number, key)
        if kind < 0.93:
            return self._group(number, key, nearby)
        return self.range_deletion(number, key, max(nearby) + b"\0")

    def _swap(self, number: int, key: bytes) -> Step:
        expected = self.seen.get(key)
        value = self._value() if self._dice.random() < 0.8 else None
        call = CompareAndSet(name_of(expected), name_of(value))
        return Step(CompareAndSwap(number, key, expected, value), ((key, call),))

    def _group(self, number: int, key: bytes, nearby: Sequence[bytes]) -> Step:
        keys = sorted({key, self._dice.choice(nearby)})
        puts = tuple(Put(0, each, self._value()) for each in keys)
        gone = () if len(keys) > 1 or key == nearby[0] else (Delete(0, nearby[0]),)
        effects = [(put.key, Stored(name_of(put.value))) for put in puts]
        return Step(
            Group(number, (*puts, *gone)),
            (*effects, *((delete.key, Deleted()) for delete in gone)),
        )

    def range_deletion(self, number: int, start: bytes, end: bytes) -> Step:
        """Remove what lies in `[start, end)`, as far as one entry may."""
        inside = [key for key in self._keys if start <= key < end]
        return Step(DeleteRange(number, start, end), tuple((key, Deleted()) for key in inside))

    def _value(self) -> bytes:
        self._count += 1
        size = self._dice.randrange(self._most + 1) if self._most else 0
        return filled(b"%s.%d" % (self._client, self._count), size)


def observed(step: Step, outcome: Outcome) -> list[Seen]:
    """What the outcome says of each key; nothing where it says that nothing happened."""
    key, call = step.effects[0]
    match outcome:
        case Swapped():
            assert isinstance(call, CompareAndSet)
            return [(key, call, Exchanged(True, call.expected))]
        case NotSwapped(actual=actual):
            return [(key, call, Exchanged(False, name_of(actual)))]
        case NotSwappedUntold():
            return []
        case RangeDeleted(resume=resume):
            gone = [item for item in step.effects if resume is None or item[0] < resume]
            return [(key, call, Finished()) for key, call in gone]
        case Done():
            return [(key, call, Finished()) for key, call in step.effects]


def left_by(step: Step, outcome: Outcome) -> dict[bytes, bytes | None]:
    """What keys held right after the op, as far as its outcome tells."""
    match step.op, outcome:
        case Put(key=key, value=value), _:
            return {key: value}
        case CompareAndSwap(key=key, value=swapped), Swapped():
            return {key: swapped}
        case CompareAndSwap(key=key), NotSwapped(actual=actual):
            return {key: actual}
        case _:
            return {key: None for key, call in step.effects if isinstance(call, Deleted)}
