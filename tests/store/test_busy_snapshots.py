"""What a log keeps where much is written: enough for who comes by snapshot, and not too much."""

from typing import Final

import pytest

from flaredb.disk.memory_disk import MemoryDisk
from flaredb.runtime.settings import StoreSettings
from flaredb.store import catching_up, cutting
from flaredb_schemas.ids import RegionId
from tests.store.group import Group
from tests.store.member import Member
from tests.store.regions import region

ONLY: Final = RegionId(1)
MISSED: Final = 200
LARGE: Final = bytes(64 * 1024)
"""Of these no more are on their way to a peer at a time than it saves in a second."""

BUSY: Final = 300
"""Far more writes than there are while one snapshot is installed."""


def behind(group: Group) -> tuple[Member, Member]:
    """The leader of the only region, and a slow store to which a snapshot is on its way."""
    leader = group.wait_for_leader(ONLY)
    late = next(one for one in group.members.values() if one is not leader)
    late.cut_off = True
    for number in range(MISSED):
        group.put(ONLY, b"a%03d" % number, b"value")
    group.until(lambda: leader.replica(ONLY).log.start > late.replica(ONLY).log.last)
    late.cut_off = False
    group.until(lambda: bool(leader.replica(ONLY).snapshot_floor))
    late.saves_every = 100
    return leader, late


def write(group: Group) -> None:
    for number in range(BUSY):
        group.put(ONLY, b"b%02d" % (number % 100), LARGE)


def test_one_snapshot_is_enough_where_much_is_written_while_it_comes() -> None:
    group = Group(StoreSettings(log_keep_entries=1), (region(1, b"", b""),))
    leader, late = behind(group)
    write(group)
    assert leader.store.counters.snapshots_sent == 1
    assert late.store.counters.snapshots_installed == 1
    late.saves_every = 1
    group.until(lambda: late.replica(ONLY).node.last_index == leader.replica(ONLY).node.last_index)
    group.until(lambda: not leader.replica(ONLY).snapshot_floor)
    assert leader.store.counters.snapshots_sent == 1
    kept = leader.replica(ONLY).log
    group.until(lambda: kept.last - kept.start < MISSED)


def test_the_log_is_not_kept_for_ever_for_who_falls_silent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(catching_up, "LONGEST_SECONDS", 5.0)
    group = Group(StoreSettings(log_keep_entries=1), (region(1, b"", b""),))
    leader, late = behind(group)
    group.until(lambda: late.store.counters.snapshots_installed == 1)
    late.cut_off = True
    write(group)
    log = leader.replica(ONLY).log
    assert log.last - log.start < BUSY // 2


def test_what_a_killed_copy_has_written_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a disk that is short of room each attempt would leave its file."""
    finish_job, written = MemoryDisk.finish_job, list[str]()

    def finish_or_kill(disk: MemoryDisk) -> None:
        disk.begin_job()
        if written or not disk.files.names():
            finish_job(disk)
        else:
            written.extend(disk.files.names())
            disk.kill_job()

    monkeypatch.setattr(MemoryDisk, "finish_job", finish_or_kill)
    group = Group(StoreSettings(log_keep_entries=1), (region(1, b"", b""),))
    leader, late = behind(group)
    group.until(lambda: late.store.counters.snapshots_installed == 1)
    assert written
    group.until(lambda: not leader.disk.files.names())


@pytest.mark.parametrize("writes", [cutting.CUT_AT_LEAST - 4, BUSY // 2])
def test_a_follower_keeps_no_more_of_large_entries_than_it_is_allowed(writes: int) -> None:
    group = Group(StoreSettings(log_max_bytes=1 << 20), (region(1, b"", b""),))
    group.wait_for_leader(ONLY)
    for number in range(writes):
        group.put(ONLY, b"b%02d" % (number % 10), LARGE)
    group.until(lambda: all(one.store.is_settled for one in group.members.values()))
    most = cutting.CUT_AT_LATEST * (1 << 20) + len(LARGE) + 1024
    assert all(one.replica(ONLY).log.size < most for one in group.members.values())
