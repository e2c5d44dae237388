"""The sequential objects: what one key does when calls come one after the other.

A register with compare-and-set and one key of a map are the same object: the map's put, get, delete
and compare-and-set are a register's, with None for "absent".
"""

from collections.abc import Hashable, Sequence
from typing import Protocol

from tests.linearizability.history import (
    Answer,
    Append,
    Call,
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
from tests.linearizability.outlook import Outlook, RegisterOutlook, TextOutlook

State = Hashable | None


class Model(Protocol):
    """A deterministic sequential object. States are hashable and small."""

    @property
    def initial(self) -> State:
        """The state before the first operation."""
        ...

    def apply(self, state: State, call: Call) -> tuple[State, Answer]:
        """The state after `call` and what it is answered. ValueError: not a call of this object."""
        ...

    def outlook(self, operations: Sequence[Operation]) -> Outlook:
        """What can be foreseen of a search over `operations`; it only makes the search faster."""
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

    def outlook(self, operations: Sequence[Operation]) -> Outlook:
        """Which values are still needed, and who could still write them."""
        return RegisterOutlook(operations)


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

    def outlook(self, operations: Sequence[Operation]) -> Outlook:
        """Which texts are still to be read, and what they could still grow from."""
        return TextOutlook(operations)
