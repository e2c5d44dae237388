"""One scheme at a time, of a kind and against a region that the dice choose."""

from flaredb.store.store import Store
from tests.simulator.schemes.figure8 import Figure8
from tests.simulator.schemes.forgotten_vote import ForgottenVote
from tests.simulator.schemes.half_installed import HalfInstalled
from tests.simulator.schemes.held_heir import HeldHeir
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


class Schemes:
    """The scheme that is under way, if any."""

    def __init__(self, world: World, cluster: Cluster) -> None:
        self._world = world
        self._cluster = cluster
        self._scheme: Scheme | None = None

    def begin(self) -> None:
        """Begin one, unless one is under way."""
        if self._scheme is not None and self._scheme.under_way:
            return
        running = [item.store for item in self._cluster.stores if item.store is not None]
        hosted = sorted({replica.id for store in running for replica in store.registry})
        if hosted:
            dice = self._world.dice
            kind, region = dice.choice(KINDS), dice.choice(hosted)
            self._scheme = kind(self._world, self._cluster, region)

    def watch(self, store: Store) -> None:
        """A turn of `store` has ended."""
        if self._scheme is not None:
            self._scheme.watch(store)
