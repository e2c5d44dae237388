"""Stores are evened out: leaders, replicas, disks and load; and then nothing moves any more."""

import random
from collections import Counter
from collections.abc import Mapping

import pytest
from msgspec.structs import replace

from flaredb.runtime.settings import PdSettings
from flaredb.runtime.settings_sources import load
from flaredb_pd.__main__ import configure
from flaredb_pd.balance import decisions
from flaredb_pd.balance_scene import ALL_EVEN, NOTHING_MOVES, WAS_MOVED, WORSE, Scene
from flaredb_pd.even_load import NOT_BUSY
from flaredb_pd.heard import Heard
from flaredb_pd.instant import Instant
from flaredb_pd.ledger import Idle
from flaredb_pd.loads import Loads
from flaredb_pd.locations import Locations
from flaredb_pd.proposals import Proposal
from flaredb_pd.state import State, StoreRecord
from flaredb_schemas.ids import (
    BootCounter,
    ClusterId,
    Generation,
    PeerId,
    RegionId,
    StoreId,
    StoreUuid,
    Term,
)
from flaredb_schemas.keys import KeyRange
from flaredb_schemas.placement import Heartbeat, RegionReport, StoreReport, report_peers
from flaredb_schemas.regions import Peer

MIB = 2**20
NOW = Instant(100.0, 1_800_000_000_000)


class Cluster:
    """What PD hears of a cluster in which every proposal is carried out at once."""

    def __init__(self, stores: int, regions: int, replicas: int = 3) -> None:
        self.heard = Heard((), NOW)
        self.loads = Loads()
        self.used: dict[StoreId, int] = {StoreId(one): 0 for one in range(1, stores + 1)}
        self.reports: dict[RegionId, RegionReport] = {}
        self.moves: Counter[RegionId] = Counter()
        self.zones: dict[StoreId, str] = {}
        self.now = 0.0
        self._ids = 10_000
        for number in range(regions):
            keys = KeyRange(*(b"%06d" % one if one else b"" for one in (number, number + 1)))
            last = number == regions - 1
            stay = [StoreId(1 + (number + place) % 3) for place in range(replicas)]
            self.put(RegionId(100 + number), replace(keys, end=b"") if last else keys, stay)

    def put(self, region: RegionId, keys: KeyRange, stores: list[StoreId]) -> None:
        peers = [Peer(PeerId(self._next()), store) for store in stores]
        self.reports[region] = RegionReport(
            id=region,
            start=keys.start,
            end=keys.end,
            start_text="",
            end_text="",
            version=1,
            conf_ver=1,
            peers=report_peers(tuple(peers)),
            leader=peers[0].id,
            term=Term(6),
            time=1,
            bytes=MIB,
            keys=10,
            read_keys=0,
            read_bytes=0,
            written_keys=0,
            written_bytes=0,
        )

    def _next(self) -> int:
        self._ids += 1
        return self._ids

    def tell(self, rates: Mapping[RegionId, int] | None = None, seconds: float = 10.0) -> None:
        """All stores tell all; so many keys per second were written to some regions."""
        self.now += seconds
        for store in self.used:
            led = [one for one in self.reports.values() if self.leader_of(one.id) == store]
            told = [
                replace(one, written_keys=int((rates or {}).get(one.id, 0) * seconds))
                for one in led
            ]
            for report in told:
                self.loads.note(report, self.now)
            self.heard.on_heartbeat(self.beat(store, tuple(told)))

    def beat(self, store: StoreId, regions: tuple[RegionReport, ...]) -> Heartbeat:
        used = self.used[store]
        report = StoreReport(
            store=store,
            boot=BootCounter(1),
            regions=len(regions),
            leaders=len(regions),
            capacity=1000 * MIB,
            used=used,
            free=1000 * MIB - used,
            cpu=0.1,
            frames_refused=0,
            bootstrapped=True,
            generation=Generation(1),
            labels={"zone": self.zones[store]} if store in self.zones else {},
        )
        number = self._next()
        return Heartbeat(f"{store}.1.hb{number}.0", 1, ClusterId("c"), report, regions, full=True)

    def leader_of(self, region: RegionId) -> StoreId:
        report = self.reports[region]
        return next(peer.store for peer in report.peers if peer.id == report.leader)

    def look(self, moved: set[RegionId] | None = None) -> list[Proposal]:
        return [one for one in self.decide(moved) if isinstance(one, Proposal)]

    def decide(self, moved: set[RegionId] | None = None) -> list[Proposal | Idle]:
        """What is proposed, and why nothing else is."""
        rest = moved or set()
        scene = Scene(self.heard, self.loads, (), rest, set(), lambda store: True, self.places)
        return list(decisions(scene))

    @property
    def state(self) -> State:
        return State(stores={store: record(store) for store in self.used}, replicas=3)

    @property
    def places(self) -> Locations:
        return Locations(self.state, self.heard, ("zone",))

    def settle(self, rates: Mapping[RegionId, int] | None = None, most: int = 400) -> int:
        """Carry out what is proposed until nothing is; how many looks that took."""
        self.tell(rates)
        for number in range(most):
            self.tell(rates)
            found = self.look()
            if not found:
                return number
            for proposal in found:
                self.carry_out(proposal)
        raise AssertionError("it does not come to rest")

    def carry_out(self, proposal: Proposal) -> None:
        report = self.reports[proposal.region]
        peers = {peer.store: peer for peer in report.peers}
        leader = report.leader
        if proposal.kind == "transfer":
            leader = peers[proposal.to].id
        else:
            self.moves[proposal.region] += 1
            gone = peers.pop(proposal.remove)
            assert proposal.add not in peers
            new = PeerId(self._next())
            peers[proposal.add] = replace(gone, id=new, store=proposal.add)
            if gone.id == leader:
                leader = min(peer.id for peer in peers.values())
        self.reports[proposal.region] = replace(
            report,
            peers=tuple(peers.values()),
            leader=leader,
            conf_ver=report.conf_ver + 4,
            term=Term(report.term + 1),
        )

    def replicas(self) -> Counter[StoreId]:
        return Counter(peer.store for one in self.reports.values() for peer in one.peers)

    def leaders(self) -> Counter[StoreId]:
        return Counter(self.leader_of(region) for region in self.reports)

    def load(self, rates: Mapping[RegionId, int]) -> Counter[StoreId]:
        found: Counter[StoreId] = Counter(dict.fromkeys(self.used, 0))
        for region, rate in rates.items():
            found[self.leader_of(region)] += rate
        return found


def record(store: StoreId) -> StoreRecord:
    """A store as the journal knows it."""
    return StoreRecord(store, StoreUuid(f"{store:032x}"), BootCounter(1), "", {}, 0, "")


def test_a_fourth_store_gets_its_share_and_then_all_is_at_rest() -> None:
    cluster = Cluster(stores=4, regions=60)
    assert cluster.replicas()[StoreId(4)] == 0
    cluster.settle()
    assert all(abs(count - 45) <= 3 for count in cluster.replicas().values()), cluster.replicas()
    assert all(abs(count - 15) <= 1 for count in cluster.leaders().values()), cluster.leaders()
    assert max(cluster.moves.values()) == 1, "no region moves twice"


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
    cluster.used[StoreId(1)] = 860 * MIB
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
