"""Merges when replicas lag, are damaged, or are wanted in two ways at once."""

from msgspec.structs import replace

from flaredb.kv.merge import pair_fault
from flaredb.store.records import ReplicaState
from flaredb_schemas.commands import CommitMerge, PrepareMerge
from flaredb_schemas.ids import RegionId
from flaredb_schemas.splits import IN_DOUBT
from tests.store.group import Group
from tests.store.member import Member
from tests.store.merging import lead_from, order_merge, want_merge
from tests.store.splitting import check_agreement, check_rows
from tests.store.test_merge import away, halves, one_mute
from tests.store.troubles import damage


def test_two_regions_that_are_each_to_become_a_part_of_the_other_are_not_frozen_for_ever() -> None:
    """A new PD does not know what the one before it has ordered a moment ago."""
    group, left, right = halves()
    leader = group.wait_for_leader(left.id)
    lead_from(group, right.id, leader)
    wishes = (
        order_merge(group, leader, right.id, left.id),
        order_merge(group, leader, left.id, right.id),
    )
    group.until(lambda: all(wish in group.merges for wish in wishes))
    check_agreement(group)
    now = group.leader(left.id) or group.leader(right.id)
    assert now is not None
    group.regions = {one.id: one.region for one in now.store.registry}
    check_rows(group)


def deposed(group: Group) -> tuple[Member, RegionId, RegionId, int]:
    """Who leads both has proposed that the source agrees, which the others have, and is cut off.

    Target, source, and the wish's number.
    """
    left, right = group.regions.values()
    leader = group.wait_for_leader(left.id)
    lead_from(group, right.id, leader)
    others = [one for one in group.members.values() if one is not leader]

    def leave(_: Member) -> None:
        proposals = leader.replica(right.id).proposals
        for index, proposal in proposals.items():
            has = [one.replica(right.id).node.last_index >= index for one in others]
            if isinstance(proposal.command, PrepareMerge) and all(has):
                leader.cut_off = True

    group.watch = leave
    wish = order_merge(group, leader, right.id, left.id)
    group.until(lambda: leader.cut_off)
    group.watch = lambda member: None
    assert leader.replica(right.id).machine.state.merging is None
    return leader, left.id, right.id, wish


def test_a_merge_whose_leader_is_deposed_before_it_knows_is_not_told_as_refused() -> None:
    group, _, _ = halves()
    leader, _, source, wish = deposed(group)
    group.until(lambda: wish in group.merges)
    assert group.merges[wish].endswith(IN_DOUBT)
    others = [one for one in group.members.values() if one is not leader]
    assert all(one.replica(source).machine.state.merging for one in others), "it was agreed to"


def test_a_merge_whose_leader_was_deposed_is_told_as_done_once_that_is_known_there() -> None:
    group, _, _ = halves()
    leader, target, source, wish = deposed(group)
    group.until(lambda: not leader.replica(source).leads)
    assert wish not in group.merges
    leader.cut_off = False
    group.until(lambda: wish in group.merges)
    assert not group.merges[wish]
    check_agreement(group)
    group.regions = {target: leader.replica(target).region}
    check_rows(group)


def test_a_merge_that_was_proposed_and_lost_is_told_as_refused_once_that_is_known() -> None:
    group, left, right = halves()
    leader = group.wait_for_leader(left.id)
    lead_from(group, right.id, leader)
    leader.is_mute = True
    wish = order_merge(group, leader, right.id, left.id)
    group.until(lambda: group.leader(right.id) not in (None, leader))
    group.put(right.id, b"k15", b"of k15")
    leader.is_mute = False
    group.until(lambda: wish in group.merges)
    assert group.merges[wish] == "the region did not agree to it"
    check_agreement(group)
    check_rows(group)


def test_a_target_that_is_behind_is_not_taken_for_one_that_has_moved_on() -> None:
    """The replica beside the source's new leader does not know the epoch that was named yet."""
    group, left, right = halves()
    leader = group.wait_for_leader(left.id)
    lead_from(group, right.id, leader)
    behind, third = (one for one in group.members.values() if one is not leader)
    lost = {right.id}
    group.loses = lambda to, region, _: to == behind.id and region in lost
    kept, _ = group.split(right.id, b"k15")
    assert behind.replica(right.id).region.epoch != kept.epoch
    lead_from(group, left.id, leader)

    def leave(_: Member) -> None:
        replica = leader.store.registry.get(right.id)
        if replica is None or leader.cut_off:
            return
        for index, proposal in replica.proposals.items():
            committing = isinstance(proposal.command, CommitMerge)
            if committing and third.replica(right.id).node.last_index >= index:
                leader.cut_off = True

    group.watch = leave
    want_merge(group, left.id, right.id)
    group.until(lambda: leader.cut_off)
    group.watch = lambda member: None
    # The one that is behind hears of the target again only when it has led the source for a while.
    lead_from(group, left.id, behind)
    until = group.now + 2
    group.until(lambda: group.now > until)
    lost.clear()
    leader.cut_off = False
    group.until(lambda: third.replica(right.id).region.epoch != kept.epoch)
    check_agreement(group)
    now = group.wait_for_leader(right.id)
    group.regions = {one.id: one.region for one in now.store.registry}
    check_rows(group)


