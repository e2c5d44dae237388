"""What a store keeps of replicas that were here and are gone for good."""

from flaredb.disk.disk import View
from flaredb.disk.layout import TOMBSTONE, region_rows, tombstone_peer
from flaredb.store.records import CorruptRecordError, Tombstone, load
from flaredb.store.registry import Registry
from flaredb.store.replica import Replica
from flaredb_schemas.ids import PeerId, RegionId


def is_buried(view: View, region: RegionId, peer: PeerId | None = None) -> bool:
    """Whether a replica of `region` was buried here: `peer`, or one that came after it."""
    rows = view.scan(*region_rows(TOMBSTONE, region))
    return any(peer is None or tombstone_peer(key) >= peer for key, _ in rows)


def find_absorber(registry: Registry, view: View, region: RegionId) -> Replica | None:
    """The replica here whose region `region` is a part of, as far as tombstones tell."""
    seen: set[RegionId] = set()
    while region not in seen:
        seen.add(region)
        rows = view.scan(*region_rows(TOMBSTONE, region), reverse=True)
        tombstone = next((_read(view, key) for key, _ in rows), None)
        if tombstone is None:
            return None
        region = tombstone.absorbed_by
        replica = registry.get(region)
        if replica is not None:
            return replica
    return None


def _read(view: View, key: bytes) -> Tombstone | None:
    try:
        return load(view, key, Tombstone)
    except CorruptRecordError:
        return None  # that somebody lies here is told by the key alone
