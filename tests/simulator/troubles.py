"""What goes wrong, and when: every kind of trouble by itself, at intervals drawn by the seed."""

from collections.abc import Callable
from functools import partial

from tests.simulator.placement import SimPd
from tests.simulator.stores import SimStore, World


class Troubles:
    """Breaks things until told to stop; then heals everything.

    Invariant: after `heal` every process runs, every link carries, and nothing is broken again.
    """

    def __init__(self, world: World, stores: list[SimStore], pds: list[SimPd]) -> None:
        self._world = world
        self._stores = stores
        self._pds = pds
        self._healed = False
        troubles = world.options.troubles
        for mean, trouble in (
            (troubles.crash, self._crash),
            (troubles.crash_all, self._crash_all),
            (troubles.pause, self._pause),
            (troubles.partition, self._partition),
            (troubles.one_way, self._one_way),
            (troubles.bus_down, self._bus_down),
            (troubles.pd_crash, self._pd_crash),
            (troubles.transfer, self._transfer),
        ):
            if mean:
                self._repeat(mean, trouble)

    def heal(self) -> None:
        """From now on nothing goes wrong."""
        world = self._world
        self._healed = world.healed = world.network.healed = True
        world.streams.loss = 0.0
        world.network.cut.clear()
        for store in self._stores:
            if not store.running:
                store.start()
            elif store.name in world.network.away:
                store.set_connected(True)
        for pd in self._pds:
            if pd.core is None:
                pd.start()
        world.trace.note(world.clockwork.now, "heal", "everything")

    def _repeat(self, mean: float, trouble: Callable[[], None]) -> None:
        def happen() -> None:
            if not self._healed:
                trouble()
                self._repeat(mean, trouble)

        self._world.clockwork.after(self._world.dice.expovariate(1 / mean), happen)

    def _later(self, what: Callable[[], None]) -> None:
        """Undo a trouble after a while, unless everything has been healed meanwhile."""
        seconds = self._world.dice.expovariate(1 / self._world.options.troubles.down_for)
        self._world.clockwork.after(seconds, lambda: None if self._healed else what())

    def _crash(self) -> None:
        store = self._world.dice.choice(self._stores)
        if store.running:
            store.crash()
            self._later(partial(_start_again, store))

    def _crash_all(self) -> None:
        for store in self._stores:
            if store.running:
                store.crash()
        for store in self._stores:
            self._later(partial(_start_again, store))

    def _pause(self) -> None:
        store = self._world.dice.choice(self._stores)
        if store.running:
            store.pause(self._world.dice.expovariate(0.5))

    def _partition(self) -> None:
        dice, names = self._world.dice, [store.name for store in self._stores]
        side = set(dice.sample(names, dice.randint(1, len(names) - 1)))
        if dice.random() < 0.5:
            side |= {pd.name for pd in self._pds}
        others = set(names) - side
        links = {(a, b) for a in side for b in others} | {(b, a) for a in side for b in others}
        self._cut(links, f"{sorted(side)} from {sorted(others)}")

    def _one_way(self) -> None:
        dice, names = self._world.dice, [store.name for store in self._stores]
        sender, receiver = dice.sample(names, 2)
        self._cut({(sender, receiver)}, f"{sender} to {receiver}")

    def _cut(self, links: set[tuple[str, str]], text: str) -> None:
        network = self._world.network
        network.cut |= links
        self._world.trace.note(self._world.clockwork.now, "cut", text)
        self._later(lambda: network.cut.difference_update(links))

    def _bus_down(self) -> None:
        """All lose the bus at once, as when its server restarts."""
        lost = [store for store in self._stores if store.running]
        for store in lost:
            store.set_connected(False)
        self._world.trace.note(self._world.clockwork.now, "bus_down", "")
        self._later(partial(_connect_again, lost))

    def _pd_crash(self) -> None:
        pd = self._world.dice.choice(self._pds)
        if pd.core is not None:
            pd.crash()
            self._later(lambda: pd.start() if pd.core is None else None)

    def _transfer(self) -> None:
        """A leader is asked to hand over, by a store that stops or an operator."""
        running = [item for item in self._stores if item.store is not None]
        if running:
            chosen = self._world.dice.choice(running)
            assert chosen.store is not None
            chosen.store.hand_over()
            chosen.ask_turn()


def _start_again(store: SimStore) -> None:
    if not store.running:
        store.start()


def _connect_again(stores: list[SimStore]) -> None:
    for store in stores:
        if store.running:
            store.set_connected(True)
