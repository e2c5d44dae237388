"""Frames from other stores: each item goes to the replica it is meant for, or is refused.

What is meant for a region that is not hosted here is refused, logged and counted (FR-002), but for
what a split that is not applied here yet explains, and for votes without which a region could stay
without a leader for ever. No refusal is answered by a refusal, and none is leave to destroy.
"""

import logging
from typing import Final

from flaredb.store.absences import Absences
from flaredb.store.births import Births
from flaredb.store.context import Context
from flaredb.store.fates import Fates
from flaredb.store.guarding import Guard
from flaredb.store.history import History
from flaredb.store.liveness import Liveness
from flaredb.store.outgoing import FRAMES
from flaredb.store.parking import Parking
from flaredb.store.records import ReplicaState
from flaredb.store.removing import Removing
from flaredb.store.replica import Replica
from flaredb.store.sleeping import Sleeping
from flaredb.store.tombstones import lies_here
from flaredb_schemas.envelope import Malformed
from flaredb_schemas.frames import (
    Blocked,
    Buried,
    Item,
    NotHosted,
    Published,
    RaftItem,
    Removed,
    SleepAgreed,
    SleepOffer,
)
from flaredb_schemas.ids import RegionId, StoreId
from flaredb_schemas.raft import (
    Heartbeat,
    PreVoteAnswer,
    PreVoteRequest,
    SnapshotOffer,
    VoteAnswer,
    VoteRequest,
)
from flaredb_schemas.regions import NEVER_CHANGED, Region

log: Final = logging.getLogger(__name__)

VOTING: Final = (PreVoteRequest, PreVoteAnswer, VoteRequest, VoteAnswer)
"""What a replica takes part in that has no state, or whose state a snapshot is replacing."""


