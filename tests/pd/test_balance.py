"""Stores are evened out: leaders, replicas, disks and load; and then nothing moves any more."""

import random

import pytest
from msgspec.structs import replace

from flaredb.runtime.settings import PdSettings
from flaredb.runtime.settings_sources import load
from flaredb_pd.__main__ import configure
from flaredb_pd.balance_scene import ALL_EVEN, NOTHING_FITS, NOTHING_MOVES, WAS_MOVED, WORSE
from flaredb_pd.even_load import NOT_BUSY
from flaredb_pd.ledger import Idle
from flaredb_pd.loads import Loads
from flaredb_pd.proposals import Proposal
from flaredb_schemas.ids import PeerId, RegionId, StoreId
from flaredb_schemas.keys import KeyRange
from tests.pd.evened import MIB, Cluster


def test_a_fourth_store_gets_its_share_and_then_all_is_at_rest() -> None:
    cluster = Cluster(stores=4, regions=60)
    assert cluster.replicas()[StoreId(4)] == 0
    cluster.settle()
    assert all(abs(count - 45) <= 3 for count in cluster.replicas().values()), cluster.replicas()
    assert all(abs(count - 15) <= 1 for count in cluster.leaders().values()), cluster.leaders()
    assert max(cluster.moves.values()) == 1, "no region moves twice"


def test_what_somebody_wants_to_be_merged_is_left_where_it_is() -> None:
    cluster = Cluster(stores=4, regions=60)
    cluster.tell()
    wished = {one.region for one in cluster.look()}
    others = {one.region for one in cluster.look(wished=wished)}
    assert wished and others and not wished & others


def test_nothing_moves_in_an_even_cluster() -> None:
    cluster = Cluster(stores=3, regions=60)
    cluster.tell()
    assert cluster.look() == []


def test_small_clusters_come_to_rest_too() -> None:
    for stores in (2, 3, 4, 5):
        for regions in (1, 2, 3, 7):
            cluster = Cluster(stores=max(stores, 3), regions=regions)
            cluster.settle()


def test_busy_regions_are_led_from_different_stores() -> None:
    cluster = Cluster(stores=3, regions=60)
    hot = [region for region in cluster.reports if cluster.leader_of(region) == 1][:6]
    rates = dict.fromkeys(cluster.reports, 40) | dict.fromkeys(hot, 1_440)
    cluster.settle(rates)
    loads = cluster.load(rates).values()
    even = sum(loads) / 3
    assert all(abs(load - even) <= 0.2 * even for load in loads), loads


def test_regions_that_are_neither_cold_nor_busy_are_led_from_all_stores() -> None:
    cluster = Cluster(stores=4, regions=12)
    rates = dict.fromkeys(cluster.reports, 12)
    cluster.settle(rates)
    assert all(cluster.leaders()[store] >= 2 for store in cluster.used), cluster.leaders()


def test_what_would_hardly_help_is_left_alone() -> None:
    cluster = Cluster(stores=3, regions=3)
    one, two, three = cluster.reports
    assert not cluster.settle({one: 1_000, two: 300, three: 300}), "one busy region is one"
    cluster = Cluster(stores=3, regions=6)
    regions = sorted(cluster.reports, key=cluster.leader_of)
    rates = dict(zip(regions, (1_000, 60, 300, 0, 300, 0), strict=True))
    cluster.settle(rates)
    assert cluster.leader_of(regions[0]) == 1


def led_by(cluster: Cluster, *stores: int) -> list[RegionId]:
    """Have these stores lead the regions, in their order."""
    regions = list(cluster.reports)
    for region, store in zip(regions, stores, strict=True):
        report = cluster.reports[region]
        peer = next(one for one in report.peers if one.store == store)
        cluster.reports[region] = replace(report, leader=peer.id)
    return regions


def test_where_the_busiest_store_cannot_be_relieved_the_next_one_is() -> None:
    cluster = Cluster(stores=3, regions=30)
    led = led_by(cluster, *[1] * 10, *[2] * 10, *[3] * 10)
    rates = {led[0]: 3_000, **dict.fromkeys(led[10:20], 200), led[20]: 100}
    cluster.settle(rates)
    load = cluster.load(rates)
    assert load[StoreId(1)] == 3_000 and abs(load[StoreId(2)] - load[StoreId(3)]) <= 400, load


