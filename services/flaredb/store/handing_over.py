"""Leaderships are handed over: as PD wants, and where this store is to stop or saves too slowly.

Whoever hands over is awake: in its sleep it would wait for ever for one who has not heard it.
"""

from flaredb.store.context import Context
from flaredb.store.lagging import could_lead_soon
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

    def ordered(self, body: TransferLeader) -> None:
        """PD wants `body.to` to lead a region."""
        replica = self._context.registry.get(body.region)
        if (
            replica is not None
            and replica.leads
            and replica.peer == body.leader
            and replica.region.epoch == body.epoch
        ):
            if could_lead_soon(replica, body.to):
                self._hand_over(replica, body.to)
            else:  # PD asks again: it may be later, if this one is awake to send what is missing
                self._sleeping.wake(replica)

    def ask_all(self) -> int:
        """Ask a peer of every led region to take over; returns how many regions are still led."""
        led = [replica for replica in self._context.registry if replica.leads]
        for replica in led:
            self._choose(replica)
        return len(led)

    def tick(self) -> None:
        """Once per tick: a leader whose saves lag by more than an election timeout hands over."""
        context = self._context
        if context.saver.age(context.now) > context.election_seconds:
            for replica in context.registry:
                if replica.leads:
                    self._choose(replica)

    def _choose(self, replica: Replica) -> None:
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
        self._context.touch(replica.id)
        replica.node.transfer_leader(to)
