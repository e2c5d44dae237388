"""After healing things must move: what is still stuck after a while, and why."""

from collections.abc import Sequence

from flaredb.disk.memory_disk import MemoryDisk
from flaredb.raft.progress import ProgressState
from flaredb.store.records import ReplicaState
from flaredb.store.replica import Replica
from flaredb.store.store import Store
from flaredb_schemas.ids import RegionId
from flaredb_schemas.regions import PeerRole, Region

Running = Sequence[tuple[Store, MemoryDisk]]


def find_leaderless(stores: Running) -> list[str]:
    """Which regions with a live majority have no leader."""
    hosted: dict[RegionId, list[Replica]] = {}
    for store, _ in stores:
        for replica in store.registry:
            hosted.setdefault(replica.id, []).append(replica)
    return [
        f"region {region} has no leader"
        for region, replicas in sorted(hosted.items())
        if _has_majority(_newest(replicas), replicas) and not any(one.leads for one in replicas)
    ]


def _newest(replicas: Sequence[Replica]) -> Region:
    """The record of the newest epoch: others may not know yet that they have left."""
    regions = [replica.region for replica in replicas]
    return max(regions, key=lambda region: (region.epoch.conf_ver, region.epoch.version))


def find_left_behind(stores: Running) -> list[str]:
    """What is left of peers that have left, and which members are nowhere."""
    reasons = []
    hosts = {store.me.store: store for store, _ in stores}
    leading = [one for store, _ in stores for one in store.registry if one.leads]
    members = {peer.id for replica in leading for peer in replica.region.peers}
    for number, store in hosts.items():
        if store.registry.cleaning:
            reasons.append(f"store {number} is cleaning up: {store.registry.cleaning}")
        for replica in store.registry:
            if replica.peer not in members:
                reasons.append(f"store {number}: peer {replica.peer} has left its region")
    for replica in leading:
        # Of a store that is lost for good nobody will ever hear that it has cleaned up.
        owing = [peer for peer in replica.region.removed if peer.store in hosts]
        if owing:
            reasons.append(f"region {replica.id}: {owing} have not been confirmed to be gone")
        for peer in replica.region.peers:
            host = hosts.get(peer.store)
            if host is None:
                continue  # PD waits for it
            if peer.role is not PeerRole.VOTER:
                reasons.append(f"region {replica.id}: peer {peer.id} is {peer.role.name}")
            elif host.registry.get(replica.id) is None:
                reasons.append(f"region {replica.id}: peer {peer.id} is not on its store")
    return reasons


def find_stuck(stores: Running) -> list[str]:
    """Why the cluster is not at rest; empty when it is."""
    reasons = find_leaderless(stores) + find_left_behind(stores)
    applied: dict[RegionId, set[int]] = {}
    for store, disk in stores:
        for replica in store.registry:
            applied.setdefault(replica.id, set()).add(replica.machine.state.index)
            reasons += [f"store {store.me.store}: {why}" for why in _why(replica)]
        if not store.is_settled:
            reasons.append(f"store {store.me.store} has something to save or to publish")
        if len(store._parts.parking):
            reasons.append(f"store {store.me.store} keeps messages that came too early")
        if disk.files.names():
            reasons.append(f"store {store.me.store} keeps files: {disk.files.names()}")
    reasons += [
        f"region {region} is applied up to {sorted(indexes)}"
        for region, indexes in applied.items()
        if len(indexes) > 1
    ]
    return reasons


def find_awake(stores: Running) -> list[str]:
    """Which replicas do not sleep, although nothing happens."""
    return [
        f"store {store.me.store}: region {replica.id} is awake"
        for store, _ in stores
        for replica in store.registry
        if not replica.asleep
    ]


def _has_majority(region: Region, replicas: Sequence[Replica]) -> bool:
    here = {replica.peer for replica in replicas}
    voters = [peer for peer in region.peers if peer.role is not PeerRole.LEARNER]
    return 2 * sum(peer.id in here for peer in voters) > len(voters)


def _why(replica: Replica) -> list[str]:
    name = f"region {replica.id}"
    reasons = []
    if replica.state is not ReplicaState.LIVE:
        reasons.append(f"{name} is {replica.state.name}")
    if len(replica.outbox):
        reasons.append(f"{name} has {len(replica.outbox)} events in its outbox")
    if replica.snapshot_floor:
        reasons.append(f"{name} is sending a snapshot")
    if replica.machine.state.merging is not None:
        reasons.append(f"{name} is being merged")
    if replica.held or replica.applying:
        reasons.append(f"{name} does not apply")
    if replica.proposals or len(replica.reads):
        reasons.append(f"{name} has calls that wait")
    if replica.leads:
        if replica.machine.state.estimated:
            reasons.append(f"{name} is not counted")
        for peer, item in replica.node.status().progress.items():
            if item.state is ProgressState.SNAPSHOT:
                reasons.append(f"{name}: peer {peer} waits for a snapshot")
    return reasons
