"""A store is killed at every save around a split: it finds none or all of it, never half."""

from collections.abc import Callable

import pytest

from flaredb.store.records import ReplicaState
from tests.store.group import Group
from tests.store.member import Member
from tests.store.splitting import (
    PARENT,
    check_agreement,
    check_ranges,
    check_rows,
    filled,
    ids,
)

MOST_SAVES = 40


def split_once(group: Group) -> None:
    """Have the region cut, whoever is killed meanwhile."""
    group.want_split(PARENT, b"k10")
    group.until(lambda: not all(len(ids(one)) == 1 for one in alive(group)))


def alive(group: Group) -> list[Member]:
    return [member for member in group.members.values() if not member.disk.dead]


def saves_of(victim: Callable[[Group], Member]) -> tuple[int, int]:
    """Between which of its saves the split happens to this store, when nobody is killed."""
    group = filled()
    member = victim(group)
    before = member.saves
    split_once(group)
    group.until(lambda: len(ids(member)) == 2)
    check_agreement(group)
    return before, member.saves


def leader(group: Group) -> Member:
    return group.wait_for_leader(PARENT)


def follower(group: Group) -> Member:
    return next(one for one in group.members.values() if one is not leader(group))


@pytest.mark.parametrize("kept", [0, 1])
@pytest.mark.parametrize("victim", [leader, follower])
def test_whoever_is_killed_finds_none_or_all_of_it(
    victim: Callable[[Group], Member], kept: int
) -> None:
    first, last = saves_of(victim)
    assert 4 <= last - first <= MOST_SAVES
    whole, split = 0, 0
    for save in range(first, last):
        group = filled()
        member = victim(group)
        member.dies_at = (save, kept)
        group.want_split(PARENT, b"k10")
        group.until(lambda member=member: member.disk.dead)  # type: ignore[misc]
        for _ in range(200):
            group.step()
        member.dies_at = None
        member.start()
        assert not member.store.registry.damaged
        found = ids(member)
        whole, split = whole + (len(found) == 1), split + (len(found) == 2)
        check_ranges(member)
        assert all(one.state is ReplicaState.LIVE for one in member.store.registry)
        settle(group)
    assert whole and split, "both happen, by where it is killed"


def settle(group: Group) -> None:
    """The split takes effect in the end, or is ordered again; then all is there, and equal."""
    while any(len(ids(one)) == 1 for one in group.members.values()):
        again = group.want_split(PARENT, b"k10")  # refused where the first one takes effect yet
        group.until(lambda again=again: again in group.splits)  # type: ignore[misc]
        group.step()
    here = group.wait_for_leader(PARENT).store.registry
    group.regions.update((one.id, one.region) for one in here)
    for region in list(group.regions):
        group.wait_for_leader(region)
    check_rows(group)
    check_agreement(group)


@pytest.mark.parametrize("kept", [0, 1])
def test_all_are_killed_at_once(kept: int) -> None:
    """As when the power goes: nobody is there to tell what the others have."""
    first, last = saves_of(leader)
    for save in range(first, last):
        group = filled()
        member = leader(group)
        member.dies_at = (save, kept)
        group.want_split(PARENT, b"k10")
        group.until(lambda member=member: member.disk.dead)  # type: ignore[misc]
        for other in alive(group):
            other.stop()
        member.dies_at = None
        for one in group.members.values():
            one.start()
            check_ranges(one)
        settle(group)


def test_a_child_whose_leader_wrote_early_is_found_again() -> None:
    """It hears of committed entries while its split is applied, before it has gathered them."""
    died = 0
    for later in range(1, 8):
        group = filled()
        late = follower(group)
        lost = (late.id, PARENT)
        group.loses = lambda to, region, _, lost=lost: (to, region) == lost  # type: ignore[misc]
        _, child = group.split(PARENT, b"k10")
        group.put(child.id, b"k15", b"of k15")
        group.until(lambda late=late: len(late.store._parts.parking) == 1)  # type: ignore[misc]
        late.dies_at = (late.saves + later, 1)
        group.loses = lambda *frame: False
        for _ in range(400):
            group.step()
        late.dies_at = None
        if late.disk.dead:
            died += 1
            late.start()
        assert not late.store.registry.damaged
        check_agreement(group)
    assert died >= 3
