"""What stores say of peers that are not there, and which of these are lost for good.

A store that never had a peer is brought a snapshot. One whose peer is damaged says so, and so does
one that has buried it. One that has acknowledged entries in this term and does not know the peer
any more is asked once more, and then believed: nothing follows from it but that PD is told, and has
the peer replaced. Where it led, the others need another leader.
"""

import logging
from collections.abc import Callable
from typing import Final

from flaredb.store.context import Context
from flaredb.store.guarding import Guard
from flaredb.store.records import ReplicaState
from flaredb.store.replica import Replica
from flaredb.store.sleeping import Sleeping
from flaredb_schemas.frames import Blocked, NotHosted, RaftItem
from flaredb_schemas.ids import NO_PEER, PeerId, StoreId

log: Final = logging.getLogger(__name__)

DOUBT_SECONDS: Final = 1.0
"""How long after its first refusal a peer that was there must be refused again to be lost."""


class Absences:
    """Hears of peers that are not where they should be, and says so of those here.

    Invariant: a peer is called lost only by a leader whose record has it as a member.
    """

    __slots__ = ("_context", "_guard", "_on_change", "_sleeping")

    def __init__(
        self,
        context: Context,
        guard: Guard,
        sleeping: Sleeping,
        on_change: Callable[[Replica], None],
    ) -> None:
        """`on_change` is told of regions of which another peer is lost now."""
        self._context = context
        self._guard = guard
        self._sleeping = sleeping
        self._on_change = on_change

    def is_lost_here(self, item: RaftItem, replica: Replica | None) -> bool:
        """Whether the peer that is addressed is here, and damaged."""
        if replica is not None:
            return replica.state is ReplicaState.DAMAGED and replica.peer == item.to_peer
        damaged = self._context.registry.damaged.get(item.region)
        return damaged is not None and damaged.peer in (NO_PEER, item.to_peer)

    def say_lost(self, to: StoreId, item: RaftItem) -> None:
        """Tell whoever speaks to the damaged peer."""
        lost = NotHosted(item.region, item.to_peer, item.from_peer, is_lost=True)
        self._context.outgoing.add(to, lost)

    def heard(self, from_store: StoreId, replica: Replica, item: NotHosted | Blocked) -> None:
        """A store says that it has no such peer, or cannot have it yet."""
        log.info("store %s does not host region %s: %s", from_store, item.region, item)
        if (
            isinstance(item, NotHosted)
            and item.to_peer == replica.peer
            and replica.region.peer(item.peer) is not None
            and replica.store_of(item.peer) == from_store
        ):
            if not replica.leads:
                if item.is_lost and replica.node.leader == item.peer:
                    self._sleeping.bereft(replica)
                return
            if self._is_lost(replica, item):
                self._lose(replica, item.peer)
                return
            self._sleeping.wake(replica)
            self._guard(replica, _report_absent, item)
            self._context.touch(replica.id)

    def _is_lost(self, replica: Replica, item: NotHosted) -> bool:
        """Whether the peer will take part in nothing again.

        Of a region that is being merged nobody says so: elsewhere it may be absorbed already, and
        then its peers are gone as they should be.
        """
        if replica.machine.state.merging is not None:
            return False
        return item.is_lost or self._is_missed(replica, item.peer)

    def _is_missed(self, replica: Replica, peer: PeerId) -> bool:
        """Whether the peer was there in this term, and has not been for a while."""
        if replica.node.status().progress[peer].match == 0:
            return False
        first = replica.missed.setdefault(peer, self._context.now)
        return self._context.now - first >= DOUBT_SECONDS

    def _lose(self, replica: Replica, peer: PeerId) -> None:
        if peer not in replica.lost:
            replica.lost.add(peer)
            log.error("peer %s of region %s is lost", peer, replica.id)
            self._on_change(replica)


def _report_absent(replica: Replica, item: NotHosted) -> None:
    replica.node.report_absent(item.peer, item.is_welcome)
