"""One stable text for every verdict, to be read by the person whose test failed."""

from typing import assert_never

from tests.linearizability.checker import Linearizable, NotLinearizable, Undecided, Verdict
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
)

SHOWN = 12
"""How many of the last explained operations are shown."""


def describe(verdict: Verdict) -> str:
    """The verdict in words; for a bad history the end of what could still be explained."""
    match verdict:
        case Linearizable():
            return "linearizable"
        case Undecided(key):
            return f"undecided: the budget ended at key {key!r}"
        case NotLinearizable(key, refuted, explained):
            left_out = len(explained) - SHOWN
            return "\n".join(
                [
                    f"not linearizable: key {key!r}",
                    "no order explains the answer to",
                    f"  {describe_operation(refuted)}",
                    "everything before that answer is explained by this order:",
                    *([f"  ... {left_out} earlier ones"] if left_out > 0 else []),
                    *(f"  {describe_operation(op)}" for op in explained[-SHOWN:]),
                ]
            )
        case _:
            assert_never(verdict)


def describe_operation(operation: Operation) -> str:
    """One operation on one line: when, who, what, and the answer."""
    returned = "?" if operation.returned is None else operation.returned
    return (
        f"[{operation.invoked} .. {returned}] process {operation.process}: "
        f"{_call(operation.call)} -> {_answer(operation.answer)}"
    )


def _call(call: Call) -> str:
    match call:
        case Get():
            return "get"
        case Put(value):
            return f"put {value!r}"
        case Delete():
            return "delete"
        case CompareAndSet(expected, value):
            return f"compare-and-set {expected!r} to {value!r}"
        case Append(suffix):
            return f"append {suffix!r}"
        case _:
            assert_never(call)


def _answer(answer: Answer | None) -> str:
    match answer:
        case None:
            return "unknown"
        case Got(value):
            return repr(value)
        case Done():
            return "done"
        case Swapped(ok, previous):
            return f"{'swapped' if ok else 'refused'}, held {previous!r}"
        case _:
            assert_never(answer)
