"""Frames from other stores: each item goes to the replica it is meant for, or is refused.

What is meant for a region that is not hosted here is refused, logged and counted (FR-002). No
refusal is answered by a refusal, and no refusal is leave to destroy anything.
"""

import logging
from typing import Final

from flaredb.store.context import Context
from flaredb.store.guarding import Guard
from flaredb.store.history import History
from flaredb.store.liveness import Liveness
from flaredb.store.outgoing import FRAMES
from flaredb.store.records import ReplicaState
from flaredb.store.replica import Replica
from flaredb.store.sleeping import Sleeping
from flaredb_schemas.envelope import Malformed
from flaredb_schemas.frames import Item, NotHosted, Published, RaftItem, SleepAgreed, SleepOffer
from flaredb_schemas.ids import StoreId
from flaredb_schemas.raft import (
    PreVoteAnswer,
    PreVoteRequest,
    SnapshotOffer,
    VoteAnswer,
    VoteRequest,
)

log: Final = logging.getLogger(__name__)

VOTING: Final = (PreVoteRequest, PreVoteAnswer, VoteRequest, VoteAnswer)
"""What a replica takes part in while a snapshot is replacing its rows. It still hears leaders, so
that it knows the term, by heartbeats alone."""


class Incoming:
    """Hands items to replicas.

    Invariants: an item reaches a replica only if it names this replica's own peer, and only from
    the store that holds the sending peer, in the newest start of it that has been heard; a damaged
    replica gets nothing.
    """

    __slots__ = ("_context", "_guard", "_history", "_liveness", "_sleeping")

    def __init__(
        self,
        context: Context,
        liveness: Liveness,
        sleeping: Sleeping,
        history: History,
        guard: Guard,
    ) -> None:
        self._context = context
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
        change = self._liveness.heard(from_store, frame.boot, self._context.now)
        if change is not None:
            self._sleeping.store_changed(change)
        for item in frame.items:
            self._item(from_store, item)

    def _item(self, from_store: StoreId, item: Item) -> None:
        replica = self._context.registry.get(item.region)
        if replica is None:
            if item.region not in self._context.registry.damaged:
                self._not_hosted(from_store, item)
            return
        if isinstance(item, NotHosted):
            # Silence would have said as much; what is lost is found out by PD.
            log.info("store %s does not host region %s", from_store, item.region)
            return
        if item.to_peer != replica.peer:
            log.info("item for peer %s, here is %s", item.to_peer, replica.peer)
            return
        match item:
            case RaftItem():
                self._raft(from_store, replica, item)
            case SleepOffer():
                self._sleeping.offered(replica, item, from_store)
            case SleepAgreed():
                self._sleeping.agreed(replica, item)
            case Published():
                self._history.told(replica, item.index)

    def _raft(self, from_store: StoreId, replica: Replica, item: RaftItem) -> None:
        held_by = replica.store_of(item.from_peer)
        if held_by not in (0, from_store):
            self._context.counters.frames_refused += 1
            log.warning("store %s speaks for peer %s of %s", from_store, item.from_peer, held_by)
            return
        if not self._may_step(replica, item):
            return
        self._sleeping.heard(replica, item)
        self._guard(replica, self._step, item)

    def _step(self, replica: Replica, item: RaftItem) -> None:
        replica.catch_up(self._context.wheel.now)
        replica.node.step(item.from_peer, item.message)
        self._context.touch(replica.id)

    def _may_step(self, replica: Replica, item: RaftItem) -> bool:
        if isinstance(item.message, SnapshotOffer):
            return False  # snapshots come by their own plane, and are stepped when installed
        if replica.state is ReplicaState.INSTALLING:
            return isinstance(item.message, VOTING)
        return True

    def _not_hosted(self, from_store: StoreId, item: Item) -> None:
        if not isinstance(item, RaftItem):
            return
        self._context.counters.frames_refused += 1
        log.info("region %s is not hosted here; store %s asked", item.region, from_store)
        self._context.outgoing.add(from_store, NotHosted(item.region, item.to_peer, item.from_peer))
