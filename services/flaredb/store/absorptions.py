"""Which replicas on this store are of regions that are parts of others by now, and may go.

A record says of every region that it came of into which it was merged. A replica of such a region
is of use only to the replica of that other one beside it, until that has absorbed it by its own
log: then it is buried, or by a snapshot of it. Where there is none, or it is past that, nobody
needs it any more. Whoever goes takes with it what only it had still to absorb. Nothing here changes
anything.
"""

from collections.abc import Container

from flaredb.store.records import ReplicaState
from flaredb.store.registry import Registry
from flaredb_schemas.ids import RegionId
from flaredb_schemas.regions import Absorption, Region


def settled(registry: Registry, record: Region) -> tuple[RegionId, ...]:
    """Which regions that `record` names as absorbed no replica here has still to absorb."""
    return _settled(registry, record, set())


def settled_by_snapshot(registry: Registry, record: Region) -> tuple[RegionId, ...]:
    """The same for a snapshot of `record`, whose own replica here comes past all that by it."""
    return _settled(registry, record, {record.id})


def _settled(registry: Registry, record: Region, past: set[RegionId]) -> tuple[RegionId, ...]:
    going: list[RegionId] = []
    # Each stands behind those that it had absorbed itself: so who goes is known before these.
    for absorbed in reversed(record.absorptions):
        if not _is_awaited(registry, absorbed, past):
            going.append(absorbed.region)
            past.add(absorbed.region)
    return tuple(going)


def _is_awaited(registry: Registry, absorbed: Absorption, past: Container[RegionId]) -> bool:
    """Whether a replica here, none of those in `past`, will absorb it by its own log."""
    target = registry.get(absorbed.into)
    return (
        target is not None
        and target.id not in past
        and target.state is not ReplicaState.DAMAGED
        and absorbed.region not in target.region.absorbed
    )
