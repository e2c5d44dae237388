"""Somebody has neighbours merged, as an operator does, however busy they are."""

from collections.abc import Sequence

import msgspec

from flaredb_schemas.ids import RegionId
from flaredb_schemas.pd_answers import MergeQuery
from tests.simulator.stores import SimStore
from tests.simulator.world import World

NAME = "joiner"


class Joiner:
    """Wishes for merges. PD finds a neighbour, and has both led from one store."""

    def __init__(self, world: World, stores: Sequence[SimStore]) -> None:
        self._world = world
        self._stores = stores
        world.network.listen(NAME, lambda *answer: None, (f"_INBOX.{NAME}",))

    def join(self) -> None:
        """Have some region become a part of its neighbour."""
        hosted = self._hosted()
        if len(hosted) < 2:
            return
        region = self._world.dice.choice(hosted)
        self._world.note("merge", f"region {region}")
        subject = self._world.subjects.pd_admin("merge")
        asked = msgspec.json.encode(MergeQuery(region))
        self._world.network.send(NAME, subject, asked, f"_INBOX.{NAME}")

    def _hosted(self) -> list[RegionId]:
        running = [item.store for item in self._stores if item.store is not None]
        return sorted({replica.id for store in running for replica in store.registry})
