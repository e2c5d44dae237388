"""Somebody has neighbours merged, as an operator does, however busy they are.

Now and then somebody else has one of them cut at the same time.
"""

from collections.abc import Sequence
from functools import partial

import msgspec

from flaredb_schemas.ids import RegionId
from flaredb_schemas.pd_answers import MergeQuery, SplitQuery
from tests.simulator.lost_answers import LostAnswers
from tests.simulator.stores import SimStore
from tests.simulator.world import World

NAME = "joiner"


class Joiner:
    """Wishes for merges. PD finds a neighbour, and has both led from one store."""

    def __init__(self, world: World, stores: Sequence[SimStore]) -> None:
        self._world = world
        self._stores = stores
        self._answers = LostAnswers(world, stores)
        world.network.listen(NAME, lambda *answer: None, (f"_INBOX.{NAME}",))

    def join(self) -> None:
        """Have some region become a part of its neighbour."""
        hosted = self._hosted()
        if len(hosted) < 2:
            return
        dice = self._world.dice
        region = dice.choice(hosted)
        self._world.note("merge", f"region {region}")
        self._answers.begin()
        self._ask("merge", MergeQuery(region))
        if dice.random() < 0.3:
            for other in hosted:
                self._world.clockwork.after(
                    dice.random() * 0.6, partial(self._ask, "split", SplitQuery(other))
                )

    def _ask(self, what: str, query: MergeQuery | SplitQuery) -> None:
        if not self._world.healed:
            subject = self._world.subjects.pd_admin(what)
            asked = msgspec.json.encode(query)
            self._world.network.send(NAME, subject, asked, f"_INBOX.{NAME}")

    def _hosted(self) -> list[RegionId]:
        running = [item.store for item in self._stores if item.store is not None]
        return sorted({replica.id for store in running for replica in store.registry})
