"""Every replica of this store, by region and by key (FR-001); and those that were found damaged."""

from bisect import bisect_right
from collections.abc import Container, Iterator

from msgspec import Struct

from flaredb.store.records import ReplicaState
from flaredb.store.replica import Replica
from flaredb_schemas.ids import NO_PEER, PeerId, RegionId, StoreId
from flaredb_schemas.keys import KeyRange
from flaredb_schemas.regions import Epoch, Region


class DamagedReplica(Struct, frozen=True):
    """A replica whose records could not be read when the store started: it takes part in nothing.

    Where not even its own record can be read, only the region's id is known; see `unknown_region`.
    """

    region: Region
    reason: str
    peer: PeerId = NO_PEER


def unknown_region(region: RegionId) -> Region:
    """What stands for a region of which only the id is known: epoch 0, and no peers."""
    return Region(region, KeyRange(b"", b""), Epoch(0, 0), ())


class RegionPeer(Struct, frozen=True, gc=False):
    """A peer by its full name."""

    region: RegionId
    peer: PeerId


class Registry:
    """The replicas here.

    Invariants: the ranges of the replicas here never overlap, nor do they overlap what is being
    cleaned; `_starts` is sorted and stands beside
    `_regions`; `version` rises with every change; every replica has an incarnation of its own,
    never used again in this process; `damaged` are not hosted, and never will be by this process.
    """

    __slots__ = (
        "_by_region",
        "_incarnations",
        "_neighbours",
        "_regions",
        "_starts",
        "arriving",
        "buried",
        "cleaning",
        "damaged",
        "version",
    )

    def __init__(self) -> None:
        self.version = 0
        self.arriving: dict[RegionId, KeyRange] = {}
        """What each replica will hold in which a snapshot is being installed."""
        self.cleaning: dict[RegionPeer, tuple[KeyRange, ...]] = {}
        """The ranges whose rows are left of replicas that are gone."""
        self.buried: dict[RegionId, PeerId] = {}
        """Who is gone for good, while that is not on disk yet."""
        self.damaged: dict[RegionId, DamagedReplica] = {}
        self._neighbours: tuple[int, frozenset[StoreId]] = (-1, frozenset())
        self._by_region: dict[RegionId, Replica] = {}
        self._starts: list[bytes] = []
        self._regions: list[RegionId] = []
        self._incarnations = 0

    def next_incarnation(self) -> int:
        """A number that no other replica object of this process has."""
        self._incarnations += 1
        return self._incarnations

    def add(self, replica: Replica) -> None:
        """Host `replica`."""
        region = replica.region
        assert region.id not in self._by_region, f"region {region.id} is hosted already"
        assert region.id not in self.damaged, f"region {region.id} is damaged here"
        overlapping = self.overlapping(region.keys, (region.id,))
        assert overlapping is None, f"region {region.id} overlaps region {overlapping}"
        place = bisect_right(self._starts, region.keys.start)
        self._starts.insert(place, region.keys.start)
        self._regions.insert(place, region.id)
        self._by_region[region.id] = replica
        self.version += 1

    def give_up(self, damaged: DamagedReplica) -> None:
        """Do not host it: its records cannot be read."""
        assert damaged.region.id not in self._by_region, f"region {damaged.region.id} is hosted"
        self.damaged[damaged.region.id] = damaged

    @property
    def damaged_count(self) -> int:
        """How many replicas are out of service, found damaged at start or since; O(n)."""
        return len(self.damaged) + sum(one.state is ReplicaState.DAMAGED for one in self)

    def remove(self, region: RegionId) -> None:
        """Host it no longer."""
        place = self._regions.index(region)
        del self._starts[place], self._regions[place], self._by_region[region]
        self.version += 1

    def bury(self, name: RegionPeer) -> None:
        """The peer is gone for good; `unbury` once its tombstone is on disk."""
        self.buried[name.region] = max(name.peer, self.buried.get(name.region, NO_PEER))

    def unbury(self, name: RegionPeer) -> None:
        """The tombstone is on disk, where everybody finds it."""
        if self.buried.get(name.region) == name.peer:
            del self.buried[name.region]

    def move(self, replica: Replica) -> None:
        """Its range, or its peers, are others than when it was added."""
        self.remove(replica.id)
        self.add(replica)

    def neighbours(self, me: StoreId) -> frozenset[StoreId]:
        """The other stores that share a region with this one; looked up anew only after changes."""
        if self._neighbours[0] != self.version:
            stores = {store for item in self for store in item.region.stores}
            self._neighbours = (self.version, frozenset(stores - {me}))
        return self._neighbours[1]

    def get(self, region: RegionId) -> Replica | None:
        """The replica of this region here, if there is one."""
        return self._by_region.get(region)

    def current(self, replica: Replica) -> bool:
        """Whether this very object is still the replica of its region."""
        return self._by_region.get(replica.id) is replica

    def find(self, key: bytes) -> Replica | None:
        """The replica whose range holds `key`."""
        place = bisect_right(self._starts, key) - 1
        if place < 0:
            return None
        replica = self._by_region[self._regions[place]]
        return replica if replica.region.keys.contains(key) else None

    def overlapping(self, keys: KeyRange, but_for: Container[RegionId] = ()) -> RegionId | None:
        """A region here, or being installed, that has keys in `keys` and is none of `but_for`.

        Or one whose rows are still being cleaned up: that stands in the way of all.
        """
        hosted = self._overlapping(keys, but_for)
        if hosted is not None:
            return hosted
        for name, ranges in self.cleaning.items():
            if any(keys.overlaps(known) for known in ranges):
                return name.region
        arriving = (item for item in self.arriving.items() if item[0] not in but_for)
        return next((region for region, known in arriving if known.overlaps(keys)), None)

    def _overlapping(self, keys: KeyRange, but_for: Container[RegionId]) -> RegionId | None:
        place = max(0, bisect_right(self._starts, keys.start) - 1)
        for region in self._regions[place:]:
            known = self._by_region[region].region.keys
            if keys.overlaps(known) and region not in but_for:
                return region
            if keys.end and known.start >= keys.end:
                return None
        return None

    def unheld(self, keys: KeyRange) -> tuple[KeyRange, ...]:
        """What of `keys` no replica here holds, nor one that is being installed will."""
        held = [replica.region.keys for replica in self] + list(self.arriving.values())
        left = [keys]
        for known in held:
            left = [part for some in left for part in some.without(known)]
        return tuple(left)

    def following(self, region: RegionId, most: int) -> Iterator[Replica]:
        """The replicas whose ranges follow on this one's without a hole, at most so many."""
        keys = self._by_region[region].region.keys
        place, end = bisect_right(self._starts, keys.start) - 1, keys.end
        for other in self._regions[place + 1 : place + 1 + most]:
            replica = self._by_region[other]
            if replica.region.keys.start != end:
                return
            end = replica.region.keys.end
            yield replica

    def __iter__(self) -> Iterator[Replica]:
        """The replicas in key order."""
        return map(self._by_region.__getitem__, list(self._regions))

    def __len__(self) -> int:
        return len(self._regions)
