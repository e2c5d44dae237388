"""Which neighbours PD merges by itself: small ones, after nothing has happened to them for long."""

import msgspec
import pytest

from flaredb_pd.heard import Heard
from flaredb_pd.instant import Instant
from flaredb_pd.merge_pairs import find_obstacle
from flaredb_pd.placing import Stores
from flaredb_pd.proposals import Proposal
from flaredb_pd.region_map import RegionMap, Sighting
from flaredb_pd.small_regions import MOST_AT_ONCE, UNITE_SECONDS, SmallRegions, apart
from flaredb_pd.store_records import Drain
from flaredb_schemas.ids import RegionId, StoreId
from flaredb_schemas.keys import KeyRange
from flaredb_schemas.placement import (
    DownPeer,
    RegionReport,
)
from flaredb_schemas.regions import MOST_ABSORBED, Epoch, Region
from flaredb_schemas.reported import reported_region
from tests.pd.builders import pd_config, peers, region_report
from tests.pd.evened import MIB, Cluster

CONFIG = msgspec.structs.replace(pd_config(), merge_bytes=1_000, merge_keys=100, merge_after=60.0)
ON_THREE = peers((11, 1), (12, 2), (13, 3))


def report(number: int, start: bytes, end: bytes, **changes: object) -> RegionReport:
    members = peers(*((10 * number + store, store) for store in (1, 2, 3)))
    region = Region(RegionId(number), KeyRange(start, end), Epoch(1, 1), members)
    return msgspec.structs.replace(region_report(region, members[0]), **changes)


class Seen:
    """PD's map and what it knows of calm, told the same."""

    def __init__(self, *reports: RegionReport) -> None:
        self.regions = RegionMap()
        self.small = SmallRegions(CONFIG)
        self.tell(0.0, *reports)

    def tell(self, now: float, *reports: RegionReport) -> None:
        for one in reports:
            region = reported_region(one)
            store = region.peers[0].store
            self.regions.accept(Sighting(region, one.leader, store, one.term, one))
            self.small.note(one, now)

    def pairs(self, now: float, *busy: int) -> list[tuple[int, int]]:
        found = self.small.find(self.regions, [RegionId(one) for one in busy], now)
        return [(source.region.id, target.region.id) for source, target in found]


def test_two_that_are_small_and_calm_are_merged_the_smaller_into_the_larger() -> None:
    seen = Seen(report(1, b"", b"m", bytes=20), report(2, b"m", b"", bytes=30))
    assert seen.pairs(59.0) == []
    assert seen.pairs(60.0) == [(1, 2)]
    assert seen.pairs(60.0, 2) == []


@pytest.mark.parametrize(
    ("left", "right", "fits"),
    [
        (MOST_ABSORBED - 1, 0, True),
        (MOST_ABSORBED, 0, False),
        (MOST_ABSORBED, MOST_ABSORBED - 1, False),
    ],
)
def test_who_came_of_too_many_is_left_alone(left: int, right: int, fits: bool) -> None:
    """What both came of is named once."""
    names = [tuple(map(RegionId, range(100, 100 + count))) for count in (left, right)]
    seen = Seen(report(1, b"", b"m", absorbed=names[0]), report(2, b"m", b"", absorbed=names[1]))
    assert seen.pairs(60.0) == ([(2, 1)] if fits else [])
    one, other = seen.regions
    refused = find_obstacle(one, other, Heard((), Instant(60.0, 60_000)), {})
    assert (refused is None) is fits
    assert refused is None or "came of too many others" in refused.message


class Far:
    """Region 1 stands on stores 1 to 3, its neighbour on 2, 4 and 5."""

    def __init__(self) -> None:
        elsewhere = peers((24, 4), (22, 2), (25, 5))
        self.region = Region(RegionId(2), KeyRange(b"m", b""), Epoch(1, 1), elsewhere)
        report_of_it = region_report(self.region, elsewhere[0])
        far = msgspec.structs.replace(report_of_it, bytes=30)
        self.seen = Seen(report(1, b"", b"m", bytes=20), far)
        self.cluster = Cluster(stores=5, regions=0)
        self.away: set[int] = set()
        self.draining: set[int] = set()

    def move(self) -> Proposal | None:
        ((source, target),) = self.seen.small.find(self.seen.regions, (), 60.0)
        self.cluster.tell()
        state = self.cluster.state
        for store in map(StoreId, self.draining):
            drained = msgspec.structs.replace(state.stores[store], drain=Drain(0, 0, 0, 0))
            state = msgspec.structs.replace(state, stores={**state.stores, store: drained})

        def is_up(store: StoreId) -> bool:
            return store not in self.away

        stores = Stores(state, self.cluster.heard, is_up, lambda _: False, {}, self.cluster.places)
        return apart(source, target, stores)


