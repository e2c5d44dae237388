"""After healing things must move: what is still stuck after a while, and why."""

from collections.abc import Sequence

from flaredb.raft.progress import ProgressState
from flaredb.store.records import ReplicaState
from flaredb.store.store import Store
from flaredb_schemas.ids import RegionId


def find_stuck(stores: Sequence[Store]) -> list[str]:
    """Why the cluster is not at rest; empty when it is."""
    reasons: list[str] = []
    leaders: set[RegionId] = set()
    applied: dict[RegionId, set[int]] = {}
    for store in stores:
        for replica in store.registry:
            applied.setdefault(replica.id, set()).add(replica.machine.state.index)
            if replica.leads:
                leaders.add(replica.id)
            reasons += [f"store {store.me.store}: {why}" for why in _why(replica)]
        if not store.is_settled:
            reasons.append(f"store {store.me.store} has something to save or to publish")
    reasons += [f"region {region} has no leader" for region in applied if region not in leaders]
    reasons += [
        f"region {region} is applied up to {sorted(indexes)}"
        for region, indexes in applied.items()
        if len(indexes) > 1
    ]
    return reasons


def _why(replica: object) -> list[str]:
    from flaredb.store.replica import Replica

    assert isinstance(replica, Replica)
    name = f"region {replica.id}"
    reasons = []
    if replica.state is not ReplicaState.LIVE:
        reasons.append(f"{name} is {replica.state.name}")
    if len(replica.outbox):
        reasons.append(f"{name} has {len(replica.outbox)} events in its outbox")
    if replica.snapshot_floor:
        reasons.append(f"{name} is sending a snapshot")
    if replica.leads:
        for peer, item in replica.node.status().progress.items():
            if item.state is ProgressState.SNAPSHOT:
                reasons.append(f"{name}: peer {peer} waits for a snapshot")
    return reasons