def test_a_part_of_the_target_that_comes_by_snapshot_leaves_the_source_for_the_target() -> None:
    """The target's log still says, on a store that was away, that it absorbs the source."""
    settings = {"log_keep_entries": 12, "log_max_bytes": 2048}
    group, late, target, _ = away(settings)
    _, child = group.split(target, b"k15")
    for number in range(16):
        for key in (b"k15", b"k16", b"k17", b"k18", b"k19"):
            group.put(child.id, key, b"%d" % number * 20)
    for key in (b"k15", b"k16", b"k17", b"k18", b"k19"):
        group.put(child.id, key, b"of " + key)
    # The child's snapshot is faster than the target's entries.
    lost = {target}
    group.loses = lambda to, region, _: to == late.id and region in lost
    late.cut_off = False
    until = group.now + 5
    group.until(lambda: group.now > until or late.store.registry.get(child.id) is not None)
    until = group.now + 2
    group.until(lambda: group.now > until)
    lost.clear()
    until = group.now + 5
    group.until(lambda: group.now > until)
    assert all(one.state is not ReplicaState.DAMAGED for one in late.store.registry)
    check_agreement(group)
    check_rows(group)


def test_a_source_whose_snapshot_is_being_installed_learns_of_no_commit_before() -> None:
    """Else it would know more than the snapshot, and could never go live with it."""
    group, left, right = halves()
    leader = group.wait_for_leader(right.id)
    late = next(one for one in group.members.values() if one is not leader)
    source, target = late.replica(right.id), late.replica(left.id)
    # It is cut off as soon as it has the entry, so that it does not hear that it is committed.
    seen = source.node.last_index
    group.watch = lambda _: setattr(late, "cut_off", late.cut_off or source.node.last_index > seen)
    group.put(right.id, b"z", b"1")
    group.until(lambda: late.cut_off)
    index, epoch = source.node.last_index, target.region.epoch
    assert source.node.status().commit < index
    named = epoch.conf_ver, epoch.version, source.id, index, source.node.status().term
    command = CommitMerge(group.wall(), *named, "manual", group.wall())
    source.state = ReplicaState.INSTALLING
    late.store._parts.merging.source(target, command)
    assert source.node.status().commit < index
    source.state = ReplicaState.LIVE
    late.store._parts.merging.source(target, command)
    assert source.node.status().commit == index


def frozen(group: Group) -> tuple[Member, RegionId, RegionId]:
    """A source that has agreed and waits for one peer to say that it knows; target, source."""
    left, right = group.regions.values()
    leader = group.wait_for_leader(left.id)
    lead_from(group, right.id, leader)
    mute = one_mute(group, right.id)
    want_merge(group, right.id, left.id)
    group.until(lambda: leader.replica(right.id).machine.state.merging is not None)
    mute.is_mute = False
    return leader, left.id, right.id


def is_over(group: Group, source: RegionId) -> bool:
    """Whether whoever leads the source knows of no merge, or nobody leads it any more."""
    leader = group.leader(source)
    return leader is None or leader.replica(source).machine.state.merging is None


def test_a_source_is_not_frozen_for_ever_when_the_target_beside_its_leader_is_damaged() -> None:
    group, _, _ = halves()
    leader, target, source = frozen(group)
    damage(leader, target)
    group.until(lambda: group.leader(target) not in (None, leader))
    group.until(lambda: is_over(group, source))


def test_a_source_is_not_frozen_for_ever_when_it_is_damaged_beside_the_targets_leader() -> None:
    group, _, _ = halves()
    leader, _, source = frozen(group)
    damage(leader, source)
    group.until(lambda: group.leader(source) not in (None, leader))
    group.until(lambda: is_over(group, source))


def test_neighbours_that_were_split_and_merged_often_are_merged_again() -> None:
    """Both have absorbed the same: they name no more together than each by itself."""
    _, left, right = halves()
    known = tuple(RegionId(number) for number in range(5_000, 5_200))
    assert pair_fault(replace(left, absorbed=known), replace(right, absorbed=known)) is None
