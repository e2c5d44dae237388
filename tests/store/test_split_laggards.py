"""Replicas that are late for a split, and messages that are early for it."""

from itertools import pairwise

import pytest

from flaredb.raft.progress import ProgressState
from flaredb.store.outgoing import FRAMES
from flaredb.store.records import ReplicaState
from flaredb_schemas.frames import Blocked, StoreFrame
from flaredb_schemas.ids import RegionId, StoreId
from flaredb_schemas.regions import Region
from tests.store.group import Group
from tests.store.member import Member
from tests.store.splitting import (
    KEYS,
    PARENT,
    check_agreement,
    check_rows,
    filled,
    ids,
    is_quiet,
    propose_split,
)

SMALL_LOG = {"log_keep_entries": 2, "log_max_bytes": 4096}


def someone_else(group: Group, *others: Member) -> Member:
    """A store that does not lead, and is none of `others`."""
    leader = group.wait_for_leader(PARENT)
    return next(one for one in group.members.values() if one not in (leader, *others))


def snapshots(group: Group) -> int:
    return sum(one.store.counters.snapshots_sent for one in group.members.values())


def write_on(group: Group, regions: tuple[Region, ...], rounds: int = 8) -> None:
    """So many writes that logs are cut."""
    for _ in range(rounds):
        for key in KEYS:
            holder = next(one for one in regions if one.keys.contains(key))
            group.put(holder.id, key, b"of " + key)


def test_a_follower_that_was_away_applies_the_split_from_the_log() -> None:
    group = filled()
    late = someone_else(group)
    late.cut_off = True
    _, child = group.split(PARENT, b"k10")
    group.put(child.id, b"k15", b"of k15")
    assert ids(late) == [PARENT]
    late.cut_off = False
    check_agreement(group)
    check_rows(group)
    assert snapshots(group) == 0


def test_a_child_that_calls_before_the_split_is_known_waits_for_it() -> None:
    """All that the parent says to one store is lost for a while; the child is heard at once."""
    group = filled()
    late = someone_else(group)
    group.loses = lambda to, region, _: to == late.id and region == PARENT
    _, child = group.split(PARENT, b"k10")
    group.put(child.id, b"k15", b"of k15")
    assert ids(late) == [PARENT]
    assert len(late.store._parts.parking) == 1
    group.loses = lambda *frame: False
    group.until(lambda: ids(late) == [PARENT, child.id])
    assert len(late.store._parts.parking) == 0
    check_agreement(group)
    assert snapshots(group) == 0


def test_votes_that_come_too_early_count_once_the_split_is_applied() -> None:
    """No follower knows of the split when the child's first election begins; it succeeds."""
    group = filled()
    leader = group.wait_for_leader(PARENT)
    group.loses = lambda to, region, _: region == PARENT and leader.store.counters.splits == 1
    wish = group.want_split(PARENT, b"k10")
    group.until(lambda: wish in group.splits)
    child = group.splits[wish].regions[1]
    others = [one for one in group.members.values() if one is not leader]
    group.until(lambda: all(len(one.store._parts.parking) for one in others))
    assert group.leader(child.id) is None
    group.loses = lambda *frame: False
    assert group.wait_for_leader(child.id) is leader
    assert leader.replica(child.id).node.term == 6, "the first election was the last"
    check_agreement(group)
    assert snapshots(group) == 0


def blocked(group: Group) -> list[tuple[float, StoreId, Blocked]]:
    """When which store says from now on that a peer cannot be there yet."""
    found: list[tuple[float, StoreId, Blocked]] = []
    carry = group.carry

    def listen(sender: Member, subject: str, payload: bytes) -> bool:
        frame = FRAMES.decode(payload)
        if isinstance(frame, StoreFrame):
            told = [item for item in frame.items if isinstance(item, Blocked)]
            found.extend((group.now, sender.id, item) for item in told)
        return carry(sender, subject, payload)

    group.carry = listen  # type: ignore[method-assign]
    return found


