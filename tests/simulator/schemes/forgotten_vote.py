"""A store leads before its vote for itself is on disk, is killed, and votes anew in the same term.

The old leader is killed and cut off. Whoever stands in its place has a slow disk; if it leads for
all that, it is killed too, and its voter is cut off. The old leader and it are left, and remember
nothing of that term.
"""

from flaredb.raft.roles import Role
from flaredb.store.replica import Replica
from tests.simulator.schemes.scheme import Scheme
from tests.simulator.stores import SimStore

SLOW_SECONDS = 2.0
"""Longer than it takes a candidate to win where others hear it."""


class ForgottenVote(Scheme):
    """Two elections in which one store votes."""

    _old: SimStore
    _candidate: SimStore

    def first(self, item: SimStore, replica: Replica) -> None:
        """Take a leader away; it comes back as a follower that nobody hears."""
        if replica.leads and replica.proposals:
            self._old = item
            self.cut_off(item)
            self.crash(item)
            self.step = self._stands

    def _stands(self, item: SimStore, replica: Replica) -> None:
        if item is not self._old and replica.node.role is Role.PRE_CANDIDATE:
            self._candidate = item
            item.slow_down(SLOW_SECONDS)
            self.step = self._wins

    def _wins(self, item: SimStore, replica: Replica) -> None:
        if not replica.leads:
            return
        hosts = [self.host_of(replica, peer.id) for peer in replica.region.peers]
        voters = [host for host in hosts if host and host not in (item, self._old)]
        if item is not self._candidate or len(voters) != 1:
            self.end()
            return
        item.slow_down(0.0)
        self.crash(item)
        self.cut_off(voters[0])
        self.step = self.wait
        self.later(5.0, self.end)
