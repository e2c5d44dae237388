"""Regions in which nothing happens sleep: no timers, no heartbeats, no cost.

A leader that has been quiet offers sleep; each follower that has everything agrees; then all stop
their timers. A store that is lost keeps nobody awake: it is brought what it lacks when it is heard
again. Anything for the region wakes it. What must not stay asleep is woken by the detector of live
stores: regions led by a store that fell silent or started anew, a few at a time. A region that was
woken only to be given a leader sleeps again as soon as it may. A store that has started anew is
told by the leaders that sleep that they do, so that nobody needs to wake for it.
"""

from collections import deque
from typing import Final

from flaredb.store.context import Context
from flaredb.store.guarding import Guard
from flaredb.store.liveness import Change, Liveness, Returned, Suspected
from flaredb.store.records import ReplicaState
from flaredb.store.replica import Replica
from flaredb.store.rousing import Rousing
from flaredb_schemas.frames import Published, RaftItem, SleepAgreed, SleepOffer
from flaredb_schemas.ids import NO_PEER, PeerId, RegionId, StoreId
from flaredb_schemas.raft import Heartbeat, HeartbeatAnswer
from flaredb_schemas.regions import PeerRole

AGREEMENT_SECONDS: Final = 1.0
"""How long a leader waits for all to agree before it wakes again."""

RETRY_SECONDS: Final = 5.0
"""How long a leader that found no agreement stays awake before it offers again."""

GREETED_PER_TICK: Final = 128
"""Of how many sleeping regions a store that is heard again is told in one tick."""


