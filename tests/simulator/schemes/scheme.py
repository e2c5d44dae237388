"""What all schemes share: one region, one step at a time, and an end that undoes what was cut."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

from msgspec import Struct

from flaredb.store.replica import Replica
from flaredb.store.store import Store
from flaredb_schemas.ids import PeerId, RegionId
from tests.simulator.clients import Client
from tests.simulator.network import Link, both_ways
from tests.simulator.placement import SimPd
from tests.simulator.stores import SimStore
from tests.simulator.world import World

LONGEST_SECONDS = 15.0
FIRST_SECONDS = 5.0
"""By then the moment of the first step has come, or another scheme is tried."""

Step = Callable[[SimStore, Replica], None]
"""Told of a store that has ended a turn, and of its replica of the region."""


class Cluster(Struct, frozen=True):
    """The processes, and what a scheme may have them do, as an operator may."""

    stores: Sequence[SimStore]
    pds: Sequence[SimPd]
    clients: Sequence[Client]
    transfer: Callable[[Replica, PeerId], None]
    """Has PD order that a replica hand its leadership over to a peer."""
    check: Callable[[RegionId], object]
    """Has all replicas of a region compared."""


class Scheme(ABC):
    """One attempt at one region.

    Invariant: what it has cut or slowed down is undone when it ends, after `LONGEST_SECONDS` at the
    latest.
    """

    def __init__(self, world: World, cluster: Cluster, region: RegionId) -> None:
        self.world = world
        self.cluster = cluster
        self.stores = cluster.stores
        self.region = region
        self.under_way = True
        self.step: Step = self.first
        self._links: set[Link] = set()
        world.note("scheme", f"{type(self).__name__} of region {region}")
        world.clockwork.after(FIRST_SECONDS, self._not_begun)
        world.clockwork.after(LONGEST_SECONDS, self.end)

    @abstractmethod
    def first(self, item: SimStore, replica: Replica) -> None:
        """The first step: wait for its moment, and take it."""

    def watch(self, store: Store) -> None:
        """A turn of `store` has ended."""
        replica = store.registry.get(self.region)
        item = next((item for item in self.stores if item.store is store), None)
        if self.under_way and replica is not None and item is not None:
            self.step(item, replica)

    def end(self) -> None:
        """It has come to its end, or its moment has passed."""
        self.let_in()
        self.under_way = False

    def _not_begun(self) -> None:
        if self.step == self.first:
            self.end()

    def wait(self, item: SimStore, replica: Replica) -> None:  # noqa: B027  (it is a step)
        """The step of a scheme that waits for time to pass."""

    def later(self, seconds: float, what: Callable[[], None]) -> None:
        """Do something after a while, unless the scheme has ended or all is healed by then."""
        self.world.clockwork.after(
            seconds, lambda: what() if self.under_way and not self.world.healed else None
        )

    def cut_off(self, item: SimStore) -> None:
        """No other store hears `item` or is heard by it; whoever was cut off before is let in."""
        self.let_in()
        others = {other.name for other in self.stores} - {item.name}
        self._links = both_ways({item.name}, others)
        self.world.network.cut |= self._links
        self.world.note("cut", f"{item.name}, as {type(self).__name__} wants it")

    def let_in(self) -> None:
        """Whoever is cut off is heard again."""
        self.world.network.cut -= self._links
        self._links = set()

    def crash(self, item: SimStore) -> None:
        """Kill a store that starts again at once, or nearly."""
        if item.running:
            item.crash()
            self.world.clockwork.after(self.world.dice.random() * 0.3, lambda: start_again(item))

    def crash_pd(self, pd: SimPd) -> None:
        """Kill a PD that starts again at once, or nearly."""
        pd.crash()
        self.world.clockwork.after(
            self.world.dice.random() * 0.3, lambda: pd.start() if pd.core is None else None
        )

    def host_of(self, replica: Replica, peer: PeerId) -> SimStore | None:
        """The store that holds `peer`, if it runs."""
        wanted = replica.store_of(peer)
        for item in self.stores:
            if item.store is not None and item.store.me.store == wanted:
                return item
        return None

    def replica_on(self, item: SimStore) -> Replica | None:
        """The region's replica on that store, if it runs."""
        return item.store.registry.get(self.region) if item.store is not None else None


def start_again(store: SimStore) -> None:
    """Start a store that does not run."""
    if not store.running:
        store.start()
