"""Whatever PD has undertaken ends soon once nothing goes wrong any more."""

from collections.abc import Container, Sequence

from flaredb_pd.operators import Operator
from flaredb_pd.state import State
from flaredb_schemas.ids import NO_STORE, OperatorId, StoreId

LONGEST_SECONDS = 45.0
"""How long an operator may run while all is well: less than the time after which the shortest one
is given up, so that this is no end that counts."""


class OperatorsEnd:
    """Remembers since when each operator has been seen to run while all was well."""

    def __init__(self) -> None:
        self._since: dict[OperatorId, float] = {}
        self.watched: set[OperatorId] = set()
        """All that ran while they were looked at."""

    def look(self, states: Sequence[State], now: float, lost: Container[StoreId] = ()) -> None:
        """What the PDs say that lead, as far as they know; where none does nothing has ended.

        What is to go to a store that is lost waits for it until its time is over.
        """
        if not states:
            return
        running = {
            one.id: one.started
            for state in states
            for one in state.operators.running.values()
            if target_of(one) not in lost
        }
        self._since = {number: self._since.get(number, now) for number in running}
        self.watched |= set(running)
        for number, since in self._since.items():
            started, passed = running[number], now - since
            assert passed <= LONGEST_SECONDS, (
                f"operator {number} ({started.kind}) on region {started.region} does not end"
            )

    def running(self) -> list[str]:
        """What ran when it was looked at last."""
        return [f"operator {number} runs" for number in self._since]


def target_of(operator: Operator) -> StoreId:
    """The store that is to get something by it; none where something only goes."""
    started = operator.started
    if started.add is not None:
        return started.add.store
    found = (peer.store for peer in started.before.peers if peer.id == started.to)
    return next(found, NO_STORE)
