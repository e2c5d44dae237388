"""Which neighbours PD merges by itself: small ones, after nothing has happened to them for long."""

import msgspec

from flaredb_pd.heard import Heard
from flaredb_pd.instant import Instant
from flaredb_pd.locations import Locations
from flaredb_pd.region_map import RegionMap, Sighting
from flaredb_pd.small_regions import MOST_AT_ONCE, SmallRegions, apart
from flaredb_pd.state import State
from flaredb_schemas.ids import RegionId
from flaredb_schemas.keys import KeyRange
from flaredb_schemas.merges import OrderMerge
from flaredb_schemas.pd_answers import PdFailure
from flaredb_schemas.placement import DownPeer, RegionReport, reported_region
from flaredb_schemas.regions import Epoch, Region
from tests.pd.builders import pd_config, peers, region_report

CONFIG = msgspec.structs.replace(pd_config(), merge_bytes=1_000, merge_keys=100, merge_after=60.0)
NOWHERE = Locations(State(), Heard((), Instant(0.0, 0)), ())
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


def test_neighbours_on_different_stores_are_brought_together_first() -> None:
    elsewhere = peers((24, 4), (22, 2), (25, 5))
    region = Region(RegionId(2), KeyRange(b"m", b""), Epoch(1, 1), elsewhere)
    far = msgspec.structs.replace(region_report(region, elsewhere[0]), bytes=30)
    seen = Seen(report(1, b"", b"m", bytes=20), far)
    ((source, target),) = seen.small.find(seen.regions, (), 60.0)
    move = apart(source, target, NOWHERE)
    assert move is not None, "a follower first, then who leads"
    assert (move.kind, move.region, move.remove, move.add) == ("move", 1, 3, 4)
    here = report(1, b"", b"m", bytes=20)
    assert apart(source, Sighting(reported_region(here)), NOWHERE) is None


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
    body = OrderMerge(
        RegionId(1), Epoch(1, 1), ON_THREE[0].id, RegionId(2), Epoch(1, 1), 1, "small", 1
    )
    seen.small.put_off(body, None, 60.0)
    assert seen.pairs(60.0) == [(2, 1)], "it is done, as far as is known"
    seen.small.put_off(body, PdFailure("refused", "store 3 is away", "wait"), 60.0)
    assert seen.pairs(100.0) == []
    assert seen.pairs(120.0) == [(2, 1)]


def test_switched_off_nothing_is_merged() -> None:
    seen = Seen(report(1, b"", b"m"), report(2, b"m", b""))
    seen.small = SmallRegions(msgspec.structs.replace(CONFIG, merge_bytes=0))
    seen.tell(0.0, report(1, b"", b"m"))
    assert seen.pairs(1_000.0) == []
