"""Who is a part of another region goes, unless a replica beside it has still to absorb it."""

import pytest
from msgspec.structs import replace

from flaredb.store.records import ReplicaState
from flaredb_schemas.frames import Removed
from flaredb_schemas.ids import RegionId, StoreId
from flaredb_schemas.regions import Region
from tests.store.group import Group
from tests.store.member import Member
from tests.store.merging import merge
from tests.store.moving import move
from tests.store.splitting import check_agreement, check_rows, filled, ids
from tests.store.test_fates import alone, tell


def thirds(**settings: int) -> tuple[Group, list[RegionId]]:
    """Three neighbours on three stores, in key order, with rows."""
    group = filled(**settings)
    first, second = group.split(RegionId(1), b"k07")
    _, third = group.split(second.id, b"k14")
    check_agreement(group, list(group.members.values())[:3])
    return group, [first.id, second.id, third.id]


def deaf(group: Group, region: RegionId) -> Member:
    """A store that does not lead the region, and hears nothing of it from now on."""
    leader = group.wait_for_leader(region)
    late = next(one for one in list(group.members.values())[:3] if one is not leader)
    group.loses = lambda to, about, _: to == late.id and about == region
    return late


def come_back(group: Group, late: Member, others: list[Member]) -> None:
    """The store hears of all again: nothing there was lost."""
    group.loses = lambda *frame: False
    for one in others:
        one.cut_off = False
    check_agreement(group)
    check_rows(group)
    assert all(one.state is ReplicaState.LIVE for one in late.store.registry)


def test_a_region_that_grew_leftwards_and_was_cut_is_no_part_of_the_one_behind_the_cut() -> None:
    group, (left, middle, right) = thirds()
    late = deaf(group, middle)
    merged = merge(group, left, middle)
    assert merged.keys.start == b""
    kept, child = group.split(middle, b"k07")
    assert kept.id == middle
    assert child.keys == late.replica(middle).region.keys
    assert child.epoch.version > late.replica(middle).region.epoch.version
    others = alone(group, late)
    tell(group, late, middle, child)
    assert {middle, right} <= set(ids(late))
    come_back(group, late, others)


def test_what_was_united_with_a_part_of_the_target_leaves_the_source_for_the_target() -> None:
    """It comes to the store by snapshot, names the source, and has never had a key of it."""
    group, (target, source, right) = thirds(spare=1)
    spare = list(group.members.values())[-1]
    late = deaf(group, target)
    merge(group, source, target)
    _, part = group.split(target, b"k10")
    for peer, region in ((700, part.id), (800, right)):
        move(group, region, late, spare, peer)
    merge(group, part.id, right)
    _, last = group.split(right, b"k14")
    assert source in last.absorbed
    move(group, last.id, spare, late, 900)
    assert ids(late) == [target, source, last.id], "the target has still to absorb it"
    group.loses = lambda *frame: False
    group.until(lambda: ids(late) == [target, last.id])
    group.until(lambda: late.replica(target).region == group.regions[target])
    assert all(one.state is ReplicaState.LIVE for one in late.store.registry)
    assert late.store.counters.snapshots_installed == 1
    check_rows(group)


def test_sources_in_a_line_wait_for_the_one_target_that_lags() -> None:
    group, (target, near, far) = thirds()
    late = deaf(group, target)
    merge(group, near, target)
    merge(group, far, target)
    whole = group.regions[target]
    assert set(whole.absorbed) == {near, far}
    assert ids(late) == [target, near, far]
    others = alone(group, late)
    for region in (near, far, near):
        tell(group, late, region, whole)
        assert ids(late) == [target, near, far]
    come_back(group, late, others)
    assert ids(late) == [target]
    assert late.store.counters.snapshots_installed == 0


def test_sources_in_a_line_go_together_when_nobody_here_is_to_absorb_them() -> None:
    group, (target, near, far) = thirds()
    late = deaf(group, target)
    merge(group, near, target)
    merge(group, far, target)
    whole = group.regions[target]
    alone(group, late)
    third = Region(
        RegionId(77),
        whole.keys,
        whole.epoch,
        whole.peers,
        absorbed=(*whole.absorbed, target),
        absorbers=(*whole.absorbers, RegionId(77)),
    )
    tell(group, late, far, third)
    assert ids(late) == []


@pytest.mark.parametrize("by_pd", [False, True])
def test_records_of_before_leave_a_source_for_the_target_to_which_it_has_agreed(
    by_pd: bool,
) -> None:
    """They do not say into which region it was merged."""
    group, (target, source, right) = thirds(spare=1)
    late = deaf(group, target)
    merge(group, source, target)
    _, part = group.split(target, b"k07")
    record = replace(part, absorbers=())
    if by_pd:
        others = alone(group, late)
        tell(group, late, source, record)
    else:
        others = []
        store, removed = leaving(record, late)
        late.store._parts.removing.told(store, removed)
    assert ids(late) == [target, source, right]
    group.loses = lambda *frame: False
    for one in others:
        one.cut_off = False
    group.until(lambda: source not in ids(late))
    group.until(lambda: late.replica(target).region == group.regions[target])
    assert all(one.state is ReplicaState.LIVE for one in late.store.registry)


def leaving(known: Region, member: Member) -> tuple[StoreId, Removed]:
    """A peer of the region says that the one on this store has left."""
    gone, sender = (
        known.peer_on(member.id),
        next(peer for peer in known.peers if peer.store != member.id),
    )
    assert gone is not None
    record = replace(
        known,
        peers=tuple(peer for peer in known.peers if peer != gone),
        epoch=replace(known.epoch, conf_ver=known.epoch.conf_ver + 1),
        removed=(gone,),
    )
    return sender.store, Removed(known.id, gone.id, sender.id, record)
