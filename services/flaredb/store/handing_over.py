"""Leaderships are handed over: as PD wants, and where this store is to stop or saves too slowly.

Whoever hands over is awake: in its sleep it would wait for ever for one who has not heard it.
"""

from collections import Counter

from flaredb.store.context import Context
from flaredb.store.lagging import could_lead_soon
from flaredb.store.liveness import Liveness
from flaredb.store.replica import Replica
from flaredb.store.sleeping import Sleeping
from flaredb_schemas.ids import NO_PEER, PeerId, RegionId
from flaredb_schemas.placement import TransferLeader


class HandingOver:
    """Asks other peers to lead.

    Invariant: once it is for good, no replica here stands for election after the next tick, and
    whatever is led all the same is handed over again.
    """

    __slots__ = ("_asked", "_context", "_for_good", "_liveness", "_sleeping")

    def __init__(self, context: Context, liveness: Liveness, sleeping: Sleeping) -> None:
        self._context = context
        self._liveness = liveness
        self._sleeping = sleeping
        self._for_good = False
        self._asked: dict[RegionId, Counter[PeerId]] = {}
        """Who was asked how often, and has not led so far: the next time another one is."""

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

    def ask_all(self, for_good: bool) -> int:
        """Ask a peer of every led region to take over; returns how many regions are still led.

        Whoever stops does so `for_good`: it leads no more, whoever wants it to.
        """
        self._for_good |= for_good
        if self._for_good:
            for replica in self._context.registry:
                replica.node.allow_campaigns(False)
        led = [replica for replica in self._context.registry if replica.leads]
        for replica in led:
            self._choose(replica)
        return len(led)

    def tick(self) -> None:
        """Once per tick: a leader whose saves lag by more than an election timeout hands over."""
        context = self._context
        if self._for_good:  # who was born meanwhile, was elected after all, or found no heir
            self.ask_all(for_good=True)
        elif context.saver.age(context.now) > context.election_seconds:
            for replica in context.registry:
                if replica.leads:
                    self._choose(replica)
        else:
            self._asked.clear()

    @property
    def heirs_awaited(self) -> int:
        """How many regions are led here that a peer on a store that lives may lead soon; O(n).

        None of whom every such peer was asked in vain: where all stores stop, nobody wants to lead.
        """
        return sum(self._has_hope(replica) for replica in self._context.registry if replica.leads)

    def _has_hope(self, replica: Replica) -> bool:
        asked = self._asked.get(replica.id, Counter())
        in_vain = all(asked[peer] for peer in self._heirs(replica))
        return not in_vain or replica.node.transfer_target != NO_PEER

    def _choose(self, replica: Replica) -> None:
        """Hand over to the peer that was asked least; of these to one that has most of the log."""
        if replica.node.transfer_target:
            return
        heirs, asked = self._heirs(replica), self._asked.setdefault(replica.id, Counter())
        if heirs:
            heir = max(heirs, key=lambda peer: (-asked[peer], heirs[peer], peer))
            asked[heir] += 1
            self._hand_over(replica, heir)

    def _heirs(self, replica: Replica) -> dict[PeerId, int]:
        """Who could lead in its place, and how much of the log each has."""
        return {
            peer: item.match
            for peer, item in replica.node.status().progress.items()
            if peer != replica.peer
            and not item.is_learner
            and not self._liveness.is_suspected(replica.store_of(peer))
        }

    def _hand_over(self, replica: Replica, to: PeerId) -> None:
        self._sleeping.wake(replica)
        self._context.touch(replica.id)
        replica.node.transfer_leader(to)
