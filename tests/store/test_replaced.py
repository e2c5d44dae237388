"""A replica that is lost is told of, and another one takes its place, on the same store or not."""

import pytest

from flaredb.disk.layout import applied_key, region_key
from flaredb_schemas.ids import PeerId
from flaredb_schemas.regions import Region
from tests.store.group import Group
from tests.store.member import Member
from tests.store.merging import lead_from
from tests.store.moving import drop, is_clean, join, led, replace_peer, tombstones
from tests.store.splitting import PARENT, check_agreement, check_rows, filled, ids
from tests.store.test_damage import damage
from tests.store.test_moves import NEW, follower, forgets, holders, spare


def told_lost(group: Group) -> set[PeerId]:
    """Which peers the parent's leader has last reported to be lost."""
    leader = group.wait_for_leader(PARENT)
    reports = [one for beat in leader.heartbeats for one in beat.regions if one.id == PARENT]
    return set(reports[-1].lost) if reports else set()


def restart_damaged(group: Group, member: Member, key: bytes) -> PeerId:
    """A record of the member's replica goes bad; which peer that was."""
    peer = member.replica(PARENT).peer
    group.until(lambda: member.store.is_settled)
    member.stop()
    damage(member.contents.rows, key)
    member.start()
    assert PARENT in member.store.registry.damaged
    return peer


@pytest.mark.parametrize("key", [applied_key(PARENT), region_key(PARENT)])
def test_a_damaged_replica_is_told_of_and_replaced(key: bytes) -> None:
    group = filled(spare=1)
    old, new = follower(group), spare(group)
    keys = led(group, PARENT).keys
    peer = restart_damaged(group, old, key)
    group.put(PARENT, b"k05", b"of k05")
    group.until(lambda: told_lost(group) == {peer})
    join(group, PARENT, new, NEW)
    replace_peer(group, PARENT, PeerId(NEW), peer)
    drop(group, PARENT, peer)
    forgets(group)
    assert not old.store.registry.damaged and ids(old) == []
    if key != region_key(PARENT):  # else not even its range can be read
        group.until(lambda: is_clean(old, PARENT, keys))
    check_agreement(group, holders(group))
    check_rows(group)


def test_a_store_gets_a_new_replica_in_place_of_its_damaged_one() -> None:
    """By way of another store: a store holds one peer of a region at most."""
    group = filled(spare=1)
    old, new = follower(group), spare(group)
    peer = restart_damaged(group, old, applied_key(PARENT))
    join(group, PARENT, new, NEW)
    replace_peer(group, PARENT, PeerId(NEW), peer)
    drop(group, PARENT, peer)
    forgets(group)
    join(group, PARENT, old, NEW + 1)
    replace_peer(group, PARENT, PeerId(NEW + 1), PeerId(NEW))
    drop(group, PARENT, PeerId(NEW))
    forgets(group)
    check_agreement(group, holders(group))
    assert ids(old) == [PARENT]
    check_rows(group)


def test_nothing_is_born_on_the_log_of_one_that_is_still_on_the_disk() -> None:
    """It cannot be read whose it was, so no range is cleaned, which would be waited for."""
    group = filled(spare=1)
    old, new = follower(group), spare(group)
    peer = restart_damaged(group, old, region_key(PARENT))
    join(group, PARENT, new, NEW)
    replace_peer(group, PARENT, PeerId(NEW), peer)
    old.saves_every = 100
    drop(group, PARENT, peer)
    group.until(lambda: PARENT not in old.store.registry.damaged)
    assert PARENT in old.store.registry.buried
    join(group, PARENT, old, NEW + 1)
    group.until(lambda: PARENT in ids(old))
    assert not old.store.registry.buried
    assert old.replica(PARENT).log.last == 0
    old.saves_every = 1
    check_agreement(group, holders(group))


def test_a_replica_that_is_gone_without_a_word_is_told_of() -> None:
    """Its store does not know it any more, although it has acknowledged entries."""
    group = filled()
    old = follower(group)
    peer = old.replica(PARENT).peer
    group.until(lambda: old.store.is_settled)
    forget(old, led(group, PARENT))
    group.until(lambda: told_lost(group) == {peer})


def forget(member: Member, region: Region) -> None:
    """What no store does: lose a replica, and nothing else."""
    registry = member.store.registry
    replica = registry.get(region.id)
    assert replica is not None
    registry.remove(region.id)
    member.store._context.wheel.forget(region.id)


def test_a_voter_that_its_store_has_buried_is_told_of_by_whoever_is_elected_later() -> None:
    """It has acknowledged nothing to that leader, and never will."""
    group = filled()
    old = follower(group)
    peer = old.replica(PARENT).peer
    old.store._parts.removing.left(old.replica(PARENT))
    group.until(lambda: tombstones(old, PARENT) == 1)
    third = follower(group, old)
    lead_from(group, PARENT, third)
    group.until(lambda: told_lost(group) == {peer})
    assert third.replica(PARENT).node.status().progress[peer].match == 0
    assert ids(old) == []
