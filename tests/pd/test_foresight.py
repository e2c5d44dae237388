"""What an operator is expected to change, and what is told of it at the end."""

import random

from msgspec.structs import replace

from flaredb_pd.foresight import MIB, Change, Figures
from flaredb_pd.heard import Heard
from flaredb_pd.instant import Instant
from flaredb_pd.loads import Loads
from flaredb_pd.operator_facts import EndOperator
from flaredb_pd.region_map import RegionMap, Sighting
from flaredb_schemas.ids import StoreId
from flaredb_schemas.reported import reported_region
from tests.pd.evened import Cluster
from tests.pd.test_operators import started, when


def figures(cluster: Cluster, levels: tuple[str, ...] = ("zone",)) -> Figures:
    return Figures(cluster.state, cluster.heard, cluster.loads, levels)


def effects(cluster: Cluster, change: Change) -> dict[tuple[str, int], tuple[int, int]]:
    """What is expected of a change of the first region: figure and store to before and after."""
    sighting = next(iter(cluster.heard.regions))
    found = figures(cluster).effects(change, sighting)
    return {(one.figure, one.store): (one.before, one.after) for one in found}


def test_a_move_takes_replicas_bytes_and_what_is_led() -> None:
    cluster = Cluster(stores=4, regions=3)
    rates = dict.fromkeys(cluster.reports, 100)
    cluster.tell()
    cluster.tell(rates)
    size = next(iter(cluster.reports.values())).bytes
    assert effects(cluster, Change(add=StoreId(4), remove=StoreId(2))) == {
        ("replicas", 2): (3, 2),
        ("bytes", 2): (3 * size, 2 * size),
        ("replicas", 4): (0, 1),
        ("bytes", 4): (0, size),
    }
    moved = effects(cluster, Change(add=StoreId(4), remove=StoreId(1)))
    assert moved["leaders", 1] == (1, 0) and moved["keys_per_second", 1] == (50, 0)
    assert effects(cluster, Change(to=StoreId(2))) == {
        ("leaders", 1): (1, 0),
        ("keys_per_second", 1): (50, 0),
        ("leaders", 2): (1, 2),
        ("keys_per_second", 2): (50, 100),
    }


def test_where_stores_say_where_they_stand_it_is_told_what_is_shared() -> None:
    cluster = Cluster(stores=4, regions=1)
    cluster.zones = {StoreId(number): zone for number, zone in enumerate("aabc", 1)}
    cluster.tell()
    moved = effects(cluster, Change(add=StoreId(4), remove=StoreId(2)))
    assert moved["shared_labels", 0] == (1, 0)


def test_the_outcome_is_what_is_counted_then() -> None:
    cluster = Cluster(stores=4, regions=3)
    cluster.tell()
    first, second = list(cluster.look())[:2]
    sighting = cluster.heard.regions.get(first.region)
    assert sighting is not None
    expected = figures(cluster).effects(Change(first.add, first.remove), sighting)
    cluster.carry_out(first)
    cluster.carry_out(second)
    cluster.tell()
    came = figures(cluster).outcomes(first.region, expected)
    [replicas] = [one for one in came if (one.figure, one.store) == ("replicas", 4)]
    assert (replicas.before, replicas.predicted, replicas.realised) == (0, 1, 2)


def test_how_long_it_takes_is_told_by_what_came_before() -> None:
    state, operator = started()
    known = Figures(state, Heard((), Instant(0.0, 0)), Loads(), ())
    assert known.expected_ms(True, 3 * MIB) == 0, "nothing was done yet"
    end = EndOperator(operator.id, operator.region, "done", "", 7_000, bytes=MIB)
    state, _ = when(state, end)
    known = Figures(state, Heard((), Instant(0.0, 0)), Loads(), ())
    assert known.expected_ms(True, MIB) == 2_000
    assert known.expected_ms(True, 3 * MIB) == 4_000
    assert known.expected_ms(False, 0) == 0, "of transfers nothing is known"


def test_what_stores_bear_is_counted_as_regions_come_and_go() -> None:
    cluster, regions = Cluster(stores=5, regions=12), RegionMap()
    dice = random.Random(1)
    for _ in range(300):
        report = dice.choice(list(cluster.reports.values()))
        stores = dice.sample(range(1, 6), 3)
        peers = tuple(
            replace(peer, store=StoreId(store))
            for peer, store in zip(report.peers, stores, strict=True)
        )
        start = dice.choice([report.start, b""])
        told = replace(report, peers=peers, bytes=dice.randrange(9), start=start)
        told = replace(told, version=dice.randrange(5), conf_ver=report.conf_ver)
        leads = dice.choice([peers[0].store, StoreId(0)])
        regions.accept(Sighting(reported_region(told), told.leader, leads, told.term, told))
        regions.check()
    assert regions.bearing.replicas.total() == 3 * len(regions)