def test_what_waits_too_long_is_answered_and_leads_to_no_snapshot() -> None:
    """Its leader calls again with each heartbeat; it is told once per election timeout."""
    group = filled()
    late = someone_else(group)
    told = blocked(group)
    group.loses = lambda to, region, _: to == late.id and region == PARENT
    _, child = group.split(PARENT, b"k10")
    leader = group.wait_for_leader(child.id)
    end = group.now + 5.0
    while group.now < end:
        group.step()
    assert ids(late) == [PARENT]
    assert len(late.store._parts.parking) == 1
    assert snapshots(group) == 0
    mine, theirs = child.peer_on(late.id), child.peer_on(leader.id)
    assert mine is not None and theirs is not None
    assert {(by, item) for _, by, item in told} == {
        (late.id, Blocked(child.id, mine.id, theirs.id))
    }
    patience = late.store._context.election_seconds
    pauses = [after[0] - before[0] for before, after in pairwise(told)]
    assert len(told) >= 2 and all(patience <= pause < 2 * patience for pause in pauses)
    leader.cut_off = True
    group.until(lambda: not len(late.store._parts.parking))
    leader.cut_off = False
    group.loses = lambda *frame: False
    check_agreement(group)
    assert ids(late) == [PARENT, child.id]
    assert snapshots(group) == 0


def away_for_long(settings: dict[str, int]) -> tuple[Group, Member, tuple[Region, ...]]:
    """A follower is away while its region is split and the log is cut past that."""
    group = filled(**settings)
    late = someone_else(group)
    late.cut_off = True
    parts = group.split(PARENT, b"k10")
    write_on(group, parts)
    leader = group.wait_for_leader(PARENT)
    assert leader.replica(PARENT).log.start > late.replica(PARENT).node.last_index
    return group, late, parts


def test_a_follower_that_missed_the_split_gets_both_parts_by_snapshot() -> None:
    group, late, (parent, child) = away_for_long(SMALL_LOG)
    late.cut_off = False
    check_agreement(group)
    check_rows(group)
    assert ids(late) == [parent.id, child.id]
    assert late.store.counters.snapshots_installed == 2
    assert late.store.counters.splits == 0


def test_rows_that_were_given_away_do_not_stay_behind() -> None:
    """The parent alone comes by snapshot: what it no longer holds is gone from the disk."""
    group, late, (parent, child) = away_for_long(SMALL_LOG)
    group.loses = lambda to, region, _: to == late.id and region == child.id
    late.cut_off = False
    group.until(lambda: late.replica(PARENT).region == parent)
    group.until(lambda: late.store.is_settled)
    data = [key for key, _ in late.disk.view.scan(b"d", b"e")]
    assert max(data) < b"dk10"
    assert ids(late) == [PARENT]


def test_a_leader_that_did_not_hear_that_its_snapshot_is_there_is_told_when_it_offers_again() -> (
    None
):
    group, late, (parent, child) = away_for_long(SMALL_LOG)

    def mute_once_it_installs(turned: Member) -> None:
        replicas = [turned.store.registry.get(region) for region in (parent.id, child.id)]
        if turned is late and any(
            replica and replica.state is ReplicaState.INSTALLING for replica in replicas
        ):
            late.is_mute = True

    group.watch = mute_once_it_installs
    late.cut_off = False
    group.until(lambda: late.is_mute)
    group.watch = lambda member: None
    others = [one for one in group.members.values() if one is not late]
    group.until(lambda: not any(len(one.store._parts.snapshots.out) for one in others))
    installed = late.store.counters.snapshots_installed
    assert installed
    late.is_mute = False
    group.until(lambda: all(is_in_step(group, late, region.id) for region in (parent, child)))
    assert late.store.counters.snapshots_installed == 2, "nothing came twice"
    group.put(parent.id, b"k05", b"of k05")
    check_agreement(group)
    check_rows(group)


def is_in_step(group: Group, member: Member, region: RegionId) -> bool:
    """Whether the region's leader knows that this member follows its log."""
    progress = group.wait_for_leader(region).replica(region).node.status().progress
    return progress[member.replica(region).peer].state is ProgressState.REPLICATE


@pytest.mark.parametrize("kept", [0, 1])
def test_killed_at_any_save_while_both_parts_come_by_snapshot(kept: int) -> None:
    group, late, _ = away_for_long(SMALL_LOG)
    first = late.saves
    late.cut_off = False
    check_agreement(group)
    last = late.saves
    assert last - first > 6
    for save in range(first, last):
        group, late, parts = away_for_long(SMALL_LOG)
        late.cut_off = False
        late.dies_at = (save, kept)
        group.until(lambda late=late: late.disk.dead)  # type: ignore[misc]
        late.dies_at = None
        late.start()
        assert not late.store.registry.damaged
        check_agreement(group)
        assert ids(late) == [part.id for part in parts]


