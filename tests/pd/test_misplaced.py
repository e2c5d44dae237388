"""Replicas stand as far apart as stores allow, and then stay, whatever else is evened out."""

import random
from collections import Counter

import pytest
from msgspec.structs import replace

from flaredb_pd.instant import Instant
from flaredb_pd.ledger import Idle
from flaredb_pd.locations import locate
from flaredb_pd.misplaced import (
    AS_FAR_APART,
    LOOK_SECONDS,
    NO_PLACES,
    NO_STORE_WILL_DO,
    POLICY,
    Misplaced,
)
from flaredb_pd.placing import Stores
from flaredb_pd.proposals import Proposal
from flaredb_pd.store_records import Drain
from flaredb_schemas.ids import PeerId, RegionId, StoreId
from flaredb_schemas.placement import (
    DownPeer,
    PeerReport,
)
from tests.pd.builders import pd_config
from tests.pd.evened import MIB, Cluster

CONFIG = replace(pd_config(), location_labels=("zone",))


class Zones(Cluster):
    """A cluster whose stores say in which zone they stand."""

    def __init__(self, zones: str, regions: int = 6, replicas: int = 3) -> None:
        super().__init__(len(zones), regions, replicas)
        self.zones = {StoreId(number): zone for number, zone in enumerate(zones, 1)}
        self.misplaced = Misplaced(CONFIG)
        self.draining: set[StoreId] = set()
        self.down: set[StoreId] = set()

    def apart(self) -> list[Proposal | Idle]:
        """What is to be moved apart, at the next look."""
        self.tell()
        state = self.state
        for store in self.draining:
            known = replace(state.stores[store], drain=Drain(0, 0, 0, 0))
            state = replace(state, stores={**state.stores, store: known})
        places = locate(state, self.heard, ("zone",))
        down = self.down.__contains__
        stores = Stores(state, self.heard, lambda one: not down(one), down, {}, places)
        now = Instant(self.now * LOOK_SECONDS, 0)
        return list(self.misplaced.look(stores, Counter[StoreId], now))

    def wanted(self) -> list[Proposal]:
        return [one for one in self.apart() if isinstance(one, Proposal)]

    def why_none(self) -> str:
        [idle] = self.apart()
        assert isinstance(idle, Idle) and idle.policy == POLICY
        return idle.reason

    def shared(self) -> list[int]:
        """What the replicas of each region share."""
        stores = [[peer.store for peer in one.peers] for one in self.reports.values()]
        return [self.places.together(held) for held in stores]

    def put_on(self, region: int, *stores: int) -> None:
        report = self.reports[RegionId(region)]
        peers = zip(report.peers, stores, strict=True)
        moved = tuple(replace(peer, store=StoreId(store)) for peer, store in peers)
        self.reports[report.id] = replace(report, peers=moved, conf_ver=report.conf_ver + 1)


def test_a_replica_moves_to_a_zone_that_has_none() -> None:
    cluster = Zones("aabc", regions=1)
    [move] = cluster.wanted()
    assert (move.kind, move.remove, move.add, move.trigger) == ("move", 2, 4, "repair")
    best = move.weighed.best
    assert best is not None and best.terms["shared_labels"] == 0
    assert [(one.source, one.target) for one in move.weighed.candidates] == [(2, 4), (1, 4)]
    cluster.carry_out(move)
    assert cluster.shared() == [0]
    assert cluster.why_none() == AS_FAR_APART


def test_without_labels_and_where_all_is_well_nothing_moves() -> None:
    cluster = Zones("abcabc")
    assert cluster.why_none() == AS_FAR_APART
    cluster.zones = {}
    assert cluster.why_none() == NO_PLACES


def test_fewer_zones_than_replicas_are_shared_evenly() -> None:
    cluster = Zones("aaab", regions=4)
    assert len(cluster.wanted()) == 4
    for move in cluster.wanted():
        cluster.carry_out(move)
    assert cluster.shared() == [1] * 4 and cluster.why_none() == AS_FAR_APART


def test_a_store_that_does_not_say_where_it_stands_is_no_better() -> None:
    cluster = Zones("aab", regions=1)
    cluster.used[StoreId(4)] = 0
    assert cluster.why_none() == AS_FAR_APART


def test_what_is_not_whole_or_leaves_comes_first() -> None:
    cluster = Zones("aabc", regions=1)
    region, report = next(iter(cluster.reports.items()))
    last = report.peers[2]
    for hurt in (
        replace(report, down=(DownPeer(last.id, 9),)),
        replace(report, lost=(last.id,)),
        replace(report, peers=report.peers[:2]),
        replace(report, peers=(*report.peers, PeerReport(PeerId(7), StoreId(4), "learner"))),
    ):
        cluster.reports[region] = hurt
        assert cluster.why_none() == AS_FAR_APART
    cluster.reports[region] = report
    cluster.draining = {last.store}
    assert cluster.why_none() == AS_FAR_APART


def test_no_store_that_is_away_leaving_or_nearly_full_is_given_anything() -> None:
    cluster = Zones("aabc", regions=1)
    cluster.used[StoreId(4)] = 801 * MIB
    assert cluster.why_none() == NO_STORE_WILL_DO
    cluster.used[StoreId(4)] = 0
    cluster.down = {StoreId(4)}
    assert not cluster.wanted()
    cluster.down, cluster.draining = set(), {StoreId(4)}
    assert not cluster.wanted()


def test_half_of_what_may_be_under_way_is_left_to_what_is_lost() -> None:
    cluster = Zones("aabc", regions=60)
    assert len(cluster.wanted()) == CONFIG.operators_at_once // 2


def test_those_behind_what_cannot_be_helped_get_their_turn() -> None:
    cluster = Zones("aaabc", regions=300)
    cluster.used[StoreId(5)] = cluster.used[StoreId(4)] = 999 * MIB
    for number in range(300):
        cluster.put_on(100 + number, 1, 2, 3)
    assert cluster.wanted() == []
    cluster.used[StoreId(4)] = 0
    assert {move.region for move in cluster.wanted()} <= set(range(300, 400))


@pytest.mark.parametrize("seed", range(30))
def test_with_balance_beside_it_all_comes_to_rest_and_stands_apart(seed: int) -> None:
    dice = random.Random(seed)
    count = dice.randint(4, 9)
    zones = "".join(dice.choice("abcd"[: dice.randint(2, 4)]) for _ in range(count))
    cluster = Zones(zones, regions=dice.randint(1, 40))
    for region in cluster.reports:
        cluster.put_on(region, *dice.sample(range(1, count + 1), 3))
    cluster.tell()
    for _ in range(400):
        before = dict(zip(cluster.reports, cluster.shared(), strict=True))
        moves = [one for one in cluster.wanted() if one.kind == "move"]
        for move in moves:
            cluster.carry_out(move)
        after = dict(zip(cluster.reports, cluster.shared(), strict=True))
        assert all(after[one.region] < before[one.region] for one in moves)
        cluster.tell()
        balanced = cluster.look()
        for one in balanced:
            cluster.carry_out(one)
        now = dict(zip(cluster.reports, cluster.shared(), strict=True))
        assert all(now[region] <= after[region] for region in now), "balance makes nothing worse"
        if not moves and not balanced:
            break
    else:
        raise AssertionError("it does not come to rest")
    best = cluster.places.least(cluster.used, 3)
    assert set(cluster.shared()) == {best}, zones
