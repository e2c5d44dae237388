"""What a store keeps of replicas that were here and are gone for good."""

from flaredb.disk.disk import View
from flaredb.disk.layout import TOMBSTONE, can_have_rows, region_rows, tombstone_key, tombstone_peer
from flaredb.store.context import Context
from flaredb.store.records import CorruptRecordError, Tombstone, load
from flaredb.store.registry import Registry
from flaredb.store.replica import Replica
from flaredb_schemas.ids import NO_REGION, PeerId, RegionId


def is_buried(context: Context, region: RegionId, peer: PeerId) -> bool:
    """Whether `peer` of `region` was buried here, or one that came after it."""
    if context.registry.buried.get(region, PeerId(0)) >= peer:
        return True
    rows = context.disk.view.scan(*region_rows(TOMBSTONE, region))
    return any(tombstone_peer(key) >= peer for key, _ in rows)


def lies_here(context: Context, region: RegionId, peer: PeerId) -> bool:
    """Whether it is saved that this very peer is gone: it will take part in nothing again."""
    return context.disk.view.get(tombstone_key(region, peer)) is not None


def is_absorbed(view: View, region: RegionId) -> bool:
    """Whether `region` became a part of another one here."""
    rows = view.scan(*region_rows(TOMBSTONE, region))
    known = (_read(view, key) for key, _ in rows)
    return any(tombstone is not None and tombstone.absorbed_by for tombstone in known)


def find_absorber(registry: Registry, view: View, region: RegionId) -> Replica | None:
    """The replica here whose region `region` is a part of, as far as tombstones tell."""
    if not can_have_rows(region):
        return None
    seen: set[RegionId] = set()
    while region not in seen:
        seen.add(region)
        rows = view.scan(*region_rows(TOMBSTONE, region), reverse=True)
        tombstone = next((_read(view, key) for key, _ in rows), None)
        if tombstone is None or tombstone.absorbed_by == NO_REGION:
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
