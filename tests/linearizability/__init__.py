"""Is a recorded history of clients' calls explained by one atomic object per key?

Linearizability (Herlihy and Wing, 1990) is local: a history is linearizable if and only if its
restriction to each key is. So `check` searches key by key, with the algorithm of Wing and Gong as
improved by Lowe (configurations already met are not explored again; "Testing for linearizability",
2017). Pure: no clock, no I/O; the budget is a number of steps, so a verdict is the same everywhere.
"""

from tests.linearizability.checker import (
    DEFAULT_BUDGET,
    Linearizable,
    NotLinearizable,
    Undecided,
    Verdict,
    check,
)
from tests.linearizability.describe import describe
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
from tests.linearizability.models import Model, RegisterModel, TextModel

__all__ = [
    "DEFAULT_BUDGET",
    "Answer",
    "Append",
    "Call",
    "CompareAndSet",
    "Delete",
    "Done",
    "Get",
    "Got",
    "Linearizable",
    "Model",
    "NotLinearizable",
    "Operation",
    "Put",
    "RegisterModel",
    "Swapped",
    "TextModel",
    "Undecided",
    "Verdict",
    "check",
    "describe",
]