def spread(stores: int, regions: int) -> Cluster:
    """Replicas and leaderships are even: the next store has the next region."""
    cluster = Cluster(stores=stores, regions=0)
    for number in range(regions):
        edges = number, number + 1
        start, end = (b"%03d" % one if 0 < one < regions else b"" for one in edges)
        stand = [StoreId(1 + (number + place) % stores) for place in range(3)]
        cluster.put(RegionId(100 + number), KeyRange(start, end), stand)
    return cluster


def test_a_store_with_nothing_to_do_gets_something_though_no_other_is_too_busy() -> None:
    cluster = spread(stores=8, regions=64)
    rates = dict.fromkeys((one for one in cluster.reports if cluster.leader_of(one) != 8), 100)
    load = cluster.load(rates)
    assert load[StoreId(8)] == 0 and max(load.values()) <= 1.15 * 700
    cluster.settle(rates)
    load = cluster.load(rates)
    assert load[StoreId(8)] >= 0.85 * 700, load


@pytest.mark.parametrize("seed", [*range(20), 82])
def test_whatever_is_busy_no_leadership_goes_to_and_fro(seed: int) -> None:
    dice = random.Random(seed)
    cluster = spread(stores=dice.randint(3, 8), regions=dice.randint(10, 60))
    rates = {one: round(dice.paretovariate(0.8) * 20) for one in cluster.reports}
    led = {one: [cluster.leader_of(one)] for one in cluster.reports}
    for _ in range(6):
        cluster.tell(rates, seconds=30.0)
    moved = set[RegionId]()
    for _ in range(50):
        found = cluster.look(moved)
        for proposal in found:
            cluster.carry_out(proposal)
            leader, known = cluster.leader_of(proposal.region), led[proposal.region]
            known.extend([leader] if leader != known[-1] else [])
        if not found and not moved:
            break
        moved = {one.region for one in found if one.kind == "move"}
        for _ in range(4):
            cluster.tell(rates, seconds=30.0)
    assert not cluster.look(), "it does not come to rest"
    assert not [stores for stores in led.values() if len({*stores}) < len(stores)]


def test_who_leads_a_region_anew_tells_its_rate_from_then_on() -> None:
    loads, region = Loads(), RegionId(100)
    report = replace(Cluster(stores=3, regions=1).reports[region], written_keys=5_000)
    for moment in (10.0, 20.0, 30.0, 40.0):
        loads.note(report, moment)
    before = loads.rate(region)
    assert 400 < before < 500
    handed_over = replace(report, leader=PeerId(report.leader + 1), written_keys=3)
    loads.note(handed_over, 45.0)
    assert loads.rate(region) == before, "it has counted for a moment only"
    loads.note(replace(handed_over, written_keys=5_000), 55.0)
    assert before < loads.rate(region) < 500


def test_who_leads_busy_regions_anew_is_judged_when_it_has_told_of_them() -> None:
    """While it has not, they look as they did when their load had only begun to show."""
    cluster = Cluster(stores=3, regions=60)
    hot = [region for region in cluster.reports if cluster.leader_of(region) == 1][:6]
    rates = dict.fromkeys(hot, 2_000)
    for _ in range(2):
        cluster.tell(dict.fromkeys(hot, 400))
    for proposal in cluster.look():
        if proposal.policy == "balance-load":
            cluster.carry_out(proposal)
    assert len([region for region in hot if cluster.leader_of(region) == 1]) == 2
    cluster.tell(rates)
    reasons = {one.policy: one.reason for one in cluster.decide() if isinstance(one, Idle)}
    assert reasons["balance-load"] == NOTHING_FITS
    cluster.tell(rates, seconds=30.0)
    cluster.tell(rates, seconds=30.0)
    reasons = {one.policy: one.reason for one in cluster.decide() if isinstance(one, Idle)}
    assert reasons["balance-load"] == ALL_EVEN


def test_a_new_store_gets_busy_regions_as_well() -> None:
    cluster = Cluster(stores=4, regions=60)
    hot = [region for region in cluster.reports if cluster.leader_of(region) == 1][:6]
    rates = dict.fromkeys(cluster.reports, 40) | dict.fromkeys(hot, 1_440)
    cluster.settle(rates)
    loads = cluster.load(rates).values()
    even = sum(loads) / 4
    assert max(loads) <= 1.5 * even, "six hot regions do not divide by four"


