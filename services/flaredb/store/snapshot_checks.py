"""Whether a snapshot that is offered can be installed here, as things stand.

Asked twice: at the offer, and again when the file is complete, since the replica, and what stands
beside it, may have changed meanwhile. Nothing here changes anything.
"""

from collections.abc import Iterable
from typing import Final

from flaredb.disk.disk import Usage
from flaredb.store.absorptions import settled_by_snapshot
from flaredb.store.births import Births
from flaredb.store.context import Context
from flaredb.store.records import ReplicaState
from flaredb.store.registry import Registry
from flaredb.store.room import reserve
from flaredb_schemas.frames import SnapshotHeader
from flaredb_schemas.ids import RegionId
from flaredb_schemas.regions import REPLICA_ROOM

SMALL_SHARE: Final = 64


def is_here(registry: Registry, header: SnapshotHeader) -> bool:
    """Whether all that the snapshot tells is committed here already."""
    replica = registry.get(header.region.id)
    return (
        replica is not None
        and replica.peer == header.to_peer
        and replica.state is ReplicaState.LIVE
        and not replica.leads
        and header.meta.index <= replica.node.commit
    )


def refusal(context: Context, births: Births, header: SnapshotHeader) -> str | None:
    """Why the snapshot cannot be installed; None if it can."""
    region, registry = header.region, context.registry
    peer = region.peer(header.to_peer)
    if peer is None or peer.store != context.me.store or region.keys.is_empty:
        return "the snapshot's region does not list the peer"
    replica = registry.get(region.id)
    if replica is None:
        # What was merged into it, or into what it was split from, is here: the log of another
        # replica here has still to absorb that.
        obstacle = births.obstacle(region)
        return obstacle or _unready(registry, settled_by_snapshot(registry, region))
    if replica.peer != header.to_peer:
        return "the peer is not here"
    if replica.state is ReplicaState.DAMAGED or replica.leads:
        return "the replica takes no snapshot"
    if header.meta.index <= replica.node.commit:
        return "the snapshot is not newer than what is committed here"
    parts = settled_by_snapshot(registry, region)
    other = registry.overlapping(region.keys, (region.id, *parts))
    if other is not None:
        return f"region {other} holds keys of its range here"
    return _unready(registry, parts)


def _unready(registry: Registry, parts: Iterable[RegionId]) -> str | None:
    """Why what is a part of the region cannot make room for it yet, if so."""
    for absorbed in parts:
        part = registry.get(absorbed)
        if part is not None and part.state is ReplicaState.INSTALLING:
            return f"region {absorbed}, a part of it now, is being installed here"
    return None


def has_room(usage: Usage, size: int, promised: int) -> bool:
    """Whether a snapshot of `size` bytes can be fetched, beside what others were promised.

    The file does not go where rows were before, but its rows do. What puts leave stays untouched,
    but for snapshots that are small beside it: those who need one are waited for.
    """
    kept = reserve(usage)
    needed = REPLICA_ROOM * size
    if size > kept // SMALL_SHARE:
        needed = max(needed, 2 * size + kept)
    return usage.room - promised >= needed and usage.free >= size + promised // 2


def has_room_for_rows(usage: Usage, size: int, promised: int) -> bool:
    """Whether the rows of a file that is here can be put in place."""
    return usage.room >= size + promised
