"""Which operations may be left out because nobody has seen what they did, if they did anything.

What was not answered may never have taken effect. An order that explains the history without such
operations explains it with them as well; each of them doubles what a search may have to try.
"""

from collections.abc import Iterator, Sequence

from tests.linearizability.history import Append, CompareAndSet, Get, Got, Operation, Put, Swapped


def without_unseen(operations: Sequence[Operation]) -> list[Operation]:
    """All but those without an answer whose value is in nobody's answer."""
    shown = {value for operation in operations for value in _shown(operation)}
    return [one for one in operations if one.answer is not None or _leaves(one, shown)]


def _shown(operation: Operation) -> Iterator[object]:
    """What the key held, as this answer tells."""
    match operation.answer:
        case Got(value):
            yield value
        case Swapped(ok, previous):
            yield previous
            if ok and isinstance(operation.call, CompareAndSet):
                yield operation.call.expected
        case _:
            pass


def _leaves(operation: Operation, shown: set[object]) -> bool:
    """Whether it may have left behind what somebody saw."""
    match operation.call:
        case Get():
            return False
        case Put(value) | CompareAndSet(value=value):
            return value in shown
        case Append():
            return True
        case _:
            return None in shown
