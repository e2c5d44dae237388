"""What two stores share, and how far a set of stores stands apart."""

from msgspec.structs import replace

from flaredb_pd.heard import Heard
from flaredb_pd.instant import Instant
from flaredb_pd.locations import Locations, locate
from flaredb_pd.state import State
from flaredb_schemas.ids import StoreId
from tests.pd.evened import record

LEVELS = ("zone", "rack", "host")


def locations(*places: str, levels: tuple[str, ...] = LEVELS) -> Locations:
    """Stores from 1 on; each place is `zone/rack/host`, as far as it is said."""
    stores = {}
    for number, place in enumerate(places, 1):
        said = zip(LEVELS, place.split("/"), strict=False)
        labels = {level: value for level, value in said if value}
        stores[StoreId(number)] = replace(record(StoreId(number)), labels=labels)
    return locate(State(stores=stores), Heard((), Instant(0.0, 0)), levels)


def shared(*places: str) -> int:
    return locations(*places, "z/r/h").common(StoreId(1), StoreId(2))


def test_places_are_shared_from_the_widest_on() -> None:
    assert shared("a/1/x", "b/1/x") == 0, "a rack of another zone is another rack"
    assert shared("a/1/x", "a/2/x") == 10_000
    assert shared("a/1/x", "a/1/y") == 10_100
    assert shared("a/1/x", "a/1/x") == 10_101


def test_who_does_not_say_where_it_stands_counts_as_near() -> None:
    assert shared("a/1/x", "") == 10_101
    assert shared("a//x", "a/1/y") == 10_100
    assert locations("", "").common(StoreId(1), StoreId(2)) == 0, "nobody says anything"
    assert not locations("", "").are_known


def test_only_labels_that_are_used_count() -> None:
    assert locations("a", "a").common(StoreId(1), StoreId(2)) == 1
    assert locations("a", "a", levels=("rack",)).common(StoreId(1), StoreId(2)) == 0


def test_of_a_store_that_is_no_member_nothing_is_shared() -> None:
    assert locations("a", "a").common(StoreId(1), StoreId(9)) == 0


def test_two_in_one_zone_are_worse_than_all_in_racks_of_it() -> None:
    zones = locations("a/1", "a/2", "b/1", "c/1", "a/1")
    assert zones.together(map(StoreId, (1, 3, 4))) == 0
    assert zones.together(map(StoreId, (1, 2, 3))) == 100
    assert zones.together(map(StoreId, (1, 5, 3))) == 101
    assert zones.least(map(StoreId, (1, 2, 3, 4, 5)), 3) == 0
    assert zones.least(map(StoreId, (1, 2, 3, 5)), 3) == 100
    assert zones.would_worsen(map(StoreId, (1, 3, 4)), StoreId(4), StoreId(2))
    assert not zones.would_worsen(map(StoreId, (1, 5, 4)), StoreId(5), StoreId(2))
