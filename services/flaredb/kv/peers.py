"""Changes of a region's peers in the state machine: who they are from an entry's place on.

What a change names takes effect at the very `conf_ver` for which it was proposed, so of two that
were proposed for one the first counts. A change that needs two majorities opens a joint state; the
entry that ends it names nobody: the roles say what each peer becomes.
"""

from collections.abc import Container
from typing import Final

from msgspec.structs import replace

from flaredb_schemas.events import PeersChanged, entry_event_id
from flaredb_schemas.ids import PeerId
from flaredb_schemas.membership import PeersChange
from flaredb_schemas.regions import Epoch, Peer, PeerRole, Region
from flaredb_schemas.reported import report_peers
from flaredb_schemas.sessions import AppliedState

_AFTER_JOINT: Final = {
    PeerRole.INCOMING_VOTER: PeerRole.VOTER,
    PeerRole.DEMOTING_VOTER: PeerRole.LEARNER,
}

LEAVES_JOINT: Final = "leaves the joint state"
"""The reason of the change that a leader makes by itself."""


def is_joint(region: Region) -> bool:
    """Whether two majorities of the region's peers count."""
    return any(peer.role in _AFTER_JOINT for peer in region.peers)


def is_void(region: Region, state: AppliedState, change: PeersChange | None) -> bool:
    """Whether the change (None: out of the joint state) comes too late to take effect."""
    if state.merging is not None:
        return True
    if change is None:
        return not is_joint(region)
    return change.conf_ver != region.epoch.conf_ver


def changed(region: Region, change: PeersChange | None) -> Region:
    """The region with its new peers; those that are members no more are to be removed."""
    peers = _settled(region) if change is None else change.peers
    members = {peer.id for peer in peers}
    gone = tuple(peer for peer in region.peers if peer.id not in members)
    epoch = Epoch(region.epoch.conf_ver + 1, region.epoch.version)
    return replace(region, epoch=epoch, peers=peers, removed=region.removed + gone)


def _settled(region: Region) -> tuple[Peer, ...]:
    return tuple(
        Peer(peer.id, peer.store, _AFTER_JOINT.get(peer.role, peer.role)) for peer in region.peers
    )


def forgotten(region: Region, peers: Container[PeerId]) -> Region:
    """The region without these of its removed peers: nothing is left of them."""
    return replace(region, removed=tuple(one for one in region.removed if one.id not in peers))


def peers_event(region: Region, state: AppliedState, change: PeersChange | None) -> PeersChanged:
    """The event of a change, after which the region is `region`."""
    return PeersChanged(
        id=entry_event_id(region.id, state.term, state.index, "peers_changed", 0),
        at=change.time if change is not None else state.time,
        region=region.id,
        term=state.term,
        index=state.index,
        version=region.epoch.version,
        conf_ver=region.epoch.conf_ver,
        peers=report_peers(region.peers),
        removed=report_peers(region.removed),
        operator=change.operator if change is not None else 0,
        reason=change.reason if change is not None else LEAVES_JOINT,
    )
