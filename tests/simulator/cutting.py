"""Somebody has regions cut, as an operator does, and sometimes in ways that nobody should.

A wish goes to PD. Now and then the entry of a leader that lost a race stands in the log as well:
for the same epoch, with other ids or with the very same.
"""

from collections.abc import Sequence

import msgspec

from flaredb.store.applying import propose_command
from flaredb.store.replica import Replica
from flaredb_schemas.commands import NewRegion, Size, Split
from flaredb_schemas.ids import PeerId, RegionId
from flaredb_schemas.pd_answers import SplitQuery
from tests.simulator.calls import all_keys
from tests.simulator.lost_answers import LostAnswers
from tests.simulator.stores import SimStore
from tests.simulator.world import World

MOST_REGIONS = 10
NAME = "admin"
FIRST_RIVAL_ID = 1_000_000_000


class Cutter:
    """Wishes for splits."""

    def __init__(self, world: World, stores: Sequence[SimStore]) -> None:
        self._world = world
        self._stores = stores
        self._rivals = FIRST_RIVAL_ID
        self._answers = LostAnswers(world, stores)
        self._keys = all_keys(world.options.workload.keys)
        world.network.listen(NAME, lambda *answer: None, (f"_INBOX.{NAME}",))

    def cut(self) -> None:
        """Have some region cut, at a key or in the middle."""
        dice = self._world.dice
        leaders = self._leaders()
        if not leaders or len({one.id for item in self._stores for one in _hosted(item)}) >= (
            MOST_REGIONS
        ):
            return
        replica = dice.choice(leaders)
        key = self._key(replica)
        if key is not None and dice.random() < 0.5:
            self._race(replica, key)
        asked = msgspec.json.encode(SplitQuery(replica.id, key))
        subject = self._world.subjects.pd_admin("split")
        self._world.note("split", f"region {replica.id} at {key!r}")
        self._answers.begin()
        self._world.network.send(NAME, subject, asked, f"_INBOX.{NAME}")

    def _key(self, replica: Replica) -> bytes | None:
        dice, keys = self._world.dice, replica.region.keys
        inside = [key for key in self._keys if keys.contains(key) and key != keys.start]
        return dice.choice(inside) if inside and dice.random() < 0.7 else None

    def _race(self, replica: Replica, key: bytes) -> None:
        """What two leaders that knew nothing of each other may leave in one log."""
        self._propose(replica, key, self._next_id(replica))
        first = self._rivals if self._world.dice.random() < 0.5 else self._next_id(replica)
        self._propose(replica, self._key(replica) or key, first)

    def _next_id(self, replica: Replica) -> int:
        self._rivals += 1 + len(replica.region.peers)
        return self._rivals

    def _propose(self, replica: Replica, key: bytes, first: int) -> None:
        region, nothing = replica.region, Size(0, 0)
        peers = tuple(PeerId(first + 1 + number) for number in range(len(region.peers)))
        command = Split(
            1,
            region.epoch.conf_ver,
            region.epoch.version,
            (NewRegion(RegionId(first), key, peers),),
            "race",
            1,
            (nothing, nothing),
        )
        propose_command(replica, command)
        item = next(one for one in self._stores if replica in _hosted(one))
        assert item.store is not None
        item.store._parts.sleeping.wake(replica)
        item.store._context.touch(replica.id)
        item.ask_turn()

    def _leaders(self) -> list[Replica]:
        return [one for item in self._stores for one in _hosted(item) if one.leads]


def _hosted(item: SimStore) -> list[Replica]:
    return [] if item.store is None else list(item.store.registry)
