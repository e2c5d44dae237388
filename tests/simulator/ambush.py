"""Troubles that wait for their moment: amid a snapshot, at an election, at a leader's birth."""

from collections.abc import Callable, Sequence
from functools import partial

from flaredb.store.records import ReplicaState
from flaredb.store.replica import Replica
from flaredb.store.store import Store
from flaredb_schemas.ids import RegionId
from tests.simulator.network import Link, both_ways
from tests.simulator.stores import SimStore
from tests.simulator.world import World

SWING_SECONDS = 10.0

Strike = Callable[[SimStore], None]


class Ambush:
    """Kills a store amid a snapshot, a split or a merge, or while it stands for election."""

    def __init__(self, world: World, stores: Sequence[SimStore], strike: Strike) -> None:
        self._world = world
        self._stores = stores
        self._strike = strike
        self._struck = 0.0
        self._splits: dict[Store, int] = {}

    def watch(self, store: Store) -> None:
        """A turn of `store` has ended."""
        world, mean = self._world, self._world.options.troubles.ambush
        now, dice = world.clockwork.now, world.dice
        if not mean or now - self._struck < mean:
            return
        installs = any(one.state is ReplicaState.INSTALLING for one in store.registry)
        sends = any(one.snapshot_floor for one in store.registry)
        stands = any(_stands(one) or one.machine.state.merging for one in store.registry)
        changes = store.counters.splits + store.counters.merges
        splits = changes > self._splits.get(store, 0)
        self._splits[store] = changes
        chance = 0.5 if installs or splits else 0.3 if stands else 0.1 if sends else 0.0
        if dice.random() < chance:
            self._struck = now
            victim = next(item for item in self._stores if item.store is store)
            patience = world.options.disk.save if installs or stands or splits else 0.2
            world.clockwork.after(dice.random() * patience, partial(self._strike, victim))


class Swing:
    """For a while each new leader of one region is cut off at once, and the one before is let in.

    So majorities take turns, and logs part ways (Raft paper, figure 8). Now and then the new leader
    is killed as well, and starts again at once.
    """

    def __init__(self, world: World, stores: Sequence[SimStore]) -> None:
        self._world = world
        self._stores = stores
        self._ends = 0.0
        self._region = RegionId(0)
        self._term = 0
        self._half_told = 0
        """The term whose leader is spared until a follower has what older leaders left, only."""
        self._links: set[Link] = set()

    def begin(self) -> None:
        """Choose a region."""
        running = [item.store for item in self._stores if item.store is not None]
        hosted = sorted({replica.id for store in running for replica in store.registry})
        if not hosted or self._world.clockwork.now < self._ends:
            return
        self._region, self._term = self._world.dice.choice(hosted), 0
        self._ends = self._world.clockwork.now + SWING_SECONDS
        self._world.note("swing", f"region {self._region}")
        self._world.clockwork.after(SWING_SECONDS, self._let_in)

    def watch(self, store: Store) -> None:
        """A turn of `store` has ended."""
        world = self._world
        if world.clockwork.now >= self._ends:
            return
        replica = store.registry.get(self._region)
        if replica is None or not replica.leads:
            return
        if self._half_told == replica.node.term and _has_told_half(replica):
            self._half_told = 0
            self._turn_on(next(item for item in self._stores if item.store is store))
            return
        if replica.node.term <= self._term:
            return
        self._term = replica.node.term
        if world.dice.random() < 0.5:
            self._half_told = self._term
            return
        quality = world.options.network
        patience = 3 * (quality.delay + quality.spread) + world.options.disk.save
        victim = next(item for item in self._stores if item.store is store)
        world.clockwork.after(world.dice.random() * patience, partial(self._turn_on, victim))

    def _turn_on(self, victim: SimStore) -> None:
        world, network = self._world, self._world.network
        self._let_in()
        if world.healed:
            return
        name = victim.name
        others = {item.name for item in self._stores} - {name}
        self._links = both_ways({name}, others)
        network.cut |= self._links
        world.note("cut", f"{name}, which leads with term {self._term}")
        if victim.running and world.dice.random() < 0.4:
            victim.crash()
            self._let_in()
            world.clockwork.after(world.dice.random() * 0.3, partial(_start_again, victim))

    def _let_in(self) -> None:
        self._world.network.cut -= self._links
        self._links = set()


def _has_told_half(leader: Replica) -> bool:
    """Whether a follower has entries of older terms from it, and none yet of its own term."""
    status = leader.node.status()
    log = leader.log
    for peer, progress in status.progress.items():
        if peer != leader.peer and log.start < progress.match < status.last:
            term = log.term(progress.match) if progress.match <= log.last else status.term
            if term != status.term:
                return True
    return False


def _stands(replica: Replica) -> bool:
    """Whether it stands for election, or has just won one, and something of it is not saved."""
    node = replica.node
    own = node.vote == replica.peer and replica.machine.state.term < node.term
    return own and replica.unsaved > 0


def _start_again(store: SimStore) -> None:
    if not store.running:
        store.start()
