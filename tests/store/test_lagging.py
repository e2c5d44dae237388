"""A leadership is not handed to a peer that lacks much: no writes would be taken meanwhile."""

import pytest

from flaredb.raft.progress import ProgressState
from flaredb.runtime.settings import StoreSettings
from flaredb.store.lagging import FAR_BEHIND
from flaredb_schemas.ids import PeerId, RegionId
from flaredb_schemas.placement import TransferLeader
from flaredb_schemas.requests import WriteAnswer
from tests.store.group import Group
from tests.store.member import Member
from tests.store.regions import region

ONLY = RegionId(1)
FOR_EVER = 10**9


def leave_behind(group: Group, entries: int, *, heard: bool) -> tuple[Member, Member]:
    """The leader, and a store that has saved none of so many entries."""
    group.put(ONLY, b"a", b"first")
    leader = group.wait_for_leader(ONLY)
    late = next(one for one in group.members.values() if one is not leader)
    have = leader.replica(ONLY).node.last_index
    group.until(lambda: leader.replica(ONLY).node.status().progress[peer(late)].match == have)
    if heard:
        late.saves_every = FOR_EVER
    else:
        late.cut_off = True
    for number in range(entries):
        group.put(ONLY, b"a%03d" % number, b"value")
    return leader, late


def peer(member: Member) -> PeerId:
    return member.replica(ONLY).peer


def order_transfer(group: Group, leader: Member, to: Member) -> bool:
    """Whether the leader sets about handing over as PD has ordered."""
    replica, heir = leader.replica(ONLY), to.replica(ONLY).peer
    group.order(leader, TransferLeader(ONLY, replica.region.epoch, replica.peer, heir))
    asked = group.now + 0.05
    group.until(lambda: group.now > asked)
    return not replica.leads or replica.node.transfer_target == heir


@pytest.mark.parametrize(
    ("entries", "obeyed"), [(FAR_BEHIND - 1, True), (FAR_BEHIND, False), (2 * FAR_BEHIND, False)]
)
def test_one_that_lacks_many_entries_is_left_out_until_it_has_them(
    entries: int, obeyed: bool
) -> None:
    group = Group(StoreSettings(), (region(1, b"", b""),))
    leader, late = leave_behind(group, entries, heard=True)
    assert order_transfer(group, leader, late) == obeyed
    if not obeyed:
        assert isinstance(group.put_once(ONLY, b"b", b"served"), WriteAnswer)
    late.saves_every = 1
    group.until(lambda: order_transfer(group, group.wait_for_leader(ONLY), late))
    group.until(lambda: group.leader(ONLY) is late)


def test_one_that_is_brought_a_snapshot_is_left_out_until_it_has_that() -> None:
    group = Group(StoreSettings(log_keep_entries=1), (region(1, b"", b""),))
    leader, late = leave_behind(group, 100, heard=False)
    group.until(lambda: leader.replica(ONLY).log.start > late.replica(ONLY).log.last)
    leader.holds_jobs, late.cut_off = True, False
    progress = leader.replica(ONLY).node.status
    group.until(lambda: progress().progress[peer(late)].state is ProgressState.SNAPSHOT)
    assert not order_transfer(group, leader, late)
    assert isinstance(group.put_once(ONLY, b"b", b"served"), WriteAnswer)
    leader.holds_jobs = False
    group.until(lambda: order_transfer(group, group.wait_for_leader(ONLY), late))
    group.until(lambda: group.leader(ONLY) is late)
