"""The route table: newer knowledge wins, and ranges never overlap."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from flaredb.client.routes import RouteTable
from flaredb_schemas.ids import PeerId, RegionId, StoreId, Term
from flaredb_schemas.keys import KeyRange
from flaredb_schemas.regions import Epoch, Peer, Region, Route


def route(
    number: int, start: bytes, end: bytes, version: int = 1, store: int = 1, term: int = 6
) -> Route:
    peers = tuple(Peer(PeerId(number * 10 + at), StoreId(at)) for at in (1, 2, 3))
    region = Region(RegionId(number), KeyRange(start, end), Epoch(1, version), peers)
    leader = PeerId(number * 10 + store) if store else PeerId(0)
    return Route(region, leader, StoreId(store), Term(term), 100)


def table(*routes: Route) -> RouteTable:
    made = RouteTable()
    for one in routes:
        made.learn(one)
    return made


def test_find() -> None:
    left, right = route(1, b"", b"m"), route(2, b"m", b"")
    both = table(right, left)
    assert both.find(b"") == both.find(b"lzz") == _timeless(left)
    assert both.find(b"m") == both.find(b"\xff") == _timeless(right)
    assert both.find_before(b"m") == _timeless(left)
    assert both.find_before(b"m\0") == both.find_before(b"") == _timeless(right)


def test_holes_are_not_routes() -> None:
    holes = table(route(1, b"b", b"d"))
    assert holes.find(b"a") is None and holes.find(b"d") is None
    assert holes.find_before(b"b") is None and holes.find_before(b"e") is None
    assert holes.find_before(b"") is None
    assert RouteTable().find_before(b"") is None


def test_leaders_by_term() -> None:
    routes = table(route(1, b"", b"", store=1, term=6))
    assert not routes.learn(route(1, b"", b"", store=2, term=5))
    assert not routes.learn(route(1, b"", b"", store=2, term=6))
    assert routes.learn(route(1, b"", b"", store=2, term=7))
    assert _leader(routes) == 2
    routes.lose_leader(RegionId(1), StoreId(3))
    assert _leader(routes) == 2
    routes.lose_leader(RegionId(1), StoreId(2))
    assert _leader(routes) == 0
    assert routes.learn(route(1, b"", b"", store=2, term=7))
    assert routes.learn(route(1, b"", b"", store=0, term=8))
    assert _leader(routes) == 0


def _leader(routes: RouteTable) -> int:
    found = routes.find(b"")
    assert found is not None
    return found.store


def test_split_and_merge() -> None:
    routes = table(route(1, b"", b""))
    assert routes.learn(route(1, b"", b"m", version=2))
    assert routes.find(b"z") is None
    assert routes.learn(route(2, b"m", b"", version=2, store=0, term=0))
    assert not routes.learn(route(1, b"", b"", version=1))
    assert [one.region.id for one in routes.all()] == [1, 2]
    assert routes.learn(route(2, b"", b"", version=3))
    assert [one.region.id for one in routes.all()] == [2]
    assert not routes.learn(route(1, b"", b"m", version=2))


def test_time_never_goes_back() -> None:
    routes = table(route(1, b"", b""))
    routes.note_time(RegionId(1), 50)
    assert routes.time_of(RegionId(1)) == 100
    routes.note_time(RegionId(1), 150)
    assert routes.time_of(RegionId(1)) == 150


def _timeless(heard: Route) -> Route:
    return Route(heard.region, heard.leader, heard.store, heard.term)


BOUNDS = st.sampled_from([b"", b"a", b"c", b"e", b"g", b"i"])


@given(
    st.lists(
        st.tuples(st.integers(1, 4), BOUNDS, BOUNDS, st.integers(1, 4), st.integers(0, 3)),
        max_size=12,
    )
)
def test_whatever_is_heard_ranges_never_overlap(
    heard: list[tuple[int, bytes, bytes, int, int]],
) -> None:
    routes = RouteTable()
    for number, start, end, version, store in heard:
        if not KeyRange(start, end).is_empty:
            routes.learn(route(number, start, end, version, store))
        known = routes.all()
        for left, right in pairwise(known):
            assert left.region.keys.end and left.region.keys.end <= right.region.keys.start
        for one in known:
            assert routes.by_id(one.region.id) == one
            assert routes.find(one.region.keys.start) == one
            assert routes.find_before(one.region.keys.end) == one
