"""A disk that is full refuses puts, long before a commit could fail, and takes deletes."""

import pytest

from flaredb.disk.disk import Usage
from flaredb.runtime.settings import StoreSettings
from flaredb.store.room import LEAST_RESERVE_BYTES, LOOKED_AT_SECONDS, RESERVE_BYTES
from flaredb_schemas.commands import DeleteRange, Put
from flaredb_schemas.failures import DiskFull
from flaredb_schemas.ids import RegionId
from flaredb_schemas.requests import Answer, Refused, WriteAnswer
from tests.store.group import Group
from tests.store.regions import region

ONLY = RegionId(1)
MIB, GIB = 1 << 20, 1 << 30


@pytest.fixture
def group() -> Group:
    """Three stores that lead one region."""
    made = Group(StoreSettings(), (region(1, b"", b""),))
    made.put(ONLY, b"a", b"1")
    return made


def refusal(answer: Answer | None) -> DiskFull | None:
    """Why a put was refused; None if it was not."""
    if isinstance(answer, WriteAnswer):
        return None
    assert isinstance(answer, Refused) and isinstance(answer.refusal, DiskFull), answer
    return answer.refusal


def put(group: Group) -> DiskFull | None:
    """Put a row, once the store has looked at its disk again."""
    until = group.now + LOOKED_AT_SECONDS + 0.2
    group.until(lambda: group.now > until)
    return refusal(group.write_once(ONLY, Put(0, b"b", b"2")))


def test_what_the_file_system_lacks_is_refused_and_deletes_are_not(group: Group) -> None:
    leader = group.wait_for_leader(ONLY)
    leader.disk.free = GIB
    assert put(group) is None
    leader.disk.free = LEAST_RESERVE_BYTES - 1
    assert put(group) == DiskFull(leader.id, file_system=True)
    everything = group.write_once(ONLY, DeleteRange(0, b"a", b"c"))
    assert isinstance(everything, WriteAnswer)
    assert group.get(ONLY, b"a") is None
    leader.disk.free = GIB
    assert put(group) is None


def test_a_follower_without_room_is_spared_too(group: Group) -> None:
    leader = group.wait_for_leader(ONLY)
    follower = next(one for one in group.members.values() if one is not leader)
    leader.disk.free = GIB
    follower.disk.free = LEAST_RESERVE_BYTES - 1
    assert put(group) == DiskFull(follower.id, file_system=True)
    everything = group.write_once(ONLY, DeleteRange(0, b"a", b"c"))
    assert isinstance(everything, WriteAnswer)
    follower.disk.free = GIB
    assert put(group) is None


def test_a_dead_follower_that_had_no_room_holds_nobody_up(group: Group) -> None:
    leader = group.wait_for_leader(ONLY)
    follower = next(one for one in group.members.values() if one is not leader)
    leader.disk.free = GIB
    follower.disk.free = LEAST_RESERVE_BYTES - 1
    assert put(group) == DiskFull(follower.id, file_system=True)
    follower.cut_off = True
    group.until(lambda: put(group) is None)


def test_a_follower_beyond_its_quota_goes_on(group: Group, monkeypatch: pytest.MonkeyPatch) -> None:
    leader = group.wait_for_leader(ONLY)
    follower = next(one for one in group.members.values() if one is not leader)
    over = Usage(used=100, quota=100, free=GIB)
    monkeypatch.setattr(follower.disk, "usage", lambda: over)
    assert put(group) is None


@pytest.mark.parametrize(
    ("usage", "file_system"),
    [
        (Usage(used=99, quota=100, free=GIB), None),
        (Usage(used=100, quota=100, free=GIB), False),
        (Usage(used=GIB, quota=32 * GIB, free=0, reusable=GIB), None),
        (Usage(used=20 * GIB, quota=32 * GIB, free=RESERVE_BYTES), None),
        (Usage(used=20 * GIB, quota=32 * GIB, free=RESERVE_BYTES - 1), True),
        (Usage(used=8 * MIB, quota=32 * GIB, free=64 * MIB), None),
        (Usage(used=728 * MIB, quota=32 * GIB, free=40 * MIB), None),
        (Usage(used=728 * MIB, quota=32 * GIB, free=36 * MIB), True),
        (Usage(used=8 * MIB, quota=32 * GIB, free=15 * MIB), True),
    ],
)
def test_the_nearer_of_the_two_limits_counts(
    group: Group, usage: Usage, file_system: bool | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    leader = group.wait_for_leader(ONLY)
    monkeypatch.setattr(leader.disk, "usage", lambda: usage)
    wanted = None if file_system is None else DiskFull(leader.id, file_system)
    assert put(group) == wanted


def test_the_disk_is_not_asked_for_each_put(group: Group, monkeypatch: pytest.MonkeyPatch) -> None:
    leader = group.wait_for_leader(ONLY)
    asked: list[float] = []

    def usage() -> Usage:
        asked.append(group.now)
        return Usage(used=1, quota=100, free=GIB)

    monkeypatch.setattr(leader.disk, "usage", usage)
    until = group.now + 5.0
    group.until(lambda: bool(group.put_once(ONLY, b"k", b"v")) and group.now > until)
    assert 4 <= len(asked) <= 8
