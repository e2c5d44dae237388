"""Which region holds a key and who leads it, as last heard.

Newer knowledge wins: of a region the higher epoch, of its leader the higher term; where two regions
overlap, the higher version (a split or a merge raises it above all regions concerned).
"""

from bisect import bisect_left, bisect_right

from flaredb_schemas.ids import NO_STORE, RegionId, StoreId
from flaredb_schemas.regions import Region, Route


class RouteTable:
    """Routes in key order, and the time of each region, which is kept apart from its route.

    Invariants: no two regions overlap; `_starts` holds the start of each of `_routes`, ascending;
    `_by_id` holds the same routes; a region's time never goes back.
    """

    def __init__(self) -> None:
        self._starts: list[bytes] = []
        self._routes: list[Route] = []
        self._by_id: dict[RegionId, Route] = {}
        self._times: dict[RegionId, int] = {}

    def find(self, key: bytes) -> Route | None:
        """The region that holds `key`, if known."""
        at = bisect_right(self._starts, key) - 1
        if at < 0:
            return None
        route = self._routes[at]
        end = route.region.keys.end
        return route if not end or key < end else None

    def find_before(self, end: bytes) -> Route | None:
        """The region that holds the last keys below `end` (empty: the last keys of all)."""
        at = (bisect_left(self._starts, end) if end else len(self._starts)) - 1
        if at < 0:
            return None
        route = self._routes[at]
        reach = route.region.keys.end
        return route if not reach or (end and end <= reach) else None

    def by_id(self, region: RegionId) -> Route | None:
        """The route of this region, if known."""
        return self._by_id.get(region)

    def all(self) -> list[Route]:
        """Every known route, in key order."""
        return list(self._routes)

    def learn(self, heard: Route) -> bool:
        """Take in a route; return whether its region's epoch or leader became newer by it."""
        self.note_time(heard.region.id, heard.time)
        known = self._by_id.get(heard.region.id)
        merged = _newer_of(known or Route(heard.region), heard)
        if merged == known:
            return False
        if known is not None and merged.region.keys == known.region.keys:
            self._replace(merged)
            return True
        if known is not None:
            self._remove(known)
        return self._insert(merged)

    def lose_leader(self, region: RegionId, store: StoreId) -> None:
        """Forget that `store` leads `region`: it says itself that it does not."""
        known = self._by_id.get(region)
        if known is not None and known.store == store:
            self._replace(Route(known.region, term=known.term))

    def note_time(self, region: RegionId, time: int) -> None:
        """Take in a region's time in milliseconds."""
        if time > self._times.get(region, -1):
            self._times[region] = time

    def time_of(self, region: RegionId) -> int:
        """The newest time heard of the region, 0 if none."""
        return self._times.get(region, 0)

    def _replace(self, route: Route) -> None:
        at = bisect_left(self._starts, route.region.keys.start)
        assert self._routes[at].region.id == route.region.id, "a route stands under its start"
        self._routes[at] = self._by_id[route.region.id] = route

    def _remove(self, route: Route) -> None:
        at = bisect_left(self._starts, route.region.keys.start)
        assert self._routes[at].region.id == route.region.id, "a route stands under its start"
        del self._starts[at], self._routes[at], self._by_id[route.region.id]

    def _insert(self, route: Route) -> bool:
        """Put in a region that is not there, in place of what it overlaps, unless that is newer."""
        first, stop = self._overlapping(route.region)
        overlapped = self._routes[first:stop]
        version = route.region.epoch.version
        if any(other.region.epoch.version > version for other in overlapped):
            return False
        for other in overlapped:
            del self._by_id[other.region.id], self._times[other.region.id]
        self._starts[first:stop] = [route.region.keys.start]
        self._routes[first:stop] = [route]
        self._by_id[route.region.id] = route
        return True

    def _overlapping(self, region: Region) -> tuple[int, int]:
        """The slice of routes whose ranges overlap the region's."""
        first = bisect_right(self._starts, region.keys.start)
        if first and self._routes[first - 1].region.keys.overlaps(region.keys):
            first -= 1
        end = region.keys.end
        return first, bisect_left(self._starts, end, first) if end else len(self._starts)


def _newer_of(known: Route, heard: Route) -> Route:
    """One region twice: the newer epoch of the two, with the leader of the newer term."""
    region = heard.region if _epoch(heard) > _epoch(known) else known.region
    if heard.term > known.term or (heard.term == known.term and known.store == NO_STORE):
        return Route(region, heard.leader, heard.store, heard.term)
    return Route(region, known.leader, known.store, known.term)


def _epoch(route: Route) -> tuple[int, int]:
    return route.region.epoch.version, route.region.epoch.conf_ver
