"""Sleeping regions without a leader are roused a few at a time.

After a restart all regions want to be led, and after a store's end all that it led: thousands of
elections at once, and the heartbeats of as many leaders, would be more than the stores can carry,
and nobody would be elected in time. So each region waits for its turn. Whoever wants something of
one does not: what comes for it wakes it at once.
"""

from collections import deque
from typing import Final
from zlib import crc32

from msgspec import Struct

from flaredb.store.context import Context
from flaredb.store.liveness import Liveness
from flaredb.store.records import ReplicaState
from flaredb.store.replica import Replica
from flaredb_schemas.ids import NO_PEER, NO_STORE, RegionId, StoreId

ROUSED_PER_TICK: Final = 64
LOOKED_AT_PER_TICK: Final = 1_024

MOST_STANDING: Final = 128
"""How many roused regions may be awake at a time: their heartbeats cost more than the elections."""

ELECTIONS_WAITED: Final = 2
"""A region that is awake after so many election timeouts holds up no other any more."""


class Waiting(Struct, frozen=True):
    """A region that wants a leader: it is not known to have one, or `store` led it until now.

    Not `for_good` if that store has only fallen silent, and may go on leading when it is heard.
    """

    region: RegionId
    store: StoreId = NO_STORE
    for_good: bool = True


class Rousing:
    """Who waits to be roused, and who has been and does not sleep again yet.

    Invariants: a replica that sleeps and knows no leader, or one on a store that is lost, is in
    `_waiting`, or in `_later` where another peer is to stand first; of those in `_standing` each is
    there until it sleeps or its time is over.
    """

    __slots__ = ("_begins", "_context", "_later", "_liveness", "_standing", "_waiting")

    def __init__(self, context: Context, liveness: Liveness) -> None:
        self._context = context
        self._liveness = liveness
        self._waiting: deque[Waiting] = deque()
        self._later: deque[Waiting] = deque()
        self._standing: dict[RegionId, int] = {}
        self._begins = 0

    def found(self, replica: Replica) -> None:
        """A replica was found on disk: it sleeps, until its turn comes or somebody speaks of it.

        Who leads it sleeping says so as soon as this store is heard; that is waited for.
        """
        if replica.state is ReplicaState.LIVE:
            replica.asleep = True
            self._begins = self._context.settings.election_ticks
            self._waiting.append(Waiting(replica.id))

    def lost(self, replica: Replica, store: StoreId, for_good: bool) -> None:
        """The store that leads this sleeping replica's region is silent, or has started anew."""
        self._waiting.append(Waiting(replica.id, store, for_good))

    def returned(self, store: StoreId) -> None:
        """A store that was silent is heard: what it has led, it goes on leading."""
        for queue in (self._waiting, self._later):
            left = [one for one in queue if one.store != store or one.for_good]
            queue.clear()
            queue.extend(left)

    def is_led_by(self, replica: Replica, store: StoreId) -> bool:
        """Whether another peer leads, on `store`; on no store: whether nobody is known to lead."""
        leader = replica.node.leader
        if store == NO_STORE or leader == NO_PEER:
            return store == NO_STORE and leader == NO_PEER
        return leader != replica.peer and replica.store_of(leader) == store

    def tick(self) -> list[Replica]:
        """Once per tick: those whose turn it is. Where another is first, it goes first."""
        now = self._context.wheel.now
        if not (self._waiting or self._later) or now < self._begins:
            return []
        for region in [one for one, until in self._standing.items() if self._is_over(one, until)]:
            del self._standing[region]
        roused: list[Replica] = []
        for _ in range(LOOKED_AT_PER_TICK):
            queue = self._waiting or self._later
            full = len(roused) >= ROUSED_PER_TICK or len(self._standing) >= MOST_STANDING
            if not queue or full:
                break
            waiting = queue.popleft()
            replica = self._context.registry.get(waiting.region)
            if replica is None or not self._is_needed(replica, waiting.store):
                continue
            if queue is self._waiting and not self.is_first(replica):
                self._later.append(waiting)
                continue
            self._standing[replica.id] = (
                now + ELECTIONS_WAITED * self._context.settings.election_ticks
            )
            roused.append(replica)
        return roused

    def is_first(self, replica: Replica) -> bool:
        """Whether this peer stands for election at once; the others when nothing came of that.

        All stores choose alike as long as they believe the same stores alive.
        """
        voters = [
            peer
            for peer in sorted(replica.node.configuration.voters)
            if not self._liveness.is_suspected(replica.store_of(peer))
        ]
        return bool(voters) and voters[crc32(b"%d" % replica.id) % len(voters)] == replica.peer

    def _is_needed(self, replica: Replica, store: StoreId) -> bool:
        """Whether it is still as it was; who is awake and knows no leader stands by himself."""
        return self.is_led_by(replica, store) and (replica.asleep or store != NO_STORE)

    def _is_over(self, region: RegionId, until: int) -> bool:
        replica = self._context.registry.get(region)
        return replica is None or replica.asleep or self._context.wheel.now >= until
