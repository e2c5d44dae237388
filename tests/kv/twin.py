"""A dumb twin of the state machine: a dictionary, and every op that was ever executed."""

from typing import assert_never

from flaredb_schemas.commands import (
    CompareAndSwap,
    Delete,
    DeleteRange,
    Done,
    Group,
    Lane,
    NotSwapped,
    Op,
    Outcome,
    Put,
    RangeDeleted,
    Swapped,
)

OpName = tuple[Lane, int, int]
"""Lane, sequence, op."""


class Twin:
    """It forgets nothing, and looks everything over each time."""

    def __init__(self) -> None:
        self.rows: dict[bytes, bytes] = {}
        self.executed: dict[OpName, Outcome] = {}

    def execute(self, name: OpName, op: Op) -> Outcome:
        """The op's outcome, now or when it was executed."""
        if name not in self.executed:
            self.executed[name] = self._carry_out(op)
        return self.executed[name]

    def _carry_out(self, op: Op) -> Outcome:
        match op:
            case Put(_, key, value):
                self.rows[key] = value
                return Done()
            case Delete(_, key):
                self.rows.pop(key, None)
                return Done()
            case CompareAndSwap(_, key, expected, value):
                actual = self.rows.pop(key, None)
                after = value if actual == expected else actual
                if after is not None:
                    self.rows[key] = after
                return Swapped() if actual == expected else NotSwapped(actual)
            case DeleteRange(_, start, end):
                doomed = [key for key in self.rows if start <= key and (not end or key < end)]
                for key in doomed:
                    del self.rows[key]
                return RangeDeleted(len(doomed), None)
            case Group(_, writes):
                for write in writes:
                    self._carry_out(write)
                return Done()
            case _:
                assert_never(op)
