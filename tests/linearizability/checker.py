"""The verdict on a whole history: key by key, with a readable reason when it is bad."""

from collections.abc import Hashable, Iterable, Sequence
from contextlib import suppress

from msgspec import Struct

from tests.linearizability.history import Operation
from tests.linearizability.models import Model
from tests.linearizability.search import Budget, OutOfSteps, find_order
from tests.linearizability.unseen import without_unseen

DEFAULT_BUDGET = 300_000
"""Steps for one key: ten seconds or so, a minute with 64 clients on one key."""

UNSEEN_SHARE = 10
"""Of the budget a tenth is spent beforehand, without what nobody has seen."""


class Linearizable(Struct, frozen=True):
    """For every key there is an order that explains every answer."""


class NotLinearizable(Struct, frozen=True):
    """No order explains what clients saw of `key`.

    `refuted` is the operation whose answer could not be explained when it came: the history up to
    that answer is not linearizable, and without that answer it is, in the order `explained` (the
    longest linearizable prefix). Should the budget not suffice to find the earliest such answer,
    it is a later one.
    """

    key: Hashable
    refuted: Operation
    explained: tuple[Operation, ...]


class Undecided(Struct, frozen=True):
    """For `key` the budget ended before an order was found or ruled out. Count it as failed."""

    key: Hashable


Verdict = Linearizable | NotLinearizable | Undecided


def check(history: Iterable[Operation], model: Model, budget: int = DEFAULT_BUDGET) -> Verdict:
    """Is there, for every key, an order that `model` explains?

    Operations may come in any order. `budget` bounds the steps of the search for each key, and once
    more those of explaining a bad one. A bad key is reported even if others are undecided.
    """
    undecided: Undecided | None = None
    for key, operations in _by_key(history).items():
        try:
            if not _is_explained(operations, model, budget):
                return _refutation(key, operations, model, Budget(budget))
        except OutOfSteps:
            undecided = undecided or Undecided(key)
    return undecided or Linearizable()


def _is_explained(operations: Sequence[Operation], model: Model, budget: int) -> bool:
    """Whether there is an order; most often one is found among what somebody has seen."""
    seen = without_unseen(operations)
    if len(seen) < len(operations):
        with suppress(OutOfSteps):
            if find_order(seen, model, Budget(budget // UNSEEN_SHARE)) is not None:
                return True
    return find_order(operations, model, Budget(budget)) is not None


def _by_key(history: Iterable[Operation]) -> dict[Hashable, list[Operation]]:
    keys: dict[Hashable, list[Operation]] = {}
    for operation in history:
        keys.setdefault(operation.key, []).append(operation)
    return keys


def _refutation(
    key: Hashable, operations: Sequence[Operation], model: Model, budget: Budget
) -> NotLinearizable:
    """Find the earliest answer that cannot be explained: prefixes only get worse, so bisect."""
    answered = sorted(
        (op for op in operations if op.returned is not None), key=lambda op: op.returned or 0
    )
    explained: tuple[Operation, ...] = ()
    good, bad = 0, len(answered)
    while bad - good > 1:
        middle = (good + bad) // 2
        try:
            order = find_order(_prefix(operations, answered[:middle]), model, budget)
        except OutOfSteps:
            break
        if order is None:
            bad = middle
        else:
            good, explained = middle, order
    return NotLinearizable(key, answered[bad - 1], explained)


def _prefix(operations: Sequence[Operation], answered: Sequence[Operation]) -> list[Operation]:
    """The history when exactly these answers had come: later calls are not yet, others hang."""
    now = max(op.returned for op in answered if op.returned is not None)
    known = {id(op) for op in answered}
    return [
        op if id(op) in known else op.forgotten()
        for op in operations
        if id(op) in known or op.invoked <= now
    ]
