"""A peer leaves its region for good: its replica here goes, and whoever waits for that is told.

Four facts permit it: the replica's own log says so; a member says so whose committed record is of
a higher `conf_ver` and omits the peer; the region is named as a part of one of which that holds; PD
says so, asked by a replica that hears of nobody (`fates.py`). That a store does not answer, or does
not host a region, never does. A tombstone is saved before anybody hears of it, also where the peer
never was: so an old split cannot bring it into being.

The region's record names those who have left until their stores have confirmed that; its leader
asks them. Of a store that was removed from the cluster PD says that nobody will.
"""

import logging
from typing import Final

from msgspec import Struct

from flaredb.store.absorptions import settled
from flaredb.store.applying import propose_command
from flaredb.store.cleaning import Cleaning
from flaredb.store.context import Context
from flaredb.store.merge_orders import MergeOrders
from flaredb.store.records import ReplicaState, Tombstone
from flaredb.store.registry import RegionPeer
from flaredb.store.replica import Replica
from flaredb.store.serving import refuse_all
from flaredb.store.sleeping import Sleeping
from flaredb.store.tombstones import is_buried
from flaredb_schemas.commands import ForgetRemoved
from flaredb_schemas.frames import Buried, RaftItem, Removed
from flaredb_schemas.ids import NO_REGION, PeerId, RegionId, StoreId
from flaredb_schemas.keys import show_range
from flaredb_schemas.membership import ForgetPeers
from flaredb_schemas.regions import Region

log: Final = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS: Final = 1.0
LONGEST_PAUSE_SECONDS: Final = 30.0
"""A leader asks again whether a peer that has left is gone, ever less often."""


class Asking(Struct):
    """When to ask about a region next, and how long to wait after that."""

    due: float
    pause: float = FIRST_PAUSE_SECONDS


