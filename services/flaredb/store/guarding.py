"""What happens when a record of a replica turns out to be damaged: only that replica stops.

It never votes, acknowledges or campaigns again; the store says so, once, and goes on with the
others. Where it led, those who followed it are told.
"""

import logging
from collections.abc import Callable
from typing import Final, TypeVar

from flaredb.disk.disk import JobFailed, JobResult
from flaredb.raft.roles import Role
from flaredb.store.context import Context
from flaredb.store.history import History
from flaredb.store.records import CorruptRecordError, ReplicaState
from flaredb.store.replica import Replica
from flaredb_schemas.events import ReplicaLost
from flaredb_schemas.frames import NotHosted
from flaredb_schemas.ids import PeerId, RegionId

log: Final = logging.getLogger(__name__)

T = TypeVar("T")


def raise_damage(result: JobResult) -> None:
    """Raise `CorruptRecordError` if a job found what it read of a replica damaged."""
    if isinstance(result, JobFailed) and result.damaged:
        raise CorruptRecordError(result.reason)


class Guard:
    """Does work on a replica, and takes it out of service when its records are damaged."""

    __slots__ = ("_context", "_history")

    def __init__(self, context: Context, history: History) -> None:
        self._context = context
        self._history = history

    def __call__(self, replica: Replica, work: Callable[[Replica, T], None], argument: T) -> None:
        """Do `work(replica, argument)`, unless the replica is out of service or gone."""
        if replica.state in (ReplicaState.DAMAGED, ReplicaState.GONE):
            return
        try:
            work(replica, argument)
        except CorruptRecordError as fault:
            self._damaged(replica, str(fault))

    def _damaged(self, replica: Replica, reason: str) -> None:
        context = self._context
        if not context.registry.current(replica):
            return
        replica.state = ReplicaState.DAMAGED
        context.wheel.forget(replica.id)
        context.saver.damaged(replica)
        self.report(replica.id, replica.peer, reason)
        if replica.node.role is Role.LEADER:
            self._resign(replica)

    def _resign(self, replica: Replica) -> None:
        """Tell the others that they have no leader: where they sleep, they do not wait for it."""
        for peer in replica.region.peers:
            if peer.id != replica.peer:
                lost = NotHosted(replica.id, replica.peer, peer.id, is_lost=True)
                self._context.outgoing.add(peer.store, lost)

    def report(self, region: RegionId, peer: PeerId, reason: str) -> None:
        """Say that a replica here is lost. It is said again at each start: events may get lost."""
        context = self._context
        log.error("region %s is damaged here: %s", region, reason)
        self._history.add_own(
            ReplicaLost(
                id=self._history.next_own_id(),
                at=context.clock.wall(),
                region=region,
                peer=peer,
                store=context.me.store,
                reason=reason,
            )
        )
