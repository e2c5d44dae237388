"""Balance spreads replicas, merges bring small neighbours together: neither undoes the other."""

from collections.abc import Sequence

import msgspec
import pytest

from flaredb_pd.region_map import are_alike
from flaredb_schemas.ids import PdIncarnation, RegionId, StoreId
from flaredb_schemas.journal import MergeOrdered
from flaredb_schemas.keys import KeyRange
from flaredb_schemas.merges import OrderMerge
from flaredb_schemas.operators import OperatorStarted
from flaredb_schemas.placement import Order
from flaredb_schemas.records import JournalFact
from flaredb_schemas.regions import Epoch
from tests.pd.builders import pd_config
from tests.pd.test_chaos import Chaos, check_journal
from tests.pd.world import PdWorld

REGIONS = 12
CALM = 150.0
"""How long nothing must happen before a merge: longer than what balance has moved rests."""


class Small(Chaos):
    """One PD that merges, and regions that are small and calm; `merges` is whether that works."""

    def __init__(self, seed: int, merges: bool) -> None:
        self.merges = merges
        self.merged = 0
        super().__init__(seed, balance=True, world=PdWorld())

    def start(self, name: str) -> None:
        edges = [b"", *(b"%02d" % number for number in range(1, REGIONS)), b""]
        ranges = tuple(KeyRange(edges[at], edges[at + 1]) for at in range(REGIONS))
        config = pd_config(name, ranges=ranges, balance=True)
        incarnation = PdIncarnation(f"{self.dice.getrandbits(128):032x}")
        told = {"incarnation": incarnation, "merge_after": CALM}
        self.world.start(msgspec.structs.replace(config, **told))

    def _ordered(self, store: StoreId, order: Order) -> None:
        if isinstance(order.body, OrderMerge):
            self._merge(order.body, store)
        else:
            super()._ordered(store, order)

    def _merge(self, body: OrderMerge, store: StoreId) -> None:
        source, target = self.regions.get(body.region), self.regions.get(body.target)
        if (
            source is None
            or target is None
            or not self.merges
            or {source.store, target.store} != {store}
        ):
            return
        assert are_alike(source.region, target.region), "they are to stand on the same stores"
        if (source.region.epoch, target.region.epoch) != (body.epoch, body.target_epoch):
            return
        regions = sorted((source.region, target.region), key=lambda one: one.keys.start)
        epoch = Epoch(target.region.epoch.conf_ver, body.target_epoch.version + 1)
        keys = KeyRange(regions[0].keys.start, regions[1].keys.end)
        target.region = msgspec.structs.replace(target.region, keys=keys, epoch=epoch)
        del self.regions[body.region]
        self.merged += 1


def torn_apart(facts: Sequence[JournalFact]) -> list[RegionId]:
    """Which regions balance has moved after they were brought together, and before the merge."""
    together, found = set[RegionId](), list[RegionId]()
    for fact in facts:
        match fact:
            case OperatorStarted(trigger="merge"):
                target = fact.reason.rsplit(" ", 1)[-1]
                together |= {fact.region, RegionId(int(target))}
            case OperatorStarted(trigger="balance", kind="move") if fact.region in together:
                found.append(fact.region)
            case MergeOrdered():
                together -= {fact.region, fact.target}
            case _:
                pass
    return found


@pytest.mark.parametrize("seed", range(3))
def test_what_is_brought_together_stays_so_until_it_is_merged(seed: int) -> None:
    small = Small(seed, merges=True)
    for _ in range(850):
        small.second()
    facts = small.journal()
    kinds = {one.trigger for one in facts if isinstance(one, OperatorStarted)}
    assert kinds == {"balance", "merge"} and len(small.regions) == 1
    assert not torn_apart(facts)
    check_journal(facts)


def test_nor_is_it_torn_apart_where_merges_come_to_nothing() -> None:
    small = Small(0, merges=False)
    for _ in range(400):
        small.second()
    facts = small.journal()
    assert any(isinstance(one, MergeOrdered) for one in facts)
    assert not torn_apart(facts)
