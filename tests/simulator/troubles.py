"""What goes wrong, and when: every kind of trouble by itself, at intervals drawn by the seed."""

from collections.abc import Callable, Sequence
from functools import partial

from flaredb.store.replica import Replica
from flaredb.store.store import Store
from flaredb_schemas.ids import PeerId, RegionId
from tests.simulator.ambush import Ambush, Swing
from tests.simulator.clients import Client
from tests.simulator.cutting import Cutter
from tests.simulator.joining import Joiner
from tests.simulator.losing import Losses
from tests.simulator.moving import Mover
from tests.simulator.network import Link, both_ways
from tests.simulator.placement import SimPd
from tests.simulator.schemes.scheme import Cluster
from tests.simulator.schemes.schemes import Schemes
from tests.simulator.stores import SimStore
from tests.simulator.world import World

FEWEST = 3
"""No world is spared: what did not happen by chance is made to happen."""

KINDS = (
    "crash",
    "stop",
    "pause",
    "cut",
    "clog",
    "bus_down",
    "streams_down",
    "slow_disk",
    "pd_crash",
    "pd_pause",
    "disk_loss",
    "store_loss",
    "journal_loss",
    "events_loss",
)
"""What counts as a trouble, by its kind in the trace."""


class Troubles:
    """Breaks things until told to stop; then heals everything.

    Invariant: after `heal` every process runs but those left dead or lost, every link carries, and
    nothing is broken again.
    """

    def __init__(
        self,
        world: World,
        stores: Sequence[SimStore],
        pds: Sequence[SimPd],
        clients: Sequence[Client],
        check: Callable[[RegionId], object],
    ) -> None:
        """`check` has all replicas of a region compared."""
        self._world = world
        self._stores = stores
        self._pds = pds
        self._healed = False
        self._crashes = 0
        self._ambush = Ambush(world, stores, self.strike)
        self._swing = Swing(world, stores)
        self._schemes = Schemes(world, Cluster(stores, pds, clients, self._order_transfer, check))
        options = world.options
        troubles = options.troubles
        for mean, trouble in (
            (troubles.crash, self._crash),
            (troubles.crash_all, self._crash_all),
            (troubles.stop, self._stop),
            (troubles.pause, self._pause),
            (troubles.partition, self._partition),
            (troubles.one_way, self._one_way),
            (troubles.clog, self._clog),
            (troubles.bus_down, self._bus_down),
            (troubles.streams_down, self._streams_down),
            (troubles.slow_disk, self._slow_disk),
            (troubles.pd_crash, self._pd_crash),
            (troubles.pd_pause, self._pd_pause),
            (troubles.transfer, self._transfer),
            (troubles.swing, self._swing.begin),
            (troubles.scheme, self._schemes.begin),
            (troubles.split, Cutter(world, stores, pds).cut),
            (troubles.merge, Joiner(world, stores).join),
            (troubles.move, Mover(world, stores).move),
        ):
            if mean:
                self._repeat(mean, trouble)
        Losses(world, stores, pds, self._later, self._crash_all).begin()
        if troubles.latecomer:
            self._isolate()
        for place in range(FEWEST):
            moment = options.seconds * (place + 1) / (FEWEST + 1)
            world.clockwork.after(moment, partial(self._at_least, place + 1))

    def heal(self, dead: Sequence[SimStore] = ()) -> None:
        """From now on nothing goes wrong; only `dead` stay dead for now."""
        world = self._world
        self._healed = world.healed = True
        world.streams.loss, world.streams.away = 0.0, False
        world.network.heal()
        for store in self._stores:
            if store in dead:
                if store.running:
                    store.crash()
            elif not store.running:
                store.start()
            elif store.name in world.network.away:
                store.set_connected(True)
        for pd in self._pds:
            if pd.core is None:
                pd.start()
        world.note("heal", f"all but {[store.name for store in dead]}")

    def watch(self, store: Store) -> None:
        """A turn of `store` has ended: some troubles wait for their moment."""
        if not self._healed:
            self._ambush.watch(store)
            self._swing.watch(store)
            self._schemes.watch(store)

    # When.

    def _repeat(self, mean: float, trouble: Callable[[], None]) -> None:
        def happen() -> None:
            if not self._healed:
                if not self._world.quiet:
                    trouble()
                self._repeat(mean, trouble)

        self._world.clockwork.after(self._world.dice.expovariate(1 / mean), happen)

    def _later(self, what: Callable[[], None]) -> None:
        """Undo a trouble after a while, unless everything has been healed meanwhile."""
        self._after(self._world.dice.expovariate(1 / self._world.options.troubles.down_for), what)

    def _after(self, seconds: float, what: Callable[[], None]) -> None:
        self._world.clockwork.after(seconds, lambda: None if self._healed else what())

    def _at_least(self, count: int) -> None:
        happened = sum(self._world.trace.totals[kind] for kind in KINDS)
        if happened < count and not self._healed:
            self._crash()

    # Processes.

    def _crash(self) -> None:
        self.strike(self._world.dice.choice(self._stores))

    def strike(self, store: SimStore) -> None:
        """Kill `store`; after a while, now and then a long one, it starts again."""
        if self._healed or not store.running:
            return
        store.crash()
        self._crashes += 1
        again = partial(_start_again, store)
        if self._crashes % 3 == 0:
            mean = self._world.options.troubles.long_down
            self._after(mean * self._world.dice.uniform(0.5, 1.5), again)
        else:
            self._later(again)

    def _crash_all(self) -> None:
        for store in self._stores:
            if store.running:
                store.crash()
        for store in self._stores:
            self._later(partial(_start_again, store))

    def _stop(self) -> None:
        store = self._world.dice.choice(self._stores)
        if store.store is None:
            return

        def stopped() -> None:
            if self._healed:
                store.start()
            else:
                self._later(partial(_start_again, store))

        store.stop(stopped)

    def _pause(self) -> None:
        """A process stands still; now and then it goes on where other stores do not reach it."""
        dice = self._world.dice
        store, seconds = dice.choice(self._stores), dice.expovariate(0.5)
        if store.running:
            store.pause(seconds)
            if dice.random() < 0.5:
                self._cut_off({store.name}, seconds + 1.5)

    def _slow_disk(self) -> None:
        store = self._world.dice.choice(self._stores)
        if store.running:
            store.slow_down(self._world.dice.expovariate(0.2))

    # Links.

    def _partition(self) -> None:
        dice, names = self._world.dice, [store.name for store in self._stores]
        self._cut_off(set(dice.sample(names, dice.randint(1, len(names) - 1))))

    def _isolate(self) -> None:
        """One store misses the beginning."""
        name = self._world.dice.choice(self._stores).name
        self._cut_off({name}, self._world.dice.uniform(5, 25))

    def _cut_off(self, side: set[str], seconds: float = 0.0) -> None:
        others = {store.name for store in self._stores} - side
        if self._world.dice.random() < 0.5:
            side = side | {pd.name for pd in self._pds}
        self._cut(both_ways(side, others), f"{sorted(side)} from {sorted(others)}", seconds)

    def _one_way(self) -> None:
        link = self._some_link()
        self._cut({link}, f"{link[0]} to {link[1]}")

    def _cut(self, links: set[Link], text: str, seconds: float = 0.0) -> None:
        network = self._world.network
        network.cut |= links
        self._world.note("cut", text)
        mend = partial(network.cut.difference_update, links)
        if seconds:
            self._after(seconds, mend)
        else:
            self._later(mend)

    def _clog(self) -> None:
        """A link, or all links to or from one store, hold back what is sent."""
        network, dice = self._world.network, self._world.dice
        sender, receiver = self._some_link()
        names = [store.name for store in self._stores]
        links = dice.choice(
            (
                {(sender, receiver)},
                {(name, receiver) for name in names if name != receiver},
                {(sender, name) for name in names if name != sender},
            )
        )
        network.clog(links)
        self._world.note("clog", f"{sorted(links)}")
        self._after(dice.expovariate(1.0), partial(network.unclog, links))

    def _some_link(self) -> Link:
        sender, receiver = self._world.dice.sample([store.name for store in self._stores], 2)
        return sender, receiver

    def _bus_down(self) -> None:
        """All lose the bus at once, as when its server restarts."""
        lost = [store for store in self._stores if store.running]
        for store in lost:
            store.set_connected(False)
        self._world.note("bus_down", "")
        self._later(partial(_connect_again, lost))

    def _streams_down(self) -> None:
        """No event is taken for a while."""
        streams = self._world.streams
        streams.away = True
        self._world.note("streams_down", "")
        self._after(self._world.dice.uniform(2, 12), lambda: setattr(streams, "away", False))

    # PD.

    def _pd_crash(self) -> None:
        pd = self._world.dice.choice(self._pds)
        if pd.core is not None:
            pd.crash()
            self._later(lambda: pd.start() if pd.core is None else None)

    def _pd_pause(self) -> None:
        pd = self._world.dice.choice(self._pds)
        if pd.core is not None:
            pd.pause(self._world.dice.expovariate(0.2))

    def _transfer(self) -> None:
        """A leader is asked to hand over: by PD, or by a store that is about to stop."""
        dice = self._world.dice
        running = [item for item in self._stores if item.store is not None]
        if not running:
            return
        chosen = dice.choice(running)
        assert chosen.store is not None
        if dice.random() < 0.3:
            chosen.store.hand_over()
            chosen.ask_turn()
            return
        led = [replica for replica in chosen.store.registry if replica.leads]
        if led:
            replica = dice.choice(led)
            others = [peer.id for peer in replica.region.peers if peer.id != replica.peer]
            self._order_transfer(replica, dice.choice(others))

    def _order_transfer(self, leader: Replica, to: PeerId) -> None:
        """Whichever PD may give orders has `leader` hand over."""
        for pd in self._pds:
            pd.transfer(leader, to)


def region_ids(stores: Sequence[SimStore]) -> list[RegionId]:
    """The regions that are hosted anywhere now."""
    running = [item.store for item in stores if item.store is not None]
    return sorted({replica.id for store in running for replica in store.registry})


def _start_again(store: SimStore) -> None:
    if not store.running:
        store.start()


def _connect_again(stores: Sequence[SimStore]) -> None:
    for store in stores:
        if store.running:
            store.set_connected(True)
