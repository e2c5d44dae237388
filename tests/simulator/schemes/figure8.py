"""An entry of an old term comes back, reaches a majority, is overwritten (Raft paper, figure 8).

A leader is cut off with an entry that nobody else has. The next one is cut off as soon as it leads,
with another entry at the same place. The first comes back, leads again, and is cut off when its old
entry stands on a majority and nothing of its new term does. Then the second comes back.
"""

from flaredb.store.replica import Replica
from flaredb_schemas.ids import Index, Term
from tests.simulator.schemes.scheme import Scheme
from tests.simulator.stores import SimStore


class Figure8(Scheme):
    """Leaders take turns, and logs part ways."""

    _leader: SimStore
    """The first, who leads again later."""
    _term = Term(0)
    """Of whoever led last."""
    _inherited = Index(0)
    """Where the second leader's own entries begin to differ from the first one's."""

    def first(self, item: SimStore, replica: Replica) -> None:
        """Cut a leader off while what it has just appended is on its way."""
        if not replica.leads or not replica.proposals:
            return
        if all(match == replica.node.last_index - 1 for match in _matches(replica)):
            self._leader, self._term = item, replica.node.term
            self.cut_off(item)
            self.step = self._second

    def _second(self, item: SimStore, replica: Replica) -> None:
        if self._leads_anew(replica):
            # Up to here a new leader may have inherited membership changes: the end of the old log.
            self._inherited = replica.node.status().pending_change
            self.cut_off(item)
            self.step = self._third

    def _third(self, item: SimStore, replica: Replica) -> None:
        if self._leads_anew(replica):
            if item is self._leader:
                self.step = self._half_told
            else:
                self.end()

    def _half_told(self, item: SimStore, replica: Replica) -> None:
        if item is not self._leader:
            return
        if not replica.leads or replica.node.term != self._term:
            self.end()
            return
        told = max(_matches(replica))
        if told <= self._inherited:
            return
        if told > replica.log.last or replica.log.term(told) == self._term:
            self.end()
        else:
            self.cut_off(item)
            self.step = self._overwritten

    def _overwritten(self, item: SimStore, replica: Replica) -> None:
        if self._leads_anew(replica) or replica.node.term > self._term:
            self.later(1.0, self.end)
            self.step = self.wait

    def _leads_anew(self, replica: Replica) -> bool:
        """Whether somebody leads a later term than the last one seen, which is now the last."""
        if not replica.leads or replica.node.term <= self._term:
            return False
        self._term = replica.node.term
        return True


def _matches(leader: Replica) -> list[Index]:
    """Up to where each of the others is known to have the leader's log."""
    progress = leader.node.status().progress
    return [item.match for peer, item in progress.items() if peer != leader.peer]
