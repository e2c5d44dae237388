"""A disk that takes, or gives, no piece of a snapshot fails that attempt, and not the store."""

import pytest

from flaredb.disk.disk import CopyRows, DiskError, Job, Usage
from flaredb.disk.layout import data_key
from flaredb.disk.memory_files import MemoryFiles
from flaredb.runtime.settings import StoreSettings
from flaredb.store.records import ReplicaState
from flaredb.store.snapshot_checks import has_room
from flaredb_schemas.ids import RegionId
from flaredb_schemas.regions import REPLICA_ROOM
from tests.store.group import Group
from tests.store.member import Member
from tests.store.regions import region

ONLY = RegionId(1)
MISSED = 200


@pytest.fixture
def group() -> Group:
    """Three stores that lead one region, and keep no log for those who are late."""
    made = Group(StoreSettings(log_keep_entries=1), (region(1, b"", b""),))
    made.wait_for_leader(ONLY)
    return made


def leave_behind(group: Group) -> tuple[Member, Member]:
    """The leader, and a store that was cut off until it needs a snapshot."""
    leader = group.wait_for_leader(ONLY)
    late = next(one for one in group.members.values() if one is not leader)
    late.cut_off = True
    for number in range(MISSED):
        group.put(ONLY, b"a%03d" % number, b"value")
    group.until(lambda: leader.replica(ONLY).log.start > late.replica(ONLY).log.last)
    return leader, late


@pytest.mark.parametrize("work", ["write", "read"])
def test_a_piece_that_cannot_be_kept_or_read(
    group: Group, work: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    leader, late = leave_behind(group)
    broken = (late if work == "write" else leader).disk.files
    real = getattr(MemoryFiles, work)
    failed = 0

    def refuse(files: MemoryFiles, name: str, offset: int, what: object) -> object:
        nonlocal failed
        if files is not broken:
            return real(files, name, offset, what)
        failed += 1
        raise DiskError("no room")

    with monkeypatch.context() as patched:
        patched.setattr(MemoryFiles, work, refuse)
        late.cut_off = False
        group.until(lambda: failed > 2)
        assert late.store.counters.snapshots_installed == 0
        group.put(ONLY, b"served", b"meanwhile")
    group.until(lambda: late.store.counters.snapshots_installed == 1)
    group.until(lambda: data_key(b"served") in late.disk.view.values)
    group.until(lambda: not any(member.disk.files.names() for member in group.members.values()))


def test_a_store_without_room_is_not_offered_the_same_again_and_again(
    group: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each attempt copies the whole region first, on the leader's disk."""
    leader, late = leave_behind(group)
    copied: list[float] = []
    begin, write = leader.disk.start, MemoryFiles.write

    def count(job: Job) -> None:
        if isinstance(job, CopyRows):
            copied.append(group.now)
        begin(job)

    def refuse(files: MemoryFiles, name: str, offset: int, what: bytes) -> None:
        if files is late.disk.files:
            raise DiskError("no room")
        write(files, name, offset, what)

    with monkeypatch.context() as patched:
        patched.setattr(leader.disk, "start", count)
        patched.setattr(MemoryFiles, "write", refuse)
        late.cut_off = False
        group.until(lambda: bool(copied))
        until = copied[0] + 60.0
        group.until(lambda: group.now > until)
        assert 4 <= len(copied) <= 12, f"{len(copied)} copies in a minute"
    group.until(lambda: late.store.counters.snapshots_installed == 1)


def test_snapshots_that_come_together_are_not_promised_the_same_room() -> None:
    group = Group(StoreSettings(log_keep_entries=1), (region(1, b"", b"m"), region(2, b"m", b"")))
    leaders = [group.wait_for_leader(one) for one in group.regions]
    late = next(one for one in group.members.values() if one not in leaders)
    late.cut_off = True
    for key in (b"a", b"n"):
        for number in range(MISSED):
            group.put(RegionId(1 + (key > b"m")), key + b"%03d" % number, bytes(1_000))
    late.disk.free = MISSED * 1_100 * (2 * REPLICA_ROOM + 1) // 2
    arriving: set[int] = set()
    group.watch = lambda member: arriving.add(len(late.store._parts.snapshots.into))
    late.holds_jobs = True  # so that the first is not verified before the other is offered
    late.cut_off = False
    until = group.now + 5
    group.until(lambda: group.now > until)
    late.holds_jobs = False
    group.until(lambda: late.store.counters.snapshots_installed == 2)
    assert arriving == {0, 1}


def test_a_disk_that_has_become_too_full_for_the_rows_takes_no_replica_apart(
    group: Group,
) -> None:
    leader, late = leave_behind(group)
    late.holds_jobs = True
    late.cut_off = False
    group.until(lambda: late.disk.jobs_under_way > 0)  # the file is here, and is verified
    late.disk.free = 1
    late.holds_jobs = False
    group.until(lambda: not late.disk.files.names())
    assert late.replica(ONLY).state is ReplicaState.LIVE
    assert late.store.counters.snapshots_installed == 0
    late.disk.free = None
    group.until(lambda: late.store.counters.snapshots_installed == 1)
    assert leader.replica(ONLY).machine.state == late.replica(ONLY).machine.state


GIB, MIB = 1 << 30, 1 << 20


@pytest.mark.parametrize(
    ("room", "size", "promised", "fits"),
    [
        (300 * MIB, MIB, 0, True),
        (300 * MIB, 100 * MIB, 0, False),  # the reserve would go
        (GIB, 300 * MIB, 0, True),
        (GIB, 300 * MIB, 200 * MIB, False),
        (GIB, 380 * MIB, 0, False),  # a third of the room
        (10 * MIB, MIB, 0, True),  # small beside the reserve
        (10 * MIB, MIB, 8 * MIB, False),
    ],
)
def test_what_a_snapshot_needs(room: int, size: int, promised: int, fits: bool) -> None:
    usage = Usage(used=100 * GIB, quota=200 * GIB, free=room)
    assert has_room(usage, size, promised) is fits


def test_a_file_does_not_go_where_rows_were() -> None:
    usage = Usage(used=GIB, quota=2 * GIB, free=10 * MIB, reusable=GIB)
    assert has_room(usage, 9 * MIB, 0)
    assert not has_room(usage, 9 * MIB, 4 * MIB)
    assert not has_room(usage, 11 * MIB, 0)
