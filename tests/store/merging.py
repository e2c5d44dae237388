"""What tests about merges do to a group of stores."""

from flaredb_schemas.ids import RegionId
from flaredb_schemas.merges import OrderMerge
from flaredb_schemas.placement import TransferLeader
from flaredb_schemas.regions import Region
from tests.store.group import Group
from tests.store.member import Member


def lead_from(group: Group, region: RegionId, member: Member) -> None:
    """Have `member` lead `region`."""

    def leads() -> bool:
        leader = group.wait_for_leader(region)
        replica = leader.replica(region)
        peer = replica.region.peer_on(member.id)
        if leader is not member and peer is not None and not replica.node.transfer_target:
            body = TransferLeader(region, replica.region.epoch, replica.peer, peer.id)
            group.order(leader, body)
        return leader is member

    group.until(leads)


def want_merge(group: Group, source: RegionId, target: RegionId) -> int:
    """Have whoever leads `target` lead `source` too, and merge them; the wish's number."""
    leader = group.wait_for_leader(target)
    lead_from(group, source, leader)
    return order_merge(group, leader, source, target)


def order_merge(group: Group, leader: Member, source: RegionId, target: RegionId) -> int:
    """Have `leader`, who leads both, merge them; the wish's number."""
    mine, other = leader.replica(source), leader.replica(target)
    body = OrderMerge(
        source,
        mine.region.epoch,
        mine.peer,
        target,
        other.region.epoch,
        group.next_wish(),
        "manual",
        group.wall(),
    )
    group.order(leader, body)
    return body.nonce


def merge(group: Group, source: RegionId, target: RegionId) -> Region:
    """Merge `source` into `target`, and wait until that is done."""
    wish = want_merge(group, source, target)
    group.until(lambda: wish in group.merges)
    assert not group.merges[wish], group.merges[wish]
    region = group.wait_for_leader(target).replica(target).region
    group.regions.pop(source, None)
    group.regions[target] = region
    return region
