"""Regions in which nothing happens sleep: no timers, no heartbeats, no cost.

A leader that has been quiet offers sleep; each follower that has everything agrees; then all stop
their timers. Anything for the region wakes it. What must not stay asleep is woken by the detector
of live stores: regions led by a store that fell silent or started anew, spread over time.
"""

from collections import deque
from typing import Final

from flaredb.store.context import Context
from flaredb.store.liveness import Change, Liveness, Returned, Suspected
from flaredb.store.records import ReplicaState
from flaredb.store.replica import Replica
from flaredb_schemas.frames import Published, RaftItem, SleepAgreed, SleepOffer
from flaredb_schemas.ids import NO_PEER, RegionId, StoreId
from flaredb_schemas.raft import Heartbeat, HeartbeatAnswer

AGREEMENT_SECONDS: Final = 1.0
"""How long a leader waits for all to agree before it wakes again."""

RETRY_SECONDS: Final = 5.0
"""How long a leader that found no agreement stays awake before it offers again."""

WOKEN_PER_TICK: Final = 64
"""How many sleeping regions are woken in one tick when a store is lost."""


class Sleeping:
    """Who sleeps, and who must be woken.

    Invariants: a sleeping replica is in no wheel; a leader sleeps only while all peers are on live
    stores and agreed in its present term; drowsy leaders (offered, not agreed) are in `_drowsy`.
    """

    __slots__ = ("_context", "_drowsy", "_liveness", "_offers", "_to_wake")

    def __init__(self, context: Context, liveness: Liveness) -> None:
        self._context = context
        self._liveness = liveness
        self._drowsy: dict[RegionId, Replica] = {}
        self._offers: list[tuple[Replica, SleepOffer, StoreId]] = []
        self._to_wake: deque[tuple[RegionId, StoreId]] = deque()

    def settle(self, ticked: list[Replica]) -> None:
        """Everything of this turn has been advanced: who may sleep now?

        Asked only at the end of a turn, because what has just been ticked or stepped still owes a
        heartbeat or an answer, and is not quiet before that has left.
        """
        offers, self._offers = self._offers, []
        for replica, offer, from_store in offers:
            self._answer(replica, offer, from_store)
        for replica in ticked:
            if self._context.registry.current(replica):
                self._consider(replica)

    def _consider(self, replica: Replica) -> None:
        """A leader was due: offer sleep if nothing has happened for a while."""
        context = self._context
        rested = context.now - replica.last_activity >= context.settings.sleep_after_ms / 1000
        if not rested or not self._may_sleep(replica):
            return
        replica.asleep = True
        replica.drowsy_since = context.now
        replica.quiet_answers = set()
        self._drowsy[replica.id] = replica
        context.wheel.forget(replica.id)
        for peer in replica.region.peers:
            if peer.id != replica.peer:
                index = replica.machine.state.index
                offer = SleepOffer(replica.id, replica.peer, peer.id, replica.node.term, index)
                context.outgoing.add(peer.store, Published(replica.id, peer.id, index))
                context.outgoing.add(peer.store, offer)
        self._agree(replica)

    def offered(self, replica: Replica, offer: SleepOffer, from_store: StoreId) -> None:
        """The leader offers sleep; it is answered at the end of the turn."""
        self._offers.append((replica, offer, from_store))

    def _answer(self, replica: Replica, offer: SleepOffer, from_store: StoreId) -> None:
        node = replica.node
        state = replica.machine.state
        if (
            self._context.registry.current(replica)
            and replica.state is ReplicaState.LIVE
            and not replica.leads
            and node.leader == offer.from_peer
            and node.term == offer.term
            and node.last_index == offer.index == state.index
            and node.is_quiet()
            and not len(replica.outbox)
        ):
            self._fall_asleep(replica)
            answer = SleepAgreed(replica.id, replica.peer, offer.from_peer, offer.term, offer.index)
            self._context.outgoing.add(from_store, answer)

    def agreed(self, replica: Replica, answer: SleepAgreed) -> None:
        """A follower sleeps."""
        if (
            replica.drowsy_since is not None
            and answer.term == replica.node.term
            and answer.index == replica.machine.state.index
        ):
            replica.quiet_answers.add(answer.from_peer)
            self._agree(replica)

    def wake(self, replica: Replica) -> None:
        """Something happened in the region: its timers run again, from the start."""
        replica.last_activity = self._context.now
        if not replica.asleep:
            return
        replica.asleep = False
        replica.drowsy_since = None
        self._drowsy.pop(replica.id, None)
        replica.last_tick = self._context.wheel.now
        replica.node.restart_timers()
        self._context.wheel.schedule(replica.id, 1)

    def forget(self, replica: Replica) -> None:
        """The replica is here no longer."""
        self._drowsy.pop(replica.id, None)

    def heard(self, replica: Replica, item: RaftItem) -> None:
        """A Raft message has come: it wakes the region; only heartbeats are no activity."""
        message = item.message
        if isinstance(message, HeartbeatAnswer) and message.term == replica.node.term:
            return  # it answers a heartbeat that left just before the leader lay down
        if replica.asleep or not isinstance(message, Heartbeat):
            self.wake(replica)

    def tick(self) -> None:
        """Once per tick: wake who found no agreement, and some of those who lost their leader."""
        now = self._context.now
        for replica in list(self._drowsy.values()):
            assert replica.drowsy_since is not None
            if now - replica.drowsy_since > AGREEMENT_SECONDS:
                self.wake(replica)
                replica.last_activity = now + RETRY_SECONDS
        for _ in range(min(WOKEN_PER_TICK, len(self._to_wake))):
            region, store = self._to_wake.popleft()
            sleeper = self._context.registry.get(region)
            if sleeper is not None and self._is_led_by(sleeper, store):
                self.wake(sleeper)
                sleeper.node.forget_leader()
                self._context.touch(region)

    def store_changed(self, change: Change) -> None:
        """The detector says that a store fell silent, is back, or has started anew."""
        match change:
            case Suspected(store=store):
                self._wake_led_by(store)
            case Returned(store=store, restarted=restarted):
                if restarted:
                    self._wake_led_by(store)
                self._wake_lagging(store)

    def _wake_led_by(self, store: StoreId) -> None:
        for replica in self._context.registry:
            if replica.asleep and self._is_led_by(replica, store):
                self._to_wake.append((replica.id, store))

    def _wake_lagging(self, store: StoreId) -> None:
        """Leaders bring a returned store up to date where it may lack something."""
        for replica in self._context.registry:
            peer = replica.region.peer_on(store)
            lacking = replica.leads and not replica.node.is_quiet()
            if peer is not None and replica.asleep and lacking:
                self.wake(replica)
                self._context.touch(replica.id)

    def _is_led_by(self, replica: Replica, store: StoreId) -> bool:
        leader = replica.node.leader
        return leader not in (NO_PEER, replica.peer) and replica.store_of(leader) == store

    def _may_sleep(self, replica: Replica) -> bool:
        return (
            replica.leads
            and replica.state is ReplicaState.LIVE
            and replica.machine.state.merging is None
            and not replica.held
            and not replica.proposals
            and not len(replica.reads)
            and not len(replica.outbox)
            and not replica.snapshot_floor
            and replica.node.is_quiet()
            and not any(self._liveness.is_suspected(store) for store in replica.region.stores)
        )

    def _agree(self, replica: Replica) -> None:
        others = {peer.id for peer in replica.region.peers if peer.id != replica.peer}
        if others <= replica.quiet_answers:
            self._context.counters.sleeps += 1
            replica.drowsy_since = None
            self._drowsy.pop(replica.id, None)

    def _fall_asleep(self, replica: Replica) -> None:
        replica.asleep = True
        self._context.counters.sleeps += 1
        self._context.wheel.forget(replica.id)
