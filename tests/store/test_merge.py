"""Two neighbours become one region, on stores that live, lag, restart and change their minds."""

from collections.abc import Callable

import pytest

from flaredb.disk.layout import (
    APPLIED,
    HARD_STATE,
    LOG,
    OUTBOX,
    REGION,
    SESSION,
    TOMBSTONE,
    region_rows,
)
from flaredb.store.applying import propose_command
from flaredb_schemas.commands import Split
from flaredb_schemas.events import MergeAborted, MergePrepared, MergeRolledBack, RegionMerged
from flaredb_schemas.failures import Busy, EpochMismatch
from flaredb_schemas.ids import RegionId
from flaredb_schemas.keys import KeyRange
from flaredb_schemas.regions import Absorption, Region
from flaredb_schemas.requests import GetRequest, Refused
from tests.store.group import Group
from tests.store.member import Member
from tests.store.merging import lead_from, merge, want_merge
from tests.store.splitting import KEYS, PARENT, check_agreement, check_rows, filled, ids

SMALL_LOG = {"log_keep_entries": 2, "log_max_bytes": 4096}


def halves(**settings: int) -> tuple[Group, Region, Region]:
    """Two neighbours on three stores, with rows; more stores may be there without any."""
    group = filled(**settings)
    left, right = group.split(PARENT, b"k10")
    check_agreement(group, list(group.members.values())[:3])
    return group, left, right


def events(group: Group, kind: type) -> list[object]:
    """The published events of a kind, each once."""
    found = {
        event.id: event
        for member in group.members.values()
        for event in member.events
        if isinstance(event, kind)
    }
    return list(found.values())


def check_buried(member: Member, region: RegionId) -> None:
    """Of the region nothing is left here but that it was."""
    view = member.disk.view
    for kind in (APPLIED, HARD_STATE, LOG, OUTBOX, REGION, SESSION):
        assert not list(view.scan(*region_rows(kind, region))), kind
    assert len(list(view.scan(*region_rows(TOMBSTONE, region)))) == 1


@pytest.mark.parametrize("rightwards", [False, True])
def test_two_neighbours_become_one(rightwards: bool) -> None:
    group, left, right = halves()
    source, target = (left, right) if rightwards else (right, left)
    merged = merge(group, source.id, target.id)
    assert merged.keys == KeyRange(b"", b"")
    assert merged.epoch.version == max(left.epoch.version, right.epoch.version) + 1
    assert merged.absorptions == (Absorption(source.id, merged.id),)
    check_agreement(group)
    check_rows(group)
    for member in group.members.values():
        assert ids(member) == [target.id]
        check_buried(member, source.id)
        assert member.replica(target.id).machine.state.keys == len(KEYS)
    (prepared,), (told,) = events(group, MergePrepared), events(group, RegionMerged)
    assert isinstance(prepared, MergePrepared) and isinstance(told, RegionMerged)
    assert (prepared.region, prepared.target) == (source.id, target.id)
    assert (told.region, told.source, told.trigger) == (target.id, source.id, "manual")
    assert [part.id for part in told.before] == [left.id, right.id]
    assert told.keys == len(KEYS) == sum(part.keys for part in told.before)


def test_after_a_merge_the_region_is_written_split_and_merged_again() -> None:
    group, left, right = halves()
    for _ in range(3):
        merge(group, right.id, left.id)
        group.put(left.id, b"k15", b"of k15")
        left, right = group.split(left.id, b"k05")
        group.put(right.id, b"k15", b"of k15")
    check_agreement(group)
    check_rows(group)


def test_who_asks_for_what_was_absorbed_is_told_where_it_is() -> None:
    group, left, right = halves()
    leader = group.wait_for_leader(left.id)
    merge(group, right.id, left.id)
    answer = group.ask(
        leader, lambda number: GetRequest(number, right.id, right.epoch.version, (b"k15",))
    )
    assert isinstance(answer, Refused) and isinstance(answer.refusal, EpochMismatch)
    assert [route.region for route in answer.refusal.routes] == [group.regions[left.id]]


