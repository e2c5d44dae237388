"""Leaderships are handed over when this store is to stop, cannot save in time, or PD wants it.

Who sleeps is woken for it: only timers that run give up a transfer of which a message is lost.
"""

from flaredb.store.context import Context
from flaredb.store.liveness import Liveness
from flaredb.store.replica import Replica
from flaredb.store.sleeping import Sleeping
from flaredb_schemas.ids import PeerId
from flaredb_schemas.placement import TransferLeader


class HandingOver:
    """Asks other peers to lead."""

    __slots__ = ("_context", "_liveness", "_sleeping")

    def __init__(self, context: Context, liveness: Liveness, sleeping: Sleeping) -> None:
        self._context = context
        self._liveness = liveness
        self._sleeping = sleeping

    def ask_all(self) -> int:
        """Ask a peer of every led region to take over; returns how many regions are still led."""
        led = [replica for replica in self._context.registry if replica.leads]
        for replica in led:
            self._transfer(replica)
        return len(led)

    def ordered(self, order: TransferLeader) -> None:
        """PD names who is to lead; nothing if it knows another state of the region."""
        replica = self._context.registry.get(order.region)
        if (
            replica is not None
            and replica.leads
            and replica.peer == order.leader
            and replica.region.epoch == order.epoch
        ):
            self._hand_over(replica, order.to)

    def tick(self) -> None:
        """Once per tick: a leader whose saves lag by more than an election timeout hands over."""
        context = self._context
        if context.saver.age(context.now) > context.election_seconds:
            for replica in context.registry:
                if replica.leads:
                    self._transfer(replica)

    def _transfer(self, replica: Replica) -> None:
        """Hand over to the peer that has most of the log, on a store that lives."""
        if replica.node.transfer_target:
            return
        candidates = [
            (item.match, peer)
            for peer, item in replica.node.status().progress.items()
            if peer != replica.peer
            and not item.is_learner
            and not self._liveness.is_suspected(replica.store_of(peer))
        ]
        if candidates:
            self._hand_over(replica, max(candidates)[1])

    def _hand_over(self, replica: Replica, to: PeerId) -> None:
        self._sleeping.wake(replica)
        replica.node.transfer_leader(to)
        self._context.touch(replica.id)
