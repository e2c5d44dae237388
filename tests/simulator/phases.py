"""Work and rest in turns: while clients rest regions fall asleep, and a store is killed then."""

from collections.abc import Sequence

from tests.simulator.stores import SimStore
from tests.simulator.troubles import Troubles
from tests.simulator.world import World


class Phases:
    """Sets `world.quiet` until the world is healed."""

    def __init__(self, world: World, stores: Sequence[SimStore], troubles: Troubles) -> None:
        self._world = world
        self._stores = stores
        self._troubles = troubles
        if world.options.workload.active:
            self._work()

    def _work(self) -> None:
        self._world.quiet = False
        self._world.clockwork.after(self._world.options.workload.active, self._rest)

    def _rest(self) -> None:
        world, seconds = self._world, self._world.options.workload.quiet
        if world.healed:
            return
        world.quiet = True
        world.note("quiet", f"{seconds:.1f} s")
        world.clockwork.after(seconds, self._work)
        world.clockwork.after(seconds * world.dice.uniform(0.5, 0.9), self._strike)

    def _strike(self) -> None:
        """Kill a store that leads a sleeping region, if there is one."""
        sleeping = [
            item
            for item in self._stores
            if item.store is not None
            and any(replica.leads and replica.asleep for replica in item.store.registry)
        ]
        if sleeping and self._world.dice.random() < 0.7:
            victim = self._world.dice.choice(sleeping)
            self._world.note("ambush", f"{victim.name} leads a sleeping region")
            self._troubles.strike(victim)