def one_mute(group: Group, source: RegionId) -> Member:
    """A store that neither leads the source nor is heard by whoever does."""
    leader = group.wait_for_leader(source)
    mute = next(one for one in group.members.values() if one is not leader)
    mute.is_mute = True
    return mute


def test_a_region_that_cannot_be_absorbed_in_time_goes_on_as_it_was() -> None:
    """One store does not say that it knows of the merge: it would miss the source's last entry."""
    group, left, right = halves()
    leader = group.wait_for_leader(left.id)
    lead_from(group, right.id, leader)
    wish = want_merge(group, right.id, left.id)
    mute = one_mute(group, right.id)
    group.until(lambda: leader.replica(right.id).machine.state.merging is not None)
    refused = group.put_once(right.id, b"k15", b"never")
    assert isinstance(refused, Refused) and isinstance(refused.refusal, Busy)
    asked = group.ask(
        leader, lambda number: GetRequest(number, right.id, right.epoch.version, (b"k15",))
    )
    assert isinstance(asked, Refused) and isinstance(asked.refusal, Busy)
    group.until(lambda: wish in group.merges)
    late = f"nothing was heard of region {right.id} on store {mute.id} in 3 s"
    assert group.merges[wish] == f"the merge was given up: {late}"
    mute.is_mute = False
    group.regions[left.id] = leader.replica(left.id).region
    assert group.regions[left.id].epoch.version == left.epoch.version + 1
    group.put(right.id, b"k15", b"of k15")
    check_agreement(group)
    check_rows(group)
    assert len(events(group, MergeRolledBack)) == 1
    (aborted,) = events(group, MergeAborted)
    assert isinstance(aborted, MergeAborted) and aborted.reason == late
    merge(group, right.id, left.id)
    check_agreement(group)
    check_rows(group)


def test_a_target_that_was_split_meanwhile_absorbs_nothing() -> None:
    group, left, right = halves()
    leader = group.wait_for_leader(left.id)
    lead_from(group, right.id, leader)
    wish = want_merge(group, right.id, left.id)
    mute = one_mute(group, right.id)
    group.until(lambda: leader.replica(right.id).machine.state.merging is not None)
    mute.is_mute = False
    cut = group.want_split(left.id, b"k05")
    group.until(lambda: wish in group.merges and cut in group.splits)
    if group.merges[wish]:
        group.regions.update((part.id, part) for part in group.splits[cut].regions)
    else:
        group.regions[left.id] = leader.replica(left.id).region
        del group.regions[right.id]
    check_agreement(group)
    check_rows(group)


def away(settings: dict[str, int]) -> tuple[Group, Member, RegionId, RegionId]:
    """A follower is away from the moment on when all have agreed to the merge."""
    group, left, right = halves(**settings)
    leader = group.wait_for_leader(left.id)
    lead_from(group, right.id, leader)
    late = next(one for one in group.members.values() if one is not leader)
    wish = want_merge(group, right.id, left.id)

    def leave(turned: Member) -> None:
        replica = leader.store.registry.get(right.id)
        merging = replica.machine.state.merging if replica is not None else None
        if merging is not None and late.replica(right.id).node.last_index >= merging.index:
            late.cut_off = True

    group.watch = leave
    group.until(lambda: wish in group.merges)
    group.watch = lambda member: None
    group.regions[left.id] = leader.replica(left.id).region
    if not group.merges[wish]:
        del group.regions[right.id]
    return group, late, left.id, right.id


def test_a_follower_that_was_away_buries_the_source_when_its_log_says_so() -> None:
    group, late, target, source = away({})
    assert late.cut_off and ids(late) == [target, source]
    late.cut_off = False
    check_agreement(group)
    check_rows(group)
    assert ids(late) == [target]
    check_buried(late, source)
    assert late.store.counters.snapshots_installed == 0