class Incoming:
    """Hands items to replicas.

    Invariants: an item reaches a replica only if it names this replica's own peer, and only from
    the store that holds the sending peer, in the newest start of it that has been heard; a damaged
    replica gets nothing; one that is empty votes, and takes part in nothing else.
    """

    __slots__ = (
        "_absences",
        "_births",
        "_context",
        "_fates",
        "_guard",
        "_history",
        "_liveness",
        "_parking",
        "_removing",
        "_sleeping",
    )

    def __init__(
        self,
        context: Context,
        liveness: Liveness,
        sleeping: Sleeping,
        history: History,
        guard: Guard,
        births: Births,
        parking: Parking,
        removing: Removing,
        fates: Fates,
        absences: Absences,
    ) -> None:
        self._context = context
        self._births = births
        self._parking = parking
        self._removing = removing
        self._fates = fates
        self._absences = absences
        self._liveness = liveness
        self._sleeping = sleeping
        self._history = history
        self._guard = guard

    def handle(self, from_store: StoreId, payload: bytes) -> None:
        """One frame of another store."""
        frame = FRAMES.decode(payload)
        if isinstance(frame, Malformed):
            self._context.counters.frames_malformed += 1
            log.warning("frame of store %s is malformed: %s", from_store, frame.reason)
            return
        if self._liveness.is_past(from_store, frame.boot):
            # Late, or a process that lives on beside a copy of its disk: one id, one voice.
            self._context.counters.frames_refused += 1
            log.info("frame of start %s of store %s is of the past", frame.boot, from_store)
            return
        change = self._liveness.heard(from_store, frame.boot, self._context.now, frame.is_full)
        if change is not None:
            self._sleeping.store_changed(change)
        for item in frame.items:
            self._item(from_store, item)

    def _item(self, from_store: StoreId, item: Item) -> None:
        if isinstance(item, Removed):
            self._removing.told(from_store, item)
            return
        replica = self._context.registry.get(item.region)
        if isinstance(item, RaftItem) and self._absences.is_lost_here(item, replica):
            self._absences.say_lost(from_store, item)
            return
        if replica is None:
            if item.region not in self._context.registry.damaged:
                self._not_hosted(from_store, item)
            return
        if isinstance(item, NotHosted | Blocked):
            self._absences.heard(from_store, replica, item)
            return
        if item.to_peer != replica.peer:
            log.info("item for peer %s, here is %s", item.to_peer, replica.peer)
            return
        match item:
            case RaftItem():
                self._raft(from_store, replica, item)
            case SleepOffer() if replica.state is not ReplicaState.EMPTY:
                self._sleeping.offered(replica, item, from_store)
            case SleepAgreed():
                self._sleeping.agreed(replica, item)
            case Published():
                self._history.told(replica, item.index)
            case Buried():
                self._removing.confirmed(from_store, replica, item)

    def _raft(self, from_store: StoreId, replica: Replica, item: RaftItem) -> None:
        known = replica.region.peer(item.from_peer)
        if known is None:
            if self._removing.is_past(from_store, replica, item):
                return
            replica.meet(item.from_peer, from_store)
        elif known.store != from_store:
            self._context.counters.frames_refused += 1
            log.warning("store %s speaks for peer %s of %s", from_store, known.id, known.store)
            return
        if not self._may_step(replica, item):
            if replica.state is ReplicaState.EMPTY:
                self._refuse(from_store, item, is_welcome=item.record is not None)
            return
        if replica.missed:
            replica.missed.pop(item.from_peer, None)
        self._sleeping.heard(replica, item)
        self._guard(replica, self._step, item)

    def _step(self, replica: Replica, item: RaftItem) -> None:
        replica.catch_up(self._context.wheel.now)
        replica.node.step(item.from_peer, item.message)
        self._context.touch(replica.id)

    def _may_step(self, replica: Replica, item: RaftItem) -> bool:
        if isinstance(item.message, SnapshotOffer):
            return False  # snapshots come by their own plane, and are stepped when installed
        if replica.state in (ReplicaState.INSTALLING, ReplicaState.EMPTY):
            # With an empty log nothing follows from a heartbeat but that its leader is heard. Such
            # a leader may have nobody else, and would give up before its snapshot is there.
            heard = isinstance(item.message, Heartbeat) and replica.node.last_index == 0
            return heard or isinstance(item.message, VOTING)
        return True

    def deliver(self, region: RegionId) -> None:
        """The region is here now: what came too early for it goes on."""
        for parked in self._parking.take(region):
            self._item(parked.from_store, parked.item)

    def _not_hosted(self, from_store: StoreId, item: Item) -> None:
        if not isinstance(item, RaftItem):
            return
        record = item.record
        if record is None or record.id != item.region or _misleads(record, item, from_store):
            self._refuse(from_store, item, is_welcome=False)
            return
        if lies_here(self._context, item.region, item.to_peer):
            self._absences.say_lost(from_store, item)
            return
        overlapped = self._context.registry.overlapping(record.keys)
        if overlapped is not None:
            self._fates.blocks(overlapped)
            if self._is_inside(record):
                self._parking.park(from_store, item)
            else:
                self._parking.block(from_store, item)
            return
        if not self._is_welcome(record, item):
            self._refuse(from_store, item, is_welcome=False)
        elif isinstance(item.message, PreVoteRequest):
            self._promise(from_store, item, item.message)
        elif isinstance(item.message, VoteRequest):
            self._births.empty(record, ReplicaState.EMPTY)
            self._item(from_store, item)
        else:
            self._refuse(from_store, item, is_welcome=True)

    def _is_welcome(self, record: Region, item: RaftItem) -> bool:
        """Whether the peer that is addressed could be born here, empty or by a snapshot."""
        mine = record.peer_on(self._context.me.store)
        addressed = mine is not None and mine.id == item.to_peer
        # What has never changed is created as PD orders, by all its stores alike.
        return addressed and record.epoch != NEVER_CHANGED and not self._births.obstacle(record)

    def _is_inside(self, record: Region) -> bool:
        """Whether one replica here holds all of the range, and so may be what it is split from."""
        around = self._context.registry.find(record.keys.start)
        return around is not None and around.region.keys.covers(record.keys)

    def _promise(self, to: StoreId, item: RaftItem, message: PreVoteRequest) -> None:
        """Whoever has nothing would vote for anybody; nothing is created or saved for that."""
        answer = PreVoteAnswer(message.term, True)
        promise = RaftItem(item.region, item.to_peer, item.from_peer, item.epoch, answer)
        self._context.outgoing.add(to, promise)

    def _refuse(self, to: StoreId, item: RaftItem, is_welcome: bool) -> None:
        self._context.counters.frames_refused += 1
        log.info("region %s is not hosted here; store %s asked", item.region, to)
        refusal = NotHosted(item.region, item.to_peer, item.from_peer, is_welcome)
        self._context.outgoing.add(to, refusal)


def _misleads(record: Region, item: RaftItem, from_store: StoreId) -> bool:
    """Whether the sender is not who the region's record says."""
    sender = record.peer(item.from_peer)
    return sender is None or sender.store != from_store or record.keys.is_empty
