"""One key's operations as columns of numbers, the form in which the search reads them."""

from collections.abc import Sequence

from tests.linearizability.history import CompareAndSet, Get, Operation, Swapped

NEVER = 1 << 62
"""The rank at which an operation without answer returns."""


class Columns:
    """Operations numbered: the answered ones in order of invocation, then the unanswered ones.

    Moments become ranks in the order of all events, invocations before returns at one moment, so
    that A precedes B exactly if `returned[A] < invoked[B]`. Unanswered operations that never change
    anything are left out, for they explain nothing.

    Invariants: `0 <= answered <= len(operations)`; `invoked` rises within either part.
    """

    def __init__(self, operations: Sequence[Operation]) -> None:
        ordered = sorted(operations, key=lambda op: op.invoked)
        answered = [op for op in ordered if op.answer is not None]
        lost = [op for op in ordered if op.answer is None and not _observes(op)]
        self.answered = len(answered)
        self.operations = answered + lost
        self.observes = [_observes(operation) for operation in self.operations]
        self.invoked, self.returned = _ranks(self.operations)
        first_of: dict[object, int] = {}
        self.same = [first_of.setdefault(op.call, i) for i, op in enumerate(self.operations)]
        """Operations with the same call share this number."""


def _observes(operation: Operation) -> bool:
    """Whether the operation, answered so, changes nothing in any state."""
    match operation.call, operation.answer:
        case Get(), _:
            return True
        case CompareAndSet(), Swapped(False, _):
            return True
        case _:
            return False


def _ranks(operations: Sequence[Operation]) -> tuple[list[int], list[int]]:
    """For each operation the rank of its invocation and of its return."""
    invocations = [(op.invoked, 0, i) for i, op in enumerate(operations)]
    returns = [(op.returned, 1, i) for i, op in enumerate(operations) if op.returned is not None]
    ranks = ([NEVER] * len(operations), [NEVER] * len(operations))
    for rank, (_, kind, i) in enumerate(sorted(invocations + returns)):
        ranks[kind][i] = rank
    return ranks


class Chain:
    """The numbers 0 to size - 1 in order, some of them lifted out; in a ring closed by `end`.

    Invariant: numbers are put back in the reverse order of lifting (Knuth's dancing links).
    """

    def __init__(self, size: int) -> None:
        self.end = size
        self.after: list[int] = [*range(1, size + 1), 0]
        self.before: list[int] = [size, *range(size)]

    @property
    def first(self) -> int:
        """The lowest number that is not lifted; `end` when all are."""
        return self.after[self.end]

    def lift(self, number: int) -> None:
        """Take `number` out."""
        self.after[self.before[number]] = self.after[number]
        self.before[self.after[number]] = self.before[number]

    def put_back(self, number: int) -> None:
        """Undo the last `lift`, which was of `number`."""
        self.after[self.before[number]] = number
        self.before[self.after[number]] = number
