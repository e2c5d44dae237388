"""A store is killed amid an installation, and then fed by a leader that still has all entries.

It is cut off until the leader has cut its log past it, and another peer has not. Then that peer is
cut off, so that a snapshot goes out and nothing else is committed; the receiver is killed while it
installs; and the peer with the longer log takes the leader's place.
"""

from flaredb.store.records import ReplicaState
from flaredb.store.replica import Replica
from tests.simulator.schemes.scheme import Scheme
from tests.simulator.stores import SimStore


class HalfInstalled(Scheme):
    """A straggler, a leader that must send it a snapshot, and a third that need not."""

    _straggler: SimStore
    _leader: SimStore

    def first(self, item: SimStore, replica: Replica) -> None:
        """Choose who falls behind."""
        if not replica.leads:
            return
        others = self._others(replica)
        if len(others) == 2:
            self._straggler = self.world.dice.choice(others)
            self.cut_off(self._straggler)
            self.step = self._behind

    def _behind(self, item: SimStore, replica: Replica) -> None:
        behind = self.replica_on(self._straggler)
        if not replica.leads or item is self._straggler or behind is None:
            return
        others = [other for other in self._others(replica) if other is not self._straggler]
        third = self.replica_on(others[0]) if others else None
        if third is None:
            return
        last = behind.node.last_index
        leader_is_past, third_is_past = (one.log.start > last for one in (replica, third))
        if leader_is_past and third_is_past:
            self.end()
        elif leader_is_past:
            self._leader = item
            self.cut_off(others[0])
            self.step = self._installing
        elif third_is_past:
            self.cluster.transfer(replica, third.peer)
            self.step = self.wait
            self.later(0.5, self._go_on)

    def _go_on(self) -> None:
        self.step = self._behind

    def _installing(self, item: SimStore, replica: Replica) -> None:
        if item is self._straggler and replica.state is ReplicaState.INSTALLING:
            save = self.world.options.disk.save
            self.step = self.wait
            self.later(self.world.dice.uniform(1, 4) * save, self._strike)

    def _strike(self) -> None:
        self.crash(self._straggler)
        self.cut_off(self._leader)
        self.later(5.0, self.end)

    def _others(self, leader: Replica) -> list[SimStore]:
        """The running stores of the other peers."""
        peers = (peer.id for peer in leader.region.peers if peer.id != leader.peer)
        return [host for peer in peers if (host := self.host_of(leader, peer)) is not None]
