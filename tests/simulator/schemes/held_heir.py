"""A peer is made leader while it holds its state still for a check, behind the old leader.

What the old leader has acknowledged meanwhile stands in the new one's log, but not yet in its rows.
"""

from flaredb.store.replica import Replica
from flaredb_schemas.ids import NO_PEER
from tests.simulator.schemes.scheme import Scheme
from tests.simulator.stores import SimStore


class HeldHeir(Scheme):
    """Leadership goes to whoever has something left to apply."""

    def first(self, item: SimStore, replica: Replica) -> None:
        """Have the region checked by its leader."""
        if replica.leads and not replica.held:
            self.cluster.check(self.region)
            self.step = self._held

    def _held(self, item: SimStore, replica: Replica) -> None:
        if replica.leads or not replica.held or replica.node.leader == NO_PEER:
            return
        host = self.host_of(replica, replica.node.leader)
        leader = self.replica_on(host) if host is not None else None
        if leader is None or not leader.leads:
            return
        if leader.machine.state.index > replica.machine.state.index:
            self.cluster.transfer(leader, replica.peer)
            self.step = self.wait
            self.later(2.0, self.end)
