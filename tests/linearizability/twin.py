"""The dumb twin of the search: try every order. For histories of some eight operations."""

from collections.abc import Sequence

from tests.linearizability.history import Operation
from tests.linearizability.models import Model, State


def linearizable(operations: Sequence[Operation], model: Model) -> bool:
    """Whether some order explains every answer, key by key."""
    keys = {operation.key for operation in operations}
    return all(
        _explained([op for op in operations if op.key == key], model, model.initial) for key in keys
    )


def _explained(left: Sequence[Operation], model: Model, state: State) -> bool:
    """Whether the operations left can follow on `state`; unanswered ones need not."""
    if all(operation.answer is None for operation in left):
        return True
    for operation in left:
        after, answer = model.apply(state, operation.call)
        if (
            _may_be_next(operation, left)
            and operation.answer in (None, answer)
            and _explained([other for other in left if other is not operation], model, after)
        ):
            return True
    return False


def _may_be_next(operation: Operation, left: Sequence[Operation]) -> bool:
    """Nothing else that is left returned before it was invoked."""
    return all(other.returned is None or other.returned >= operation.invoked for other in left)
