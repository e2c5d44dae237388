"""Where the first regions are placed."""

from collections.abc import Sequence

from flaredb_pd.bootstrap import place_regions
from flaredb_pd.locations import Locations
from flaredb_schemas.ids import StoreId
from flaredb_schemas.keys import KeyRange

RANGES = [KeyRange(bytes([n]) if n else b"", bytes([n + 1]) if n < 11 else b"") for n in range(12)]


def placed(zones: Sequence[str], replicas: int = 3) -> list[list[int]]:
    """On which stores the peers of each region stand; stores are numbered from 1 on."""
    labels = {StoreId(n): {"zone": zone} if zone else {} for n, zone in enumerate(zones, 1)}
    places = Locations(labels, ("zone", "rack"))
    regions = place_regions(RANGES, list(labels), replicas, highest_id=9, places=places)
    return [[peer.store for peer in region.peers] for region in regions]


def test_regions_go_round_where_no_store_says_where_it_stands() -> None:
    assert placed(["", "", "", ""])[:3] == [[1, 2, 3], [2, 3, 4], [3, 4, 1]]


def test_replicas_are_placed_in_different_zones() -> None:
    for zones in ("aabbcc", "aabc", "aaabbc", "abcabc"):
        for stores in placed(zones):
            assert {zones[store - 1] for store in stores} == {*"abc"}, (zones, stores)


def test_replicas_and_first_ones_are_spread_evenly_over_zones_of_one_size() -> None:
    regions = placed("aabbcc")
    firsts = [stores[0] for stores in regions]
    assert [firsts.count(store) for store in range(1, 7)] == [2] * 6
    held = [sum(store in stores for stores in regions) for store in range(1, 7)]
    assert max(held) - min(held) <= 2


def test_more_replicas_than_zones_are_placed_all_the_same() -> None:
    for stores in placed("aab"):
        assert sorted(stores) == [1, 2, 3]
