"""After a split nobody knows quite how large the parts are, until their leader has counted them."""

from flaredb_schemas.commands import COMMANDS, Recount
from flaredb_schemas.ids import Index, RegionId
from tests.store.group import Group
from tests.store.member import Member
from tests.store.splitting import KEYS, PARENT, check_agreement, filled, ids, propose_split

CHILD = RegionId(900)


def is_exact(member: Member, region: RegionId) -> bool:
    """Whether the store says of its replica's figures that they are exact; then they must be."""
    replica = member.replica(region)
    state, keys = replica.machine.state, replica.region.keys
    rows = list(member.store._context.overlay.scan(keys.start, keys.end))
    exact = len(rows), sum(len(key) + len(value) for key, value in rows)
    assert state.estimated or (state.keys, state.bytes) == exact
    return not state.estimated


def cut_uncounted() -> Group:
    """Two parts of which nothing was counted, on all stores, and no job ends until it may."""
    group = filled()
    hold_jobs(group, True)
    propose_split(group, CHILD, b"k10")
    group.until(lambda: all(len(ids(member)) == 2 for member in group.members.values()))
    group.wait_for_leader(CHILD)
    return group


def hold_jobs(group: Group, holds: bool) -> None:
    for member in group.members.values():
        member.holds_jobs = holds


def wait_until_counted(group: Group) -> None:
    group.until(
        lambda: all(is_exact(one, part) for one in group.members.values() for part in ids(one))
    )


def counts(group: Group, region: RegionId) -> int:
    """How many counts stand in the region's log."""
    log = group.wait_for_leader(region).replica(region).log
    entries = log.entries(Index(log.start + 1), Index(log.last + 1), 1 << 20)
    assert isinstance(entries, list | tuple)
    return sum(isinstance(COMMANDS.decode(one.data), Recount) for one in entries if one.data)


def test_both_parts_are_counted_once_on_every_store() -> None:
    group = cut_uncounted()
    assert not any(is_exact(one, part) for one in group.members.values() for part in ids(one))
    hold_jobs(group, False)
    wait_until_counted(group)
    check_agreement(group)
    assert counts(group, PARENT) == counts(group, CHILD) == 1


def test_what_is_written_after_the_count_is_in_the_figures() -> None:
    group = cut_uncounted()
    leader = group.wait_for_leader(PARENT)
    hold_jobs(group, False)
    group.until(lambda: counts(group, PARENT) == 1)
    group.regions[PARENT] = leader.replica(PARENT).region
    group.put(PARENT, KEYS[0], b"x" * 1000)
    group.put(PARENT, KEYS[0], b"of " + KEYS[0])
    wait_until_counted(group)


def test_an_estimate_stays_one_over_restarts_and_is_counted_after_them() -> None:
    group = cut_uncounted()
    for member in group.members.values():
        member.stop()
        member.start()
    assert not any(is_exact(one, part) for one in group.members.values() for part in ids(one))
    hold_jobs(group, False)
    wait_until_counted(group)
    check_agreement(group)


def test_a_new_leader_counts_what_the_old_one_had_no_time_for() -> None:
    group = cut_uncounted()
    old = group.wait_for_leader(PARENT)
    old.cut_off = True
    hold_jobs(group, False)
    rest = [one for one in group.members.values() if one is not old]
    group.until(lambda: all(is_exact(one, PARENT) for one in rest))
    old.cut_off = False
    wait_until_counted(group)
    check_agreement(group)


def test_what_was_counted_of_a_region_that_was_cut_meanwhile_is_not_believed() -> None:
    group = cut_uncounted()
    leader = group.wait_for_leader(PARENT)
    group.until(lambda: bool(leader.disk.jobs_under_way))
    propose_split(group, RegionId(950), b"k05")
    group.until(lambda: all(len(ids(member)) == 3 for member in group.members.values()))
    hold_jobs(group, False)
    wait_until_counted(group)
    check_agreement(group)
