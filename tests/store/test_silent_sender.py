"""A snapshot whose sender is cut off amid it: the next leader's takes its place before long."""

from flaredb.store.snapshots_in import SILENCE_SECONDS
from tests.store.group import Group
from tests.store.test_no_room import ONLY, group, leave_behind

__all__ = ["group"]


def test_another_leaders_snapshot_takes_the_place_of_one_that_does_not_come(group: Group) -> None:
    leader, late = leave_behind(group)
    group.loses = lambda to, _, is_snapshot: (
        is_snapshot and to == leader.id
    )  # no piece is asked for
    late.cut_off = False
    group.until(lambda: bool(len(late.store._parts.snapshots.into)))
    leader.cut_off = True
    begun = group.now
    group.until(lambda: late.store.counters.snapshots_installed == 1)
    assert group.now - begun < SILENCE_SECONDS / 2
    leader.cut_off, group.loses = False, lambda *frame: False
    group.put(ONLY, b"served", b"again")