def test_neighbours_on_different_stores_are_brought_together_first() -> None:
    far = Far()
    move = far.move()
    assert move is not None, "a follower first, then who leads"
    assert (move.kind, move.region, move.remove, move.add) == ("move", 1, 3, 4)
    ways = [(one.source, one.target) for one in move.weighed.candidates]
    assert sorted(ways) == [(1, 4), (1, 5), (3, 4), (3, 5)]


def test_where_replicas_are_together_none_is_moved() -> None:
    far = Far()
    here, there = report(1, b"", b"m", bytes=20), report(2, b"m", b"", bytes=30)
    far.seen = Seen(here, there)
    assert far.move() is None


def test_they_are_brought_together_on_a_store_that_can_take_it() -> None:
    for fault in ("away", "draining", "nearly full"):
        far = Far()
        if fault == "nearly full":
            far.cluster.used[StoreId(4)] = 850 * MIB
        else:
            (far.away if fault == "away" else far.draining).add(4)
        move = far.move()
        assert move is not None and (move.remove, move.add) == (3, 5), fault


def test_where_no_store_can_take_it_they_stay_apart() -> None:
    far = Far()
    far.away, far.draining = {4}, {5}
    assert far.move() is None


def test_together_they_must_stay_small() -> None:
    assert Seen(report(1, b"", b"m", bytes=900), report(2, b"m", b"", bytes=101)).pairs(60.0) == []
    assert Seen(report(1, b"", b"m", keys=99), report(2, b"m", b"", keys=2)).pairs(60.0) == []


def test_what_grows_was_just_cut_or_is_busy_is_left_alone() -> None:
    for changes in ({"bytes": 2_000}, {"version": 2}, {"read_keys": 6_000}):
        seen = Seen(report(1, b"", b"m"), report(2, b"m", b""))
        seen.tell(30.0, report(1, b"", b"m", **changes))
        seen.tell(40.0, report(1, b"", b"m", version=changes.get("version", 1)))
        assert seen.pairs(60.0) == []


def test_a_trickle_of_writes_does_not_count() -> None:
    seen = Seen(report(1, b"", b"m", bytes=500), report(2, b"m", b""))
    seen.tell(30.0, report(1, b"", b"m", bytes=520, written_keys=50))
    assert seen.pairs(60.0) == [(2, 1)]


def test_peers_that_are_away_stand_in_the_way() -> None:
    ill = report(1, b"", b"m", down=(DownPeer(ON_THREE[1].id, 9),))
    assert Seen(ill, report(2, b"m", b"")).pairs(60.0) == []


def test_replicas_in_other_roles_stand_in_the_way() -> None:
    whole = report(1, b"", b"m")
    learner = msgspec.structs.replace(whole.peers[2], role="learner")
    other = msgspec.structs.replace(whole, peers=(*whole.peers[:2], learner))
    assert Seen(other, report(2, b"m", b"")).pairs(60.0) == []


def test_neither_a_hole_nor_a_pair_twice_and_not_all_at_once() -> None:
    assert Seen(report(1, b"", b"l"), report(2, b"m", b"")).pairs(60.0) == []
    edges = [b"", *(b"%02d" % number for number in range(1, 12)), b""]
    many = [report(at + 1, edges[at], edges[at + 1]) for at in range(12)]
    pairs = Seen(*many).pairs(60.0)
    assert len(pairs) == MOST_AT_ONCE
    assert len({one for pair in pairs for one in pair}) == 2 * MOST_AT_ONCE


def test_a_merge_of_which_nothing_came_is_put_off() -> None:
    seen = Seen(report(1, b"", b"m"), report(2, b"m", b""))
    seen.small.put_off((RegionId(1), RegionId(2)), 60.0)
    assert seen.pairs(100.0) == []
    assert seen.pairs(120.0) == [(2, 1)]


def test_what_is_to_be_merged_is_known_for_as_long_as_it_is_sought() -> None:
    seen = Seen(report(1, b"", b"m"), report(2, b"m", b""))
    assert seen.pairs(60.0) and seen.small.uniting(60.0) == {1, 2}
    assert seen.small.uniting(60.0 + UNITE_SECONDS) == set(), "nobody looks for them any more"
    seen.small.put_off((RegionId(1), RegionId(2)), 61.0)
    assert seen.small.uniting(61.0) == set()


def test_switched_off_nothing_is_merged() -> None:
    seen = Seen(report(1, b"", b"m"), report(2, b"m", b""))
    seen.small = SmallRegions(msgspec.structs.replace(CONFIG, merge_bytes=0))
    seen.tell(0.0, report(1, b"", b"m"))
    assert seen.pairs(1_000.0) == []