def test_a_follower_that_missed_the_merge_gets_all_of_it_by_snapshot() -> None:
    group, late, target, source = away(SMALL_LOG)
    for number in range(8):
        for key in KEYS:
            group.put(target, key, b"%d" % number)
    for key in KEYS:
        group.put(target, key, b"of " + key)
    late.cut_off = False
    check_agreement(group)
    check_rows(group)
    assert late.store.counters.snapshots_installed == 1
    check_buried(late, source)


def test_leaders_go_elsewhere_and_the_merge_goes_with_them() -> None:
    group, left, right = halves()
    leader = group.wait_for_leader(left.id)
    lead_from(group, right.id, leader)
    want_merge(group, right.id, left.id)
    mute = one_mute(group, right.id)
    group.until(lambda: leader.replica(right.id).machine.state.merging is not None)
    mute.is_mute = False
    leader.cut_off = True
    others = [one for one in group.members.values() if one is not leader]
    group.until(
        lambda: (
            all(ids(one) == [left.id] for one in others)
            or all(one.replica(right.id).machine.state.merging is None for one in others)
        )
    )
    leader.cut_off = False
    group.until(lambda: all(is_decided(one)() for one in group.members.values()))
    check_agreement(group)
    now = group.wait_for_leader(left.id)
    group.regions = {one.id: one.region for one in now.store.registry}
    check_rows(group)


def is_dead(member: Member) -> Callable[[], bool]:
    return lambda: member.disk.dead


def is_decided(member: Member) -> Callable[[], bool]:
    """Whether no region of the store is on its way into another."""
    return lambda: all(one.machine.state.merging is None for one in member.store.registry)


@pytest.mark.parametrize("kept", [0, 1])
@pytest.mark.parametrize("leads", [True, False])
def test_killed_at_any_save_around_a_merge(leads: bool, kept: int) -> None:
    """Whoever dies and when: in the end there is one region, or there are two, never half."""

    def begun() -> tuple[Group, Member, RegionId, RegionId]:
        group, left, right = halves()
        leader = group.wait_for_leader(left.id)
        lead_from(group, right.id, leader)
        chosen = leader if leads else next(o for o in group.members.values() if o is not leader)
        return group, chosen, left.id, right.id

    group, member, target, source = begun()
    first = member.saves
    merge(group, source, target)
    check_agreement(group)
    last = member.saves
    assert last - first > 3
    for save in range(first, last):
        group, member, target, source = begun()
        member.dies_at = (save, kept)
        want_merge(group, source, target)
        group.until(is_dead(member))
        member.dies_at = None
        member.start()
        assert not member.store.registry.damaged
        check_agreement(group)
        group.until(is_decided(group.wait_for_leader(target)))
        check_agreement(group)
        now = group.wait_for_leader(target)
        group.regions = {one.id: one.region for one in now.store.registry}
        assert set(group.regions) in ({target}, {target, source})
        check_rows(group)


def test_a_merging_region_is_not_split() -> None:
    group, left, right = halves()
    leader = group.wait_for_leader(left.id)
    lead_from(group, right.id, leader)
    want_merge(group, right.id, left.id)
    mute = one_mute(group, right.id)
    group.until(lambda: leader.replica(right.id).machine.state.merging is not None)
    replica = leader.replica(right.id)
    epoch = replica.region.epoch
    command = Split(1, epoch.conf_ver, epoch.version, (), "manual", 1, ())
    assert propose_command(replica, command) is None
    leader.store._context.touch(right.id)
    mute.is_mute = False
    group.until(lambda: all(is_decided(one)() for one in group.members.values()))
    check_agreement(group)
    check_rows_of_all(group)


def check_rows_of_all(group: Group) -> None:
    leader = group.wait_for_leader(PARENT)
    group.regions = {one.id: one.region for one in leader.store.registry}
    check_rows(group)
