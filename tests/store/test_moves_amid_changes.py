"""Peers come and leave while the regions are split and merged."""

from flaredb.store.records import ReplicaState
from flaredb_schemas.events import MergeRolledBack
from flaredb_schemas.ids import PeerId
from tests.store.group import Group
from tests.store.member import Member
from tests.store.merging import want_merge
from tests.store.moving import drop, is_clean, join, led, move, replace_peer
from tests.store.splitting import PARENT, check_agreement, check_rows, filled, ids
from tests.store.test_merge import events, halves
from tests.store.test_moves import NEW, follower, forgets, holders, spare


def agreed(member: Member, region: int) -> bool:
    """Whether the region has agreed to be merged, as far as is applied there."""
    replica = next(one for one in member.store.registry if one.id == region)
    return replica.machine.state.merging is not None


def test_who_leaves_the_target_takes_what_it_absorbed_along() -> None:
    """Nobody else could tell the source's replica there that its region is no more."""
    group, left, right = halves(spare=1)
    late, new = absent(group, left.id), spare(group)
    group.loses = lambda to, region, _: to == late.id and region == left.id
    wish = want_merge(group, right.id, left.id)
    group.until(lambda: wish in group.merges)
    assert not group.merges[wish]
    group.until(lambda: agreed(late, right.id))
    peer = late.replica(left.id).peer
    join(group, left.id, new, NEW)
    replace_peer(group, left.id, PeerId(NEW), peer)
    drop(group, left.id, peer)
    assert sorted(ids(late)) == [left.id, right.id]
    group.loses = lambda *frame: False
    group.until(lambda: not led(group, left.id).removed)
    assert ids(late) == []
    group.until(lambda: is_clean(late, left.id, led(group, left.id).keys))
    group.regions = {left.id: led(group, left.id)}
    check_agreement(group, [one for one in group.members.values() if one is not late])
    check_rows(group)


def absent(group: Group, region: int) -> Member:
    """A store with a replica that does not lead `region`."""
    return next(
        one
        for one in group.members.values()
        if any(replica.id == region and not replica.leads for replica in one.store.registry)
    )


def test_a_target_whose_peers_change_absorbs_nothing() -> None:
    """The source has agreed to be a part of the target as it was, and goes on by itself."""
    group, left, right = halves(spare=1)
    late = absent(group, right.id)
    group.loses = lambda to, region, _: to == late.id and region == right.id
    wish = want_merge(group, right.id, left.id)
    leader = group.wait_for_leader(left.id)
    group.until(lambda: agreed(leader, right.id))
    join(group, left.id, spare(group), NEW)
    group.until(lambda: wish in group.merges)
    assert group.merges[wish]
    group.loses = lambda *frame: False
    group.until(lambda: bool(events(group, MergeRolledBack)))
    group.until(lambda: not any(agreed(one, right.id) for one in list(group.members.values())[:3]))
    group.put(right.id, b"k15", b"of k15")
    check_rows(group)


def test_a_region_is_split_while_a_replica_of_it_comes() -> None:
    """The new peer gets the parent's rows as they are after the split, and a child of its own."""
    group = filled(spare=1)
    new = spare(group)
    group.loses = lambda to, _, is_snapshot: to == new.id and is_snapshot
    join(group, PARENT, new, NEW)
    parent, child = group.split(PARENT, b"k10")
    assert new.id in child.stores
    group.loses = lambda *frame: False
    check_agreement(group, holders(group))
    assert ids(new) == [parent.id, child.id]
    assert all(replica.state is ReplicaState.LIVE for replica in new.store.registry)
    check_rows(group)


def test_regions_that_were_moved_together_are_merged() -> None:
    group, left, right = halves(spare=1)
    old, new = absent(group, left.id), spare(group)
    for number, region in enumerate((left, right)):
        move(group, region.id, old, new, NEW + number)
        group.until(lambda region=region: not led(group, region.id).removed)  # type: ignore[misc]
    wish = want_merge(group, right.id, left.id)
    group.until(lambda: wish in group.merges)
    assert not group.merges[wish], group.merges[wish]
    group.regions = {left.id: led(group, left.id)}
    check_agreement(group, [one for one in group.members.values() if one is not old])
    check_rows(group)


def test_a_snapshot_tells_a_store_that_was_away_of_all_changes_at_once() -> None:
    group = filled(spare=1, log_keep_entries=2, log_max_bytes=4096)
    old, new = follower(group), spare(group)
    late = follower(group, old)
    late.cut_off = True
    move(group, PARENT, old, new, NEW)
    for number in range(20):
        group.put(PARENT, b"k%02d" % number, b"of k%02d" % number)
    late.cut_off = False
    forgets(group)
    check_agreement(group, holders(group))
    assert late.replica(PARENT).node.configuration == new.replica(PARENT).node.configuration