def test_a_full_store_gets_nothing_and_gives_away() -> None:
    cluster = Cluster(stores=4, regions=20)
    cluster.used[StoreId(1)] = 880 * MIB
    cluster.used[StoreId(4)] = 100 * MIB
    cluster.tell()
    found = cluster.look()
    assert found and all(one.remove == 1 for one in found if one.kind == "move")
    assert all(one.add != 1 for one in found)
    cluster.used[StoreId(4)] = 810 * MIB
    cluster.tell()
    assert all(one.add != 4 for one in cluster.look())


def test_what_was_just_moved_stays() -> None:
    cluster = Cluster(stores=4, regions=12)
    cluster.tell()
    moved = {proposal.region for proposal in cluster.look()}
    assert moved and not moved & {proposal.region for proposal in cluster.look(moved)}


@pytest.mark.parametrize("seed", range(20))
def test_wherever_replicas_are_it_comes_to_rest_and_is_even(seed: int) -> None:
    dice = random.Random(seed)
    cluster = Cluster(stores=dice.randint(3, 8), regions=dice.randint(1, 80))
    for region, report in cluster.reports.items():
        stores = dice.sample(sorted(cluster.used), 3)
        peers = tuple(
            replace(peer, store=store) for peer, store in zip(report.peers, stores, strict=True)
        )
        cluster.reports[region] = replace(report, peers=peers)
    cluster.settle()
    leaders = list(cluster.leaders().values()) + [0] * (len(cluster.used) - len(cluster.leaders()))
    even = sum(leaders) / len(leaders)
    assert all(abs(count - even) <= max(1, 0.05 * even) + 1 for count in leaders), leaders
    counts = [cluster.replicas()[store] for store in cluster.used]
    even = sum(counts) / len(counts)
    assert all(abs(count - even) <= max(1, 0.05 * even) + 1 for count in counts), counts


def test_it_can_be_switched_off() -> None:
    for said, balance in (({}, True), ({"FLAREDB_BALANCE": "false"}, False)):
        settings, _ = load(PdSettings, {}, said)
        assert configure(settings).balance is balance


def test_a_look_says_of_each_policy_what_it_does_or_why_nothing() -> None:
    cluster = Cluster(stores=4, regions=60)
    cluster.tell()
    decided = cluster.decide()
    moves = [one for one in decided if isinstance(one, Proposal)]
    assert {one.policy for one in moves} == {"balance-replicas"}
    first = moves[0].weighed
    assert first.best is not None and first.best.region == moves[0].region
    assert (first.compared, len(first.candidates)) == (60, 50)
    assert [one.terms["leads"] for one in first.candidates] == [0] * 40 + [1] * 10
    cluster.settle()
    cluster.tell()
    reasons = {one.policy: one.reason for one in cluster.decide() if isinstance(one, Idle)}
    assert reasons == {
        "balance-replicas": ALL_EVEN,
        "balance-leaders": ALL_EVEN,
        "balance-load": NOT_BUSY,
    }


def test_what_is_left_out_is_counted_with_examples() -> None:
    cluster = Cluster(stores=4, regions=12)
    cluster.tell()
    everything = set(cluster.reports)
    replicas = next(one for one in cluster.decide(everything) if isinstance(one, Idle))
    assert (replicas.policy, replicas.reason) == ("balance-replicas", NOTHING_MOVES)
    rule = next(one for one in replicas.weighed.filters if one.rule == WAS_MOVED)
    assert (rule.count, [one.region for one in rule.examples]) == (12, [100, 101, 102])
    assert replicas.weighed.candidates[0].target == 4, "the pairs that were compared"


def test_balance_does_not_have_replicas_stand_less_far_apart() -> None:
    cluster = Cluster(stores=4, regions=30)
    cluster.zones = {StoreId(1): "a", StoreId(2): "b", StoreId(3): "c", StoreId(4): "c"}
    cluster.settle()
    assert cluster.replicas() == {1: 30, 2: 30, 3: 15, 4: 15}
    for report in cluster.reports.values():
        assert cluster.places.together(peer.store for peer in report.peers) == 0
    cluster.tell()
    replicas = next(one for one in cluster.decide() if isinstance(one, Idle))
    assert WORSE in [one.rule for one in replicas.weighed.filters]
