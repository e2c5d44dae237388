"""Regions that sleep are merged like any other: idle ones are what is merged."""

from flaredb_schemas.placement import TransferLeader
from flaredb_schemas.regions import Region
from tests.store.group import Group
from tests.store.member import Member
from tests.store.merging import lead_from, order_merge
from tests.store.splitting import check_agreement, check_rows
from tests.store.test_merge import halves, one_mute


def all_asleep(group: Group) -> bool:
    members = group.members.values()
    return all(replica.asleep for member in members for replica in member.store.registry)


def check_merged(group: Group, leader: Member, left: Region, right: Region) -> None:
    """Order that `right` becomes a part of `left`, which nothing prevents."""
    wish = order_merge(group, leader, right.id, left.id)
    group.until(lambda: wish in group.merges)
    assert not group.merges[wish]
    group.regions = {left.id: leader.replica(left.id).region}
    check_agreement(group)
    check_rows(group)


def test_two_that_sleep_are_merged() -> None:
    group, left, right = halves(sleep_after_ms=500)
    leader = group.wait_for_leader(left.id)
    lead_from(group, right.id, leader)
    group.until(lambda: all_asleep(group))
    check_merged(group, leader, left, right)


def test_a_store_that_was_not_heard_when_they_fell_asleep_and_is_back_prevents_nothing() -> None:
    """It lacks nothing, so nobody has woken for it, and nobody has heard it in these regions."""
    group, left, right = halves(sleep_after_ms=2_000)
    leader = group.wait_for_leader(left.id)
    lead_from(group, right.id, leader)
    check_agreement(group)
    mute = one_mute(group, right.id)
    group.until(lambda: all_asleep(group))
    mute.is_mute = False
    pause = group.now + 2
    group.until(lambda: group.now > pause)
    assert all_asleep(group)
    check_merged(group, leader, left, right)


def test_a_leader_that_sleeps_hands_over_although_its_word_was_lost() -> None:
    """The two are led from different stores; PD repeats its order until that is not so."""
    group, left, right = halves(sleep_after_ms=500)
    leader = group.wait_for_leader(left.id)
    other = next(one for one in group.members.values() if one is not leader)
    lead_from(group, right.id, other)
    group.until(lambda: all_asleep(group))
    replica, to = other.replica(right.id), right.peer_on(leader.id)
    assert to is not None
    body = TransferLeader(right.id, replica.region.epoch, replica.peer, to.id)
    group.loses = lambda to, region, _: region == right.id
    group.order(other, body)
    group.until(lambda: replica.node.transfer_target == to.id)
    group.step()
    group.loses = lambda *frame: False
    group.until(lambda: not replica.node.transfer_target)

    def leads_when_ordered() -> bool:
        group.order(other, body)
        return group.leader(right.id) is leader

    group.until(leads_when_ordered)
