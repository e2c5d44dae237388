"""Every region by key, without overlap, as heartbeats tell it.

What leaders say arrives late, twice and out of order, and stream order is not truth order. A report
is refused if its term, version or conf_ver is lower than what is known of the region, each compared
by itself, or if it overlaps a region of a higher version (splits and merges raise the version above
all regions concerned; tikv/pd compares likewise in `pkg/core/region.go`). What an accepted report
overlaps is evicted in the same step. A hole stands open until the region that fills it reports.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from itertools import pairwise

from msgspec import Struct

from flaredb_pd.bearing import Bearing
from flaredb_schemas.ids import NO_PEER, NO_STORE, PeerId, RegionId, StoreId, Term
from flaredb_schemas.keys import KeyRange, find_fault
from flaredb_schemas.placement import RegionReport
from flaredb_schemas.regions import MOST_ABSORBED, Region, Route


class Sighting(Struct, frozen=True):
    """A region as last told; `report` is None where only the bootstrap record speaks of it."""

    region: Region
    leader: PeerId = NO_PEER
    store: StoreId = NO_STORE
    term: Term = Term(0)
    report: RegionReport | None = None

    @property
    def bytes(self) -> int:
        """How many bytes it holds, as far as is known."""
        return self.report.bytes if self.report is not None else 0

    @property
    def route(self) -> Route:
        """What a client needs to know of it."""
        time = self.report.time if self.report else 0
        return Route(self.region, self.leader, self.store, self.term, time)


class Accepted(Struct, frozen=True):
    """The map holds the report now; `evicted` are the regions that it replaced by overlap."""

    evicted: tuple[RegionId, ...]


class Stale(Struct, frozen=True):
    """The report is older than what is known, and why."""

    reason: str


class RegionMap:
    """Regions in key order.

    Finding is O(log n); a changed range moves O(n) list slots, which is one memory move.
    Invariants: `_starts` holds the start of each of `_order`, strictly ascending; no two ranges
    overlap; `_by_id` holds exactly the ids of `_order`; `bearing` counts exactly these.
    """

    def __init__(self) -> None:
        self._starts: list[bytes] = []
        self._order: list[RegionId] = []
        self._by_id: dict[RegionId, Sighting] = {}
        self._covers_all: bool | None = False
        self.bearing = Bearing()

    def __len__(self) -> int:
        return len(self._order)

    def get(self, region: RegionId) -> Sighting | None:
        """What is known of this region."""
        return self._by_id.get(region)

    def find(self, key: bytes) -> Sighting | None:
        """The region that holds `key`, or None in a hole."""
        at = bisect_right(self._starts, key) - 1
        if at < 0:
            return None
        found = self._by_id[self._order[at]]
        return found if found.region.keys.contains(key) else None

    def from_key(self, key: bytes) -> Iterator[Sighting]:
        """The regions in key order, from the one that holds `key` or is the next after it."""
        at = bisect_right(self._starts, key) - 1
        if at < 0 or not self._by_id[self._order[at]].region.keys.contains(key):
            at += 1
        return (self._by_id[region] for region in self._order[at:])

    def neighbours(self, region: RegionId) -> list[Sighting]:
        """The regions whose ranges meet this one's, the one before it first."""
        keys = self._by_id[region].region.keys
        at = bisect_left(self._starts, keys.start)
        around = [self._by_id[one] for one in self._order[max(at - 1, 0) : at + 2]]
        return [one for one in around if are_neighbours(one.region.keys, keys)]

    def __iter__(self) -> Iterator[Sighting]:
        """All regions in key order."""
        return (self._by_id[region] for region in self._order)

    @property
    def covers_all(self) -> bool:
        """Whether the key space has no hole; O(n) after a change of ranges, else O(1)."""
        if self._covers_all is None:
            ranges = (self._by_id[region].region.keys for region in self._order)
            self._covers_all = find_fault(ranges) is None
        return self._covers_all

    def accept(self, told: Sighting) -> Accepted | Stale:
        """Take in what was told, with all that follows from it, or nothing."""
        assert not told.region.keys.is_empty, f"region {told.region.id} has an empty range"
        known = self._by_id.get(told.region.id)
        stale = _older_than(told, known) if known else ""
        if stale:
            return Stale(stale)
        if known and known.region.keys == told.region.keys:
            self._by_id[told.region.id] = told
            self._count_anew(known, told)
            return Accepted(())
        others = [found for found in self._overlapped(told) if found.region.id != told.region.id]
        for other in others:
            if other.region.epoch.version > told.region.epoch.version:
                return Stale(f"region {other.region.id} of a higher version overlaps it")
        self._exchange([*others, known] if known else others, told)
        return Accepted(tuple(other.region.id for other in others))

    def _overlapped(self, told: Sighting) -> list[Sighting]:
        keys = told.region.keys
        first = max(bisect_right(self._starts, keys.start) - 1, 0)
        last = bisect_left(self._starts, keys.end) if keys.end else len(self._starts)
        near = (self._by_id[region] for region in self._order[first:last])
        return [found for found in near if found.region.keys.overlaps(keys)]

    def _exchange(self, gone: list[Sighting], come: Sighting) -> None:
        for sighting in gone:
            at = bisect_left(self._starts, sighting.region.keys.start)
            assert self._order[at] == sighting.region.id, "order and starts disagree"
            del self._starts[at], self._order[at], self._by_id[sighting.region.id]
            self._count(sighting, -1)
        at = bisect_left(self._starts, come.region.keys.start)
        self._starts.insert(at, come.region.keys.start)
        self._order.insert(at, come.region.id)
        self._by_id[come.region.id] = come
        self._count(come, 1)
        self._covers_all = None
        self._check_neighbours(at)

    def _count_anew(self, before: Sighting, now: Sighting) -> None:
        one, other = before.region, now.region
        same = one.peers == other.peers and one.removed == other.removed
        if not same or (before.store, before.bytes) != (now.store, now.bytes):
            self._count(before, -1)
            self._count(now, 1)

    def _count(self, sighting: Sighting, sign: int) -> None:
        self.bearing.count(sighting.region, sighting.store, sighting.bytes, sign)

    def _check_neighbours(self, at: int) -> None:
        assert len(self._starts) == len(self._order) == len(self._by_id)
        around = [self._by_id[region] for region in self._order[max(at - 1, 0) : at + 2]]
        for left, right in pairwise(around):
            assert left.region.keys.start < right.region.keys.start
            assert not left.region.keys.overlaps(right.region.keys), (
                f"regions {left.region.id} and {right.region.id} overlap"
            )

    def check(self) -> None:
        """Every invariant, in O(n): for tests and the simulator."""
        assert self._starts == [self._by_id[region].region.keys.start for region in self._order]
        for at in range(len(self._order)):
            self._check_neighbours(at)
        counted = Bearing()
        for sighting in self:
            counted.count(sighting.region, sighting.store, sighting.bytes, 1)
        assert counted.replicas == self.bearing.replicas
        assert (counted.bytes, counted.leaders) == (self.bearing.bytes, self.bearing.leaders)
        assert counted.leaving == self.bearing.leaving
        assert counted.named == self.bearing.named


def are_neighbours(one: KeyRange, other: KeyRange) -> bool:
    """Whether one range begins where the other ends."""
    return bool(one.end and one.end == other.start) or bool(other.end and other.end == one.start)


def are_alike(one: Region, other: Region) -> bool:
    """Whether two regions have their replicas on the same stores, in the same roles."""
    places = [sorted((peer.store, peer.role) for peer in each.peers) for each in (one, other)]
    return places[0] == places[1]


def would_name_too_many(one: Sighting, other: Sighting) -> bool:
    """Whether the two have absorbed so many regions that they cannot become one."""
    reports = (one.report, other.report)
    names = {name for report in reports if report is not None for name in report.absorbed}
    return len(names) >= MOST_ABSORBED


def _older_than(told: Sighting, known: Sighting) -> str:
    old, new = known.region.epoch, told.region.epoch
    if told.term < known.term:
        return f"term {told.term} after {known.term}"
    if new.version < old.version:
        return f"version {new.version} after {old.version}"
    if new.conf_ver < old.conf_ver:
        return f"conf_ver {new.conf_ver} after {old.conf_ver}"
    return ""
