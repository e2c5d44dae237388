"""Somebody has regions cut, as an operator does, and sometimes in ways that nobody should.

A wish goes to PD. Now and then the entry of a leader that lost a race stands in the log as well:
for the same epoch, with other ids or with the very same. PD grants those ids, too.
"""

from collections.abc import Callable, Sequence
from functools import partial

import msgspec

from flaredb.store.applying import propose_command
from flaredb.store.replica import Replica
from flaredb.store.split_orders import ASK_IDS
from flaredb_schemas.commands import NewRegion, Size, Split
from flaredb_schemas.ids import PeerId, RegionId
from flaredb_schemas.pd_answers import SplitQuery
from flaredb_schemas.placement import Order
from flaredb_schemas.splits import AskIds, GrantIds
from tests.simulator.calls import all_keys
from tests.simulator.lost_answers import LostAnswers
from tests.simulator.placement import SimPd
from tests.simulator.stores import SimStore
from tests.simulator.world import World

MOST_REGIONS = 10
NAME = "admin"
RIVAL_NONCE = 10**9
MOST_SPARE_IDS = 40


class Cutter:
    """Wishes for splits."""

    def __init__(self, world: World, stores: Sequence[SimStore], pds: Sequence[SimPd]) -> None:
        self._world = world
        self._stores = stores
        self._spare: list[int] = []
        self._nonce = RIVAL_NONCE
        for pd in pds:
            pd.on_order = partial(self._ordered, pd.on_order)
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
        first = self._take_ids(replica)
        self._propose(replica, key, first)
        second = first if self._world.dice.random() < 0.5 else self._take_ids(replica)
        self._propose(replica, self._key(replica) or key, second)

    def _take_ids(self, replica: Replica) -> list[int]:
        """Ids for a region with its peers, if PD has granted so many; it is asked for more."""
        count = 1 + len(replica.region.peers)
        self._ask(replica, 2 * count)
        if len(self._spare) < count:
            return []
        taken, self._spare = self._spare[:count], self._spare[count:]
        return taken

    def _ask(self, replica: Replica, count: int) -> None:
        item = next(one for one in self._stores if replica in _hosted(one))
        assert item.store is not None
        if len(self._spare) > MOST_SPARE_IDS or self._world.healed:
            return
        self._nonce += 1
        me = item.store.me
        ask = AskIds(me.store, me.boot, me.cluster, replica.id, self._nonce, count)
        subject = self._world.subjects.pd_request(me.store, "ids")
        self._world.network.send(NAME, subject, ASK_IDS.encode(ask))

    def _ordered(self, tell: Callable[[Order, str], None], order: Order, process: str) -> None:
        """A PD orders something: perhaps it grants what was asked for here."""
        tell(order, process)
        body = order.body
        if isinstance(body, GrantIds) and body.nonce == self._nonce:
            self._nonce += 1  # once, however often it is said
            self._spare += range(body.first, body.first + body.count)

    def _propose(self, replica: Replica, key: bytes, ids: Sequence[int]) -> None:
        item = next(one for one in self._stores if replica in _hosted(one))
        assert item.store is not None
        if not ids or max(ids) > item.store._parts.orders._seen.highest_id:
            return  # Whoever proposes ids has heard of their grant, and has that saved before.
        region, nothing = replica.region, Size(0, 0)
        first, peers = ids[0], tuple(PeerId(one) for one in ids[1:])
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
        item.store._parts.sleeping.wake(replica)
        item.store._context.touch(replica.id)
        item.ask_turn()

    def _leaders(self) -> list[Replica]:
        return [one for item in self._stores for one in _hosted(item) if one.leads]


def _hosted(item: SimStore) -> list[Replica]:
    return [] if item.store is None else list(item.store.registry)