class Removing:
    """Ends replicas, and has those that left confirmed.

    Invariants: a confirmation leaves only when a tombstone of that peer is durable; `_asking` holds
    every region led from here that names removed peers, and perhaps some that do so no more.
    """

    __slots__ = ("_asking", "_cleaning", "_context", "_merge_orders", "_sleeping")

    def __init__(
        self,
        context: Context,
        sleeping: Sleeping,
        cleaning: Cleaning,
        merge_orders: MergeOrders,
    ) -> None:
        self._context = context
        self._sleeping = sleeping
        self._cleaning = cleaning
        self._merge_orders = merge_orders
        self._asking: dict[RegionId, Asking] = {}

    def note(self, replica: Replica) -> None:
        """The region's peers have changed, or who leads it."""
        if replica.leads and replica.region.removed:
            self._asking[replica.id] = Asking(self._context.now)

    def tick(self) -> None:
        """Once per tick: ask the stores of those who have left."""
        now = self._context.now
        for region, asking in list(self._asking.items()):
            replica = self._context.registry.get(region)
            if replica is None or not replica.leads or not replica.region.removed:
                del self._asking[region]
            elif now >= asking.due:
                asking.due = now + asking.pause
                asking.pause = min(2 * asking.pause, LONGEST_PAUSE_SECONDS)
                for peer in replica.region.removed:
                    self._tell(peer.store, replica, peer.id)

    def _tell(self, store: StoreId, replica: Replica, peer: PeerId) -> None:
        removed = Removed(replica.id, peer, replica.peer, replica.region)
        if store == self._context.me.store:
            self.told(store, removed)
        else:
            self._context.outgoing.add(store, removed)

    def is_past(self, from_store: StoreId, replica: Replica, item: RaftItem) -> bool:
        """Whether who speaks, and is no member, has left the region before; then it is told.

        What a record says that is not applied here yet proves nothing: who is not in it may have
        come since.
        """
        older = item.epoch.conf_ver < replica.region.epoch.conf_ver
        if not older or replica.state is not ReplicaState.LIVE:
            return False
        self._tell(from_store, replica, item.from_peer)
        return True

    def told(self, from_store: StoreId, item: Removed) -> None:
        """A member says that a peer of this store has left."""
        record, name = item.record, RegionPeer(item.region, item.peer)
        sender = record.peer(item.from_peer)
        if record.id != item.region or sender is None or sender.store != from_store:
            log.warning("store %s says who left region %s, as nobody", from_store, item.region)
            return
        if record.peer(item.peer) is not None:
            return
        replica = self._context.registry.get(item.region)
        if replica is not None and replica.peer <= item.peer:
            if not _omits(record, replica):
                return
            self._remove(replica, name)
            self.remove_parts(record)
        elif replica is None:
            if not self._bury_unseen(name, record):
                return
            self.remove_parts(record)
        # Else one that came later is here: it keeps what it has still to absorb.
        answer = Buried(item.region, item.peer, item.from_peer)
        self._context.saver.then(lambda: self._confirm(from_store, answer))

    def _confirm(self, to: StoreId, answer: Buried) -> None:
        if to != self._context.me.store:
            self._context.outgoing.add(to, answer)
            return
        leader = self._context.registry.get(answer.region)
        if leader is not None and leader.peer == answer.to_peer:
            self.confirmed(to, leader, answer)

    def confirmed(self, from_store: StoreId, replica: Replica, item: Buried) -> None:
        """A store says that nothing is left of a peer that has left."""
        named = any(
            one.id == item.peer and one.store == from_store for one in replica.region.removed
        )
        if named and replica.leads:
            self._forget(replica, (item.peer,))

    def forget(self, body: ForgetPeers) -> None:
        """PD says that the stores of these peers are no part of the cluster any more."""
        replica = self._context.registry.get(body.region)
        if replica is None or not replica.leads or replica.peer != body.leader:
            return
        gone = tuple(one.id for one in replica.region.removed if one.id in body.peers)
        if gone and replica.region.epoch == body.epoch:
            self._forget(replica, gone)

    def _forget(self, replica: Replica, peers: tuple[PeerId, ...]) -> None:
        under_way = any(
            isinstance(known.command, ForgetRemoved) for known in replica.proposals.values()
        )
        if not under_way:
            propose_command(replica, ForgetRemoved(self._context.clock.wall(), peers))
            self._sleeping.wake(replica)
            self._context.touch(replica.id)

    def left(self, replica: Replica) -> None:
        """The replica's own log says that its peer has left, or PD does, whom it has asked."""
        self._remove(replica, RegionPeer(replica.id, replica.peer))

    def _remove(self, replica: Replica, name: RegionPeer) -> None:
        self._end(replica, name, NO_REGION)

    def remove_parts(self, record: Region) -> None:
        """What was merged into the region is no more: nobody else could say so.

        But not what a replica that stays here has still to absorb.
        """
        for absorbed in settled(self._context.registry, record):
            part = self._context.registry.get(absorbed)
            if part is None:
                self._cleaning.bury_damaged(absorbed, record.id)
            else:
                self._end(part, RegionPeer(part.id, part.peer), record.id)

    def _end(self, replica: Replica, name: RegionPeer, absorbed_by: RegionId) -> None:
        """It is no more, and nobody here takes its rows over."""
        context = self._context
        arriving = context.registry.arriving.pop(replica.id, None)
        held = (replica.region.keys,) if arriving is None else (replica.region.keys, arriving)
        tombstone = Tombstone(absorbed_by, held)
        refuse_all(context, replica)
        replica.state = ReplicaState.GONE
        replica.applying.clear()
        context.saver.buried(replica, tombstone, name.peer)
        self._bury(name)
        context.registry.remove(replica.id)
        context.wheel.forget(replica.id)
        self._sleeping.forget(replica)
        self._merge_orders.left(replica.id)
        self._cleaning.begin(name, tombstone)
        context.counters.replicas_removed += 1
        ranges = ", ".join(map(show_range, tombstone.cleaning))
        log.info("peer %s of region %s has left: %s", replica.peer, replica.id, ranges)

    def _bury_unseen(self, name: RegionPeer, record: Region) -> bool:
        """The peer takes part in nothing here, and never will; false where another one is here."""
        context = self._context
        damaged = context.registry.damaged.get(name.region)
        tombstone = Tombstone(NO_REGION)
        # Which peer it is that is damaged may be unreadable: whoever was buried is another one.
        is_named = damaged is not None and damaged.peer
        if not is_named and is_buried(context, name.region, name.peer):
            return True
        if damaged is not None:
            mine = record.peer_on(context.me.store)
            if damaged.peer > name.peer or mine is not None:
                return False  # a member that is damaged must not come to life anew
            if damaged.region.peers:  # else not even its range can be read
                free = context.registry.unheld(damaged.region.keys)
                tombstone = Tombstone(NO_REGION, free)
            del context.registry.damaged[name.region]
            context.saver.erased(name.region)
        context.saver.tombstone(name, tombstone)
        self._bury(name)
        self._cleaning.begin(name, tombstone)
        return True

    def _bury(self, name: RegionPeer) -> None:
        """From now on, not only from when that is on disk."""
        registry = self._context.registry
        registry.bury(name)
        self._context.saver.then(lambda: registry.unbury(name))


def _omits(record: Region, replica: Replica) -> bool:
    """Whether a member's record proves that the replica here is a member no more."""
    newer = record.epoch.conf_ver > replica.region.epoch.conf_ver
    return newer and record.peer(replica.peer) is None
