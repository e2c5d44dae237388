"""How busy a store's processor is counts where more is to be led, and moves nothing by itself."""

import random

import pytest

from flaredb_pd.balance_scene import ALL_EVEN, IS_OVERWORKED, NOTHING_FITS
from flaredb_pd.ledger import Idle
from flaredb_pd.proposals import Proposal
from flaredb_schemas.ids import RegionId, StoreId
from tests.pd.evened import MIB, Cluster
from tests.pd.test_balance import led_by, spread


def busy(cluster: Cluster) -> dict[RegionId, int]:
    """Store 1 leads three busy regions, and has told of them for long."""
    led = [region for region in cluster.reports if cluster.leader_of(region) == 1][:3]
    rates = dict.fromkeys(led, 1_000)
    for _ in range(6):
        cluster.tell(rates, seconds=30.0)
    return rates


def by_load(decided: list[Proposal | Idle]) -> Proposal:
    found = [one for one in decided if isinstance(one, Proposal)]
    return next(one for one in found if one.policy == "balance-load")


def why_idle(cluster: Cluster, policy: str) -> Idle:
    found = [one for one in cluster.decide() if isinstance(one, Idle)]
    return next(one for one in found if one.policy == policy)


def test_of_two_that_are_as_busy_the_one_with_less_cpu_gets_the_load() -> None:
    for less, more in ((2, 3), (3, 2)):
        cluster = Cluster(stores=3, regions=60)
        cluster.cpu = {StoreId(less): 0.2, StoreId(more): 0.6}
        busy(cluster)
        found = by_load(cluster.decide())
        assert found.to == less
        assert found.weighed.candidates[0].terms["cpu_percent"] == 20


def test_a_store_without_cpu_to_spare_gets_no_load() -> None:
    cluster = Cluster(stores=3, regions=60)
    cluster.cpu = {StoreId(2): 0.95}
    rates = busy(cluster)
    found = [one for one in cluster.look() if one.policy == "balance-load"]
    assert found and {one.to for one in found} == {3}
    cluster.cpu[StoreId(3)] = 0.95
    cluster.tell(rates)
    idle = why_idle(cluster, "balance-load")
    assert idle.reason == NOTHING_FITS
    assert IS_OVERWORKED in [one.rule for one in idle.weighed.filters]


def test_a_store_without_cpu_to_spare_gets_no_leaders() -> None:
    cluster = Cluster(stores=3, regions=9)
    led_by(cluster, *[1] * 9)
    cluster.cpu = {StoreId(2): 0.95}
    cluster.tell()
    found = cluster.look()
    assert found and {one.to for one in found} == {3}
    cluster.cpu[StoreId(3)] = 0.95
    cluster.tell()
    idle = why_idle(cluster, "balance-leaders")
    assert idle.reason == NOTHING_FITS
    assert IS_OVERWORKED in [one.rule for one in idle.weighed.filters]


def test_cpu_alone_moves_nothing() -> None:
    cluster = spread(stores=3, regions=60)
    rates = dict.fromkeys(cluster.reports, 100)
    cluster.cpu = {StoreId(1): 1.0, StoreId(2): 0.1, StoreId(3): 0.1}
    for _ in range(6):
        cluster.tell(rates, seconds=30.0)
    assert not cluster.look()
    assert why_idle(cluster, "balance-load").reason == ALL_EVEN


@pytest.mark.parametrize("seed", range(10))
def test_whatever_cpu_stores_tell_of_nothing_goes_to_and_fro(seed: int) -> None:
    dice = random.Random(seed)
    cluster = spread(stores=dice.randint(3, 6), regions=dice.randint(10, 40))
    rates = {one: round(dice.paretovariate(0.8) * 20) for one in cluster.reports}
    led = {one: [cluster.leader_of(one)] for one in cluster.reports}
    moved, quiet = set[RegionId](), 0
    for _ in range(80):
        cluster.cpu = {store: dice.random() for store in cluster.used}
        for _ in range(6):
            cluster.tell(rates, seconds=30.0)
        found = cluster.look(moved)
        for proposal in found:
            cluster.carry_out(proposal)
            leader, known = cluster.leader_of(proposal.region), led[proposal.region]
            known.extend([leader] if leader != known[-1] else [])
        moved = {one.region for one in found if one.kind == "move"}
        quiet = 0 if found else quiet + 1
    assert quiet > 20, "it does not come to rest"
    assert not [stores for stores in led.values() if len({*stores}) < len(stores)]


def test_of_two_new_stores_the_one_with_the_emptier_disk_is_filled_first() -> None:
    cluster = Cluster(stores=5, regions=20)
    cluster.used[StoreId(4)], cluster.used[StoreId(5)] = 500 * MIB, 100 * MIB
    cluster.tell()
    first = cluster.look()[0]
    best = first.weighed.best
    assert first.add == 5 and best is not None and best.terms["full_percent"] == 10
