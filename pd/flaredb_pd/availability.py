"""Whether a region can serve, by the stores that PD hears."""

from collections.abc import Iterable

from flaredb_pd.watch import StoreWatch
from flaredb_schemas.pd_answers import RegionState
from flaredb_schemas.regions import Peer, PeerRole, Region

_OUTGOING = (PeerRole.VOTER, PeerRole.DEMOTING_VOTER)
_INCOMING = (PeerRole.VOTER, PeerRole.INCOMING_VOTER)


def region_state(region: Region, watch: StoreWatch) -> RegionState:
    """`unavailable` without a majority of its voters (amid a change of members, of the voters
    before or after it) on stores that are up, `degraded` with a majority only."""
    if all(watch.health(peer.store) == "up" for peer in region.peers):
        return "available"
    sides = (
        [peer for peer in region.peers if peer.role in roles] for roles in (_OUTGOING, _INCOMING)
    )
    return "degraded" if all(_has_majority(side, watch) for side in sides) else "unavailable"


def _has_majority(voters: Iterable[Peer], watch: StoreWatch) -> bool:
    up = [watch.health(peer.store) == "up" for peer in voters]
    return 2 * sum(up) > len(up)
