"""Which replicas on this store are of regions that are parts of others by now, and may go.

A record says of every region that it came of into which it was merged. A replica of such a region
is of use only to the replica of that other one beside it, until that has absorbed it by its own
log: then it is buried, or by a snapshot of it. Where there is none, or it is past that, nobody
needs it any more. Whoever goes takes with it what only it had still to absorb. Nothing here changes
anything.
"""

from flaredb.store.records import ReplicaState
from flaredb.store.registry import Registry
from flaredb.store.replica import Replica
from flaredb_schemas.ids import RegionId
from flaredb_schemas.regions import Region


def settled(registry: Registry, record: Region) -> tuple[RegionId, ...]:
    """Which regions that `record` names as absorbed no replica here has still to absorb."""
    return _settled(registry, record, set())


def settled_by_snapshot(registry: Registry, record: Region) -> tuple[RegionId, ...]:
    """The same for a snapshot of `record`, whose own replica here comes past all that by it."""
    return _settled(registry, record, {record.id})


def _settled(registry: Registry, record: Region, past: set[RegionId]) -> tuple[RegionId, ...]:
    going: list[RegionId] = []
    # Each stands behind those that it had absorbed itself: so who goes is known before these.
    for region, into in reversed(record.absorptions):
        target = registry.get(into or _likely(registry, region, record))
        if target is None or target.id in past or not _awaits(target, region):
            going.append(region)
            past.add(region)
    return tuple(going)


def _likely(registry: Registry, region: RegionId, record: Region) -> RegionId:
    """Into which region one was merged before records said so: into which it has agreed to be."""
    part = registry.get(region)
    merging = part.machine.state.merging if part is not None else None
    return record.id if merging is None else merging.target


def _awaits(target: Replica, region: RegionId) -> bool:
    """Whether the replica will absorb that region by its own log."""
    return target.state is not ReplicaState.DAMAGED and region not in target.region.absorbed
