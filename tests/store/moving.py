"""What tests about peers do: change them as PD would, and look for what those who left behind."""

from collections.abc import Iterable

from flaredb.disk.layout import (
    APPLIED,
    HARD_STATE,
    LOG,
    OUTBOX,
    REGION,
    SESSION,
    TOMBSTONE,
    data_rows,
    region_rows,
)
from flaredb_schemas.ids import PeerId, RegionId
from flaredb_schemas.keys import KeyRange
from flaredb_schemas.membership import OrderPeers
from flaredb_schemas.regions import Peer, PeerRole, Region
from tests.store.group import Group
from tests.store.member import Member
from tests.store.merging import lead_from

LEARNER = PeerRole.LEARNER
STEPS_BETWEEN_ORDERS = 10


def led(group: Group, region: RegionId) -> Region:
    """The region as its leader has applied it."""
    return group.wait_for_leader(region).replica(region).region


def order_peers(group: Group, region: RegionId, peers: Iterable[Peer]) -> None:
    """Order whoever leads, once."""
    leader = group.wait_for_leader(region)
    known = leader.replica(region)
    body = OrderPeers(region, known.region.epoch, known.peer, tuple(peers), 7, "moved by a test")
    group.order(leader, body)


def change_peers(group: Group, region: RegionId, peers: Iterable[Peer]) -> None:
    """Order it until the region has these peers, out of any joint state."""
    wanted = set(peers)
    steps = 0

    def is_done() -> bool:
        nonlocal steps
        if group.leader(region) is not None and steps % STEPS_BETWEEN_ORDERS == 0:
            order_peers(group, region, wanted)
        steps += 1
        return set(led(group, region).peers) == wanted

    group.until(is_done)


def join(group: Group, region: RegionId, member: Member, peer: int) -> Peer:
    """`member` gets a replica of the region, which learns."""
    learner = Peer(PeerId(peer), member.id, LEARNER)
    change_peers(group, region, (*led(group, region).peers, learner))
    return learner


def replace_peer(group: Group, region: RegionId, learner: PeerId, voter: PeerId) -> None:
    """The learner becomes a voter, and the voter a learner, at once."""
    roles = {learner: PeerRole.VOTER, voter: LEARNER}
    peers = led(group, region).peers
    turned = [Peer(peer.id, peer.store, roles.get(peer.id, peer.role)) for peer in peers]
    change_peers(group, region, turned)


def drop(group: Group, region: RegionId, peer: PeerId) -> None:
    """A learner leaves."""
    peers = led(group, region).peers
    change_peers(group, region, [one for one in peers if one.id != peer])


def move(group: Group, region: RegionId, from_: Member, to: Member, peer: int) -> None:
    """All steps of a move."""
    join(group, region, to, peer)
    known = led(group, region).peer_on(from_.id)
    assert known is not None
    if group.wait_for_leader(region) is from_:
        stores = led(group, region).stores
        others = [one for one in group.members.values() if one.id in stores and not one.cut_off]
        lead_from(group, region, next(one for one in others if one not in (from_, to)))
    replace_peer(group, region, PeerId(peer), known.id)
    drop(group, region, known.id)


def is_clean(member: Member, region: RegionId, keys: KeyRange) -> bool:
    """Whether nothing is left of the region but that it was there."""
    view = member.disk.view
    kinds = (APPLIED, HARD_STATE, LOG, OUTBOX, REGION, SESSION)
    rows = any(list(view.scan(*region_rows(kind, region))) for kind in kinds)
    data = list(view.scan(*data_rows(keys)))
    return not rows and not data and not member.store.registry.cleaning


def tombstones(member: Member, region: RegionId) -> int:
    """How many peers of the region lie here."""
    return len(list(member.disk.view.scan(*region_rows(TOMBSTONE, region))))
