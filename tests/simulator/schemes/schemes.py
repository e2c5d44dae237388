"""One scheme at a time, of a kind and against a region that the dice choose."""

import random

from flaredb.store.store import Store
from tests.simulator.schemes.figure8 import Figure8
from tests.simulator.schemes.forgotten_vote import ForgottenVote
from tests.simulator.schemes.half_installed import HalfInstalled
from tests.simulator.schemes.held_heir import HeldHeir
from tests.simulator.schemes.late_split import LateSplit
from tests.simulator.schemes.outlived import Outlived
from tests.simulator.schemes.outranked import Outranked
from tests.simulator.schemes.scheme import Cluster, Scheme
from tests.simulator.schemes.two_masters import TwoMasters
from tests.simulator.world import World

KINDS: tuple[type[Scheme], ...] = (
    Figure8,
    ForgottenVote,
    HalfInstalled,
    HalfInstalled,
    HeldHeir,
    Outlived,
    Outranked,
    TwoMasters,
)
"""What is drawn from. One that seldom comes to its end amid other troubles stands here twice."""

WITH_A_SPARE_STORE: tuple[type[Scheme], ...] = (LateSplit,)
"""What needs a store that has no replica of the region; others than these are drawn as before."""

FEWEST_STORES = 3
CHANCE = 0.4


class Schemes:
    """The scheme that is under way, if any."""

    def __init__(self, world: World, cluster: Cluster) -> None:
        self._world = world
        self._cluster = cluster
        self._scheme: Scheme | None = None
        # Dice of their own, so that the rest of each world is what it was without them.
        self._spare_dice = random.Random(f"spare stores {world.options.seed}")

    def begin(self) -> None:
        """Begin one, unless one is under way."""
        if self._scheme is not None and self._scheme.under_way:
            return
        running = [item.store for item in self._cluster.stores if item.store is not None]
        hosted = sorted({replica.id for store in running for replica in store.registry})
        if hosted:
            dice = self._world.dice
            kind, region = dice.choice(KINDS), dice.choice(hosted)
            has_spare = len(self._cluster.stores) > FEWEST_STORES
            if has_spare and self._spare_dice.random() < CHANCE:
                kind = self._spare_dice.choice(WITH_A_SPARE_STORE)
            self._scheme = kind(self._world, self._cluster, region)

    def watch(self, store: Store) -> None:
        """A turn of `store` has ended."""
        if self._scheme is not None:
            self._scheme.watch(store)
