"""Whether a region can serve, by the stores that PD hears."""

from collections.abc import Callable, Iterable

from flaredb_pd.watch import StoreWatch
from flaredb_schemas.ids import StoreId
from flaredb_schemas.pd_answers import RegionState
from flaredb_schemas.regions import Peer, PeerRole, Region

_OUTGOING = (PeerRole.VOTER, PeerRole.DEMOTING_VOTER)
_INCOMING = (PeerRole.VOTER, PeerRole.INCOMING_VOTER)


IsUp = Callable[[StoreId], bool]
"""Whether PD hears a store."""


def region_state(region: Region, watch: StoreWatch) -> RegionState:
    """`unavailable` without a majority of its voters (amid a change of members, of the voters
    before or after it) on stores that are up, `degraded` with a majority only."""

    def is_up(store: StoreId) -> bool:
        return watch.health(store) == "up"

    if all(is_up(peer.store) for peer in region.peers):
        return "available"
    return "degraded" if can_decide(region, is_up) else "unavailable"


def can_decide(region: Region, is_up: IsUp) -> bool:
    """Whether a majority of the voters, before and after a change of members amid one, is up."""
    sides = (
        [peer for peer in region.peers if peer.role in roles] for roles in (_OUTGOING, _INCOMING)
    )
    return all(has_majority(side, is_up) for side in sides)


def has_majority(voters: Iterable[Peer], is_up: IsUp) -> bool:
    """Whether more than half of these are on stores that are up; none are no majority."""
    up = [is_up(peer.store) for peer in voters]
    return 2 * sum(up) > len(up)
