"""The sequential objects: what one key does when calls come one after the other.

A register with compare-and-set and one key of a map are the same object: the map's put, get, delete
and compare-and-set are a register's, with None for "absent".
"""

from collections.abc import Hashable
from enum import Enum
from typing import Protocol

from msgspec import Struct

from tests.linearizability.history import (
    Answer,
    Append,
    Call,
    CompareAndSet,
    Delete,
    Done,
    Get,
    Got,
    Put,
    Swapped,
    Value,
)

State = Hashable | None


class Extent(Enum):
    """How far an operation reaches where it is not exactly one state."""

    ANY = "any state"
    NONE = "no state"


class Footprint(Struct, frozen=True):
    """What can be said of an operation without knowing the state it meets.

    `needs`: the one state in which it can be answered so, or ANY. `makes`: the one state that it
    leaves behind if it changes anything, ANY if that depends, NONE if it never changes anything.
    """

    needs: State | Extent
    makes: State | Extent


class Model(Protocol):
    """A deterministic sequential object. States are hashable and small."""

    @property
    def initial(self) -> State:
        """The state before the first operation."""
        ...

    def apply(self, state: State, call: Call) -> tuple[State, Answer]:
        """The state after `call` and what it is answered. ValueError: not a call of this object."""
        ...

    def footprint(self, call: Call, answer: Answer | None) -> Footprint:
        """What `call`, answered so (None: unknown), needs and makes. Only to search faster."""
        ...


class RegisterModel:
    """A register, or one key of a map: get, put, delete, compare-and-set."""

    def __init__(self, initial: Value = None) -> None:
        self._initial = initial

    @property
    def initial(self) -> State:
        """The value before the first operation; None is absent."""
        return self._initial

    def apply(self, state: State, call: Call) -> tuple[State, Answer]:
        """Execute `call` on a register that holds `state`."""
        match call:
            case Get():
                return state, Got(state)
            case Put(value):
                return value, Done()
            case Delete():
                return None, Done()
            case CompareAndSet(expected, value):
                swaps = state == expected
                return (value if swaps else state), Swapped(swaps, state)
            case Append():
                raise ValueError("a register cannot be appended to")

    def footprint(self, call: Call, answer: Answer | None) -> Footprint:
        """Every answered read or swap needs one value, every write makes one."""
        match answer:
            case Got(value):
                return Footprint(value, Extent.NONE)
            case Swapped(ok, previous):
                return Footprint(previous, _written(call) if ok else Extent.NONE)
            case Done() | None:
                return Footprint(Extent.ANY, _written(call))


def _written(call: Call) -> State | Extent:
    """The value that a write leaves in a register, if it writes."""
    match call:
        case Put(value) | CompareAndSet(_, value):
            return value
        case Delete():
            return None
        case Get():
            return Extent.NONE
        case Append():
            return Extent.ANY


class TextModel:
    """A text: get, put, append; at first it is empty."""

    @property
    def initial(self) -> State:
        """The empty text."""
        return ""

    def apply(self, state: State, call: Call) -> tuple[State, Answer]:
        """Execute `call` on the text `state`."""
        match call:
            case Get():
                return state, Got(state)
            case Put(value):
                return value, Done()
            case Append(suffix):
                return f"{state}{suffix}", Done()
            case Delete() | CompareAndSet():
                raise ValueError("a text is only read, put and appended to")

    def footprint(self, call: Call, answer: Answer | None) -> Footprint:
        """A read needs its text; what an append makes depends on what it meets."""
        needs = answer.value if isinstance(answer, Got) else Extent.ANY
        return Footprint(needs, _written(call))
