"""Around a split or a merge clients hear nothing for a while, so that they ask again after it."""

import random
from collections.abc import Sequence

from tests.simulator.network import Link
from tests.simulator.stores import SimStore
from tests.simulator.world import World

CHANCE = 0.6
LONGEST_SECONDS = 2.0


class LostAnswers:
    """Cuts what stores say to clients; the rest goes on.

    Invariant: what was cut is undone after `LONGEST_SECONDS`, or when all is healed.
    """

    def __init__(self, world: World, stores: Sequence[SimStore]) -> None:
        self._world = world
        self._stores = stores
        # Dice of its own, so that the rest of each world is what it was without it.
        self._dice = random.Random(f"answers {world.options.seed}")

    def begin(self) -> None:
        """Perhaps lose answers from now on."""
        if self._dice.random() >= CHANCE:
            return
        numbers = range(1, self._world.options.workload.clients + 1)
        links: set[Link] = {
            (item.name, f"client{number}") for item in self._stores for number in numbers
        }
        links -= self._world.network.cut
        self._world.network.cut |= links
        self._world.clockwork.after(self._dice.random() * LONGEST_SECONDS, lambda: self._end(links))

    def _end(self, links: set[Link]) -> None:
        self._world.network.cut -= links
