"""What a store says of itself when it is asked: its replicas, in order of region id; figures."""

from flaredb.store.context import Context, Counters
from flaredb.store.records import ReplicaState
from flaredb.store.registry import DamagedReplica, Registry
from flaredb.store.replica import Replica
from flaredb_schemas.ids import Index, RegionId, Term
from flaredb_schemas.regions import Route
from flaredb_schemas.requests import ReplicaStatus, StoreStatusAnswer, StoreStatusRequest

REPLICAS_PER_ANSWER = 500


def store_status(context: Context, request: StoreStatusRequest) -> StoreStatusAnswer:
    """One page of the replicas here, from `request.first` on."""
    registry = context.registry
    here = {replica.id: replica for replica in registry} | registry.damaged
    regions = sorted(region for region in here if region >= request.first)
    page, rest = regions[:REPLICAS_PER_ANSWER], regions[REPLICAS_PER_ANSWER:]
    return StoreStatusAnswer(
        request.number,
        context.me.store,
        tuple(replica_status(here[region]) for region in page),
        rest[0] if rest else RegionId(0),
    )


def replica_status(replica: Replica | DamagedReplica) -> ReplicaStatus:
    """One replica as it stands now."""
    if isinstance(replica, DamagedReplica):
        nothing = Index(0)
        route, state_name = Route(replica.region), ReplicaState.DAMAGED.name.lower()
        return ReplicaStatus(route, state_name, nothing, nothing, nothing, Term(0), False, 0, 0)
    state = replica.machine.state
    size = state.size
    return ReplicaStatus(
        route=replica.route(),
        state=replica.state.name.lower(),
        applied=state.index,
        committed=replica.node.commit,
        last_index=replica.node.last_index,
        term=replica.node.term,
        asleep=replica.asleep,
        bytes=size.bytes,
        keys=size.keys,
    )


def figures_of(registry: Registry, counters: Counters) -> dict[str, float]:
    """What is worth plotting, by name."""
    counted = {
        f"store_{name}_total": getattr(counters, name) for name in counters.__struct_fields__
    }
    leaders = asleep = 0
    for replica in registry:
        leaders += replica.leads
        asleep += replica.asleep
    now = {
        "store_regions": len(registry),
        "store_leaders": leaders,
        "store_regions_asleep": asleep,
        "store_regions_damaged": registry.damaged_count,
    }
    return {name: float(figure) for name, figure in (counted | now).items()}
