"""Whether two regions that are led here may become one now, as far as this store can tell. Pure."""

from typing import Final

from flaredb.kv.merge import pair_fault
from flaredb.raft.progress import ProgressState
from flaredb.store.records import ReplicaState
from flaredb.store.replica import Replica
from flaredb_schemas.commands import PrepareMerge
from flaredb_schemas.ids import Term
from flaredb_schemas.merges import OrderMerge
from flaredb_schemas.regions import PeerRole

MOST_BEHIND: Final = 16
"""How many entries a peer may be behind when its region agrees to be merged."""


def obstacle(source: Replica | None, target: Replica | None, body: OrderMerge) -> str:
    """Why the merge cannot begin from here; empty if it may be able to."""
    for replica, region in ((source, body.region), (target, body.target)):
        if replica is None or replica.state is not ReplicaState.LIVE or not replica.leads:
            return f"this store does not lead region {region}"
    assert source is not None and target is not None
    if source.peer != body.leader or source.region.epoch != body.epoch:
        return f"region {body.region} is not what it was any more"
    if target.region.epoch != body.target_epoch:
        return f"region {body.target} is not what it was any more"
    return pair_fault(target.region, source.region) or ""


def unfit(replica: Replica) -> str:
    """Why the region had better not be merged now; empty if it may."""
    region, node = replica.region, replica.node
    if replica.machine.state.merging is not None:
        return f"region {region.id} is being merged already"
    if any(isinstance(known.command, PrepareMerge) for known in replica.proposals.values()):
        return f"region {region.id} is about to be merged"
    if replica.machine.state.term != node.term:
        return f"region {region.id} has only just got its leader"
    if any(peer.role is not PeerRole.VOTER for peer in region.peers) or region.removed:
        return f"the peers of region {region.id} are being changed"
    if replica.snapshot_floor or replica.held:
        return f"region {region.id} is sending a snapshot, or is being checked"
    for peer, item in node.status().progress.items():
        behind = node.last_index - item.match
        away = item.state is not ProgressState.REPLICATE or not item.recent_active
        if peer != replica.peer and (away or behind > MOST_BEHIND):
            store = replica.store_of(peer)
            return f"store {store}, which holds region {region.id}, is away or behind"
    return ""


def cannot_agree(source: Replica, body: OrderMerge, proposed: Term) -> bool:
    """Whether an agreement that was proposed in that term, and not applied, will never be.

    It names an epoch; and terms rise along a log, so none follows on an entry of a later one.
    """
    return source.region.epoch != body.epoch or source.machine.state.term > proposed
