"""What a store says of itself when it is asked: its replicas, in order of region id."""

from flaredb.store.context import Context
from flaredb.store.replica import Replica
from flaredb_schemas.ids import RegionId
from flaredb_schemas.requests import ReplicaStatus, StoreStatusAnswer, StoreStatusRequest

REPLICAS_PER_ANSWER = 500


def store_status(context: Context, request: StoreStatusRequest) -> StoreStatusAnswer:
    """One page of the replicas here, from `request.first` on."""
    replicas = sorted(
        (replica for replica in context.registry if replica.id >= request.first),
        key=lambda replica: replica.id,
    )
    page, rest = replicas[:REPLICAS_PER_ANSWER], replicas[REPLICAS_PER_ANSWER:]
    return StoreStatusAnswer(
        request.number,
        context.me.store,
        tuple(replica_status(replica) for replica in page),
        rest[0].id if rest else RegionId(0),
    )


def replica_status(replica: Replica) -> ReplicaStatus:
    """One replica as it stands now."""
    state = replica.machine.state
    return ReplicaStatus(
        route=replica.route(),
        state=replica.state.name.lower(),
        applied=state.index,
        committed=replica.node.commit,
        last_index=replica.node.last_index,
        term=replica.node.term,
        asleep=replica.asleep,
        bytes=state.bytes,
        keys=state.keys,
    )