def test_an_empty_voter_keeps_a_region_alive_whose_leader_is_gone_for_good() -> None:
    """One of three has missed the split, the second is gone: the third needs the first's vote."""
    group, late, (parent, child) = away_for_long(SMALL_LOG)
    gone = group.wait_for_leader(child.id)
    left = someone_else(group, late)
    if gone is left:
        left = group.wait_for_leader(PARENT)
    gone.stop()
    late.cut_off = False
    states = watched(group, late, child.id)
    survivors = (left, late)
    group.until(lambda: ids(late) == [parent.id, child.id] and is_quiet(group, survivors))
    assert states == [ReplicaState.EMPTY, ReplicaState.INSTALLING, ReplicaState.LIVE]
    group.put(child.id, b"k15", b"of k15")
    check_agreement(group, survivors)
    check_rows(group)


@pytest.mark.parametrize("settings", [{}, SMALL_LOG])
def test_followers_are_slow_one_is_cut_off_amid_the_split_and_the_leader_dies_for_good(
    settings: dict[str, int],
) -> None:
    """The child gets a leader as long as two of three stores live, however little they know."""
    group = filled(**settings)
    leader = group.wait_for_leader(PARENT)
    slow, late = (one for one in group.members.values() if one is not leader)
    slow.saves_every = late.saves_every = 30
    before = leader.replica(PARENT).node.last_index
    wish = group.want_split(PARENT, b"k10")
    group.until(lambda: leader.replica(PARENT).node.last_index > before)
    assert leader.store.counters.splits == 0
    late.cut_off = True
    group.until(lambda: wish in group.splits)
    parts = group.splits[wish].regions
    group.regions.update((part.id, part) for part in parts)
    leader.stop()
    late.cut_off = False
    group.until(lambda: all(group.leader(part.id) in (slow, late) for part in parts))
    group.put(parts[1].id, b"k15", b"of k15")
    check_agreement(group, (slow, late))
    check_rows(group)


def watched(group: Group, member: Member, region: RegionId) -> list[ReplicaState]:
    """The states that the replica of `region` goes through, in order."""
    seen: list[ReplicaState] = []

    def look(turned: Member) -> None:
        replica = member.store.registry.get(region)
        if turned is member and replica is not None and replica.state not in seen[-1:]:
            seen.append(replica.state)

    group.watch = look
    return seen


def test_an_empty_voter_is_found_again_and_keeps_its_vote() -> None:
    group, late, (_, child) = away_for_long(SMALL_LOG)
    gone = group.wait_for_leader(child.id)
    gone.stop()
    late.cut_off = False
    group.loses = lambda to, region, is_snapshot: is_snapshot and region == child.id
    group.until(lambda: late.store.registry.get(child.id) is not None)
    group.until(lambda: late.store.is_settled and late.replica(child.id).node.vote != 0)
    before = late.replica(child.id)
    assert before.state is ReplicaState.EMPTY
    late.stop()
    late.start()
    after = late.replica(child.id)
    assert after.state is ReplicaState.EMPTY
    assert (after.node.term, after.node.vote) == (before.node.term, before.node.vote)


@pytest.mark.parametrize("begun", [False, True])
def test_a_snapshot_that_is_being_copied_when_the_region_is_split_is_right(begun: bool) -> None:
    """What was copied of another range than the record tells is thrown away, and copied again."""
    group = filled(**SMALL_LOG)
    late = someone_else(group)
    late.cut_off = True
    write_on(group, tuple(group.regions.values()))
    leader = group.wait_for_leader(PARENT)
    leader.holds_jobs = True
    late.cut_off = False
    group.until(lambda: leader.disk.jobs_under_way == 1)
    if begun:
        leader.disk.begin_job()
    propose_split(group, 500, b"k10")
    group.until(lambda: leader.store.counters.splits == 1 and leader.store.is_settled)
    leader.holds_jobs = False
    check_agreement(group)
    assert ids(late) == [PARENT, RegionId(500)]
    assert late.store.counters.splits == begun, "an older snapshot is followed by the log"