class Sleeping:
    """Who sleeps, and who must be woken.

    Invariants: a sleeping replica is in no wheel; a leader sleeps only if all peers on live stores,
    more than half of all, have agreed in its present term; drowsy leaders (offered, not agreed) are
    in `_drowsy`; who sleeps and is led by nobody that lives waits in `_rousing`.
    """

    __slots__ = ("_context", "_drowsy", "_guard", "_liveness", "_offers", "_rousing", "_to_greet")

    def __init__(self, context: Context, liveness: Liveness, guard: Guard) -> None:
        self._context = context
        self._guard = guard
        self._liveness = liveness
        self._drowsy: dict[RegionId, Replica] = {}
        self._offers: list[tuple[Replica, SleepOffer, StoreId]] = []
        self._rousing = Rousing(context, liveness)
        self._to_greet: deque[tuple[RegionId, StoreId]] = deque()

    def found(self, replica: Replica) -> None:
        """A replica was found on disk when the store started."""
        self._rousing.found(replica)

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
        idle = context.now - replica.last_activity
        rested = replica.roused or idle >= context.settings.sleep_after_ms / 1000
        if not rested or not self._may_sleep(replica):
            return
        replica.asleep = True
        replica.drowsy_since = context.now
        replica.quiet_answers = set()
        self._drowsy[replica.id] = replica
        context.wheel.forget(replica.id)
        for peer in replica.region.peers:
            if peer.id != replica.peer:
                self._offer(replica, peer.id, peer.store)
        self._agree(replica)

    def _offer(self, replica: Replica, peer: PeerId, store: StoreId) -> None:
        index, outgoing = replica.machine.state.index, self._context.outgoing
        offer = SleepOffer(replica.id, replica.peer, peer, replica.node.term, index)
        outgoing.add(store, Published(replica.id, peer, index))
        outgoing.add(store, offer)

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
        replica.roused = False
        self._wake(replica)

    def stir(self, replica: Replica) -> None:
        """The store itself has something to do in the region, which may sleep again after that."""
        replica.roused |= replica.asleep
        self._wake(replica)

    def _wake(self, replica: Replica) -> None:
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
        if self._is_lost(replica):
            replica.node.forget_leader()
        if replica.asleep or not isinstance(message, Heartbeat):
            self._wake(replica)

    def missed(self, replica: Replica) -> None:
        """Somebody wants something of a region that is not led from here: it does not wait.

        Whoever leads it in its sleep may do so no more, although its store lives: it is asked for a
        heartbeat, by a follower whose timer runs.
        """
        if self._is_lost(replica):
            self.bereft(replica)
            self._guard(replica, _stand, None)
        elif replica.asleep and replica.state is ReplicaState.LIVE:
            self.wake(replica)

    def bereft(self, replica: Replica) -> None:
        """Nobody leads the region any more: it is to have another leader."""
        self.wake(replica)
        replica.node.forget_leader()
        self._context.touch(replica.id)

    def _is_lost(self, replica: Replica) -> bool:
        """Whether it sleeps, and nobody that lives is known to lead."""
        if not replica.asleep or replica.leads or replica.state is not ReplicaState.LIVE:
            return False
        leader = replica.node.leader
        return leader == NO_PEER or self._liveness.is_suspected(replica.store_of(leader))

    def tick(self) -> None:
        """Once per tick: wake who found no agreement, and some of those who lost their leader."""
        now = self._context.now
        for replica in list(self._drowsy.values()):
            assert replica.drowsy_since is not None
            if now - replica.drowsy_since > AGREEMENT_SECONDS:
                self.wake(replica)
                replica.last_activity = now + RETRY_SECONDS
        for roused in self._rousing.tick():
            self._rouse(roused)
        for _ in range(min(GREETED_PER_TICK, len(self._to_greet))):
            region, store = self._to_greet.popleft()
            sleeper = self._context.registry.get(region)
            if sleeper is not None:
                self._greet(sleeper, store)

    def _rouse(self, replica: Replica) -> None:
        """It is to have a leader, and may sleep as soon as it has one."""
        self.stir(replica)
        replica.node.forget_leader()
        if self._rousing.is_first(replica):
            self._guard(replica, _stand, None)
        self._context.touch(replica.id)

    def _greet(self, replica: Replica, store: StoreId) -> None:
        """A store that has started anew hears from a leader that sleeps that it does.

        Where it lacks something, the leader wakes until it has that.
        """
        peer = replica.region.peer_on(store)
        sleeps = replica.leads and replica.asleep and replica.drowsy_since is None
        if peer is None or not sleeps:
            return
        if not replica.node.is_quiet():
            self.stir(replica)
            self._context.touch(replica.id)
            return
        beat = replica.node.heartbeat(peer.id)
        item = RaftItem(replica.id, replica.peer, peer.id, replica.region.epoch, beat)
        self._context.outgoing.add(store, item)
        self._offer(replica, peer.id, store)

    def store_changed(self, change: Change) -> None:
        """The detector says that a store fell silent, is back, or has started anew."""
        match change:
            case Suspected(store=store):
                self._wake_led_by(store, for_good=False)
            case Returned(store=store, restarted=restarted):
                self._rousing.returned(store)
                if restarted:
                    self._wake_led_by(store, for_good=True)
                self._to_greet.extend((one.id, store) for one in self._to_be_told(store, restarted))

    def _wake_led_by(self, store: StoreId, for_good: bool) -> None:
        for replica in self._context.registry:
            if replica.asleep and self._rousing.is_led_by(replica, store):
                self._rousing.lost(replica, store, for_good)

    def _to_be_told(self, store: StoreId, restarted: bool) -> list[Replica]:
        """The leaders that sleep, of which a store that is heard again may lack something."""
        return [
            one
            for one in self._context.registry
            if one.asleep
            and one.leads
            and one.region.peer_on(store) is not None
            and (restarted or not one.node.is_quiet())
        ]

    def _may_sleep(self, replica: Replica) -> bool:
        return (
            replica.leads
            and replica.state is ReplicaState.LIVE
            and replica.machine.state.merging is None
            and not replica.node.has_pending_change
            and not replica.held
            and not replica.proposals
            and not len(replica.reads)
            and not len(replica.outbox)
            and not replica.snapshot_floor
            and self._is_quiet(replica)
        )

    def _is_quiet(self, replica: Replica) -> bool:
        """Whether the peers on live stores have everything, and are more than half of all."""
        silent = self._silent(replica)
        voters = {peer.id for peer in replica.region.peers if peer.role is not PeerRole.LEARNER}
        return 2 * len(silent & voters) < len(voters) and replica.node.is_quiet(silent)

    def _silent(self, replica: Replica) -> set[PeerId]:
        suspected = self._liveness.is_suspected
        return {peer.id for peer in replica.region.peers if suspected(peer.store)}

    def _agree(self, replica: Replica) -> None:
        others = {peer.id for peer in replica.region.peers if peer.id != replica.peer}
        if others - self._silent(replica) <= replica.quiet_answers:
            self._context.counters.sleeps += 1
            replica.drowsy_since = None
            self._drowsy.pop(replica.id, None)

    def _fall_asleep(self, replica: Replica) -> None:
        replica.asleep = True
        self._context.counters.sleeps += 1
        self._context.wheel.forget(replica.id)


def _stand(replica: Replica, _: None) -> None:
    """Stand for election. Raises `CorruptRecordError` where the end of the log is damaged."""
    replica.node.campaign()
