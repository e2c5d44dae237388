"""A disk that takes, or gives, no piece of a snapshot fails that attempt, and not the store."""

import pytest

from flaredb.disk.disk import CopyRows, DiskError, Job
from flaredb.disk.layout import data_key
from flaredb.disk.memory_files import MemoryFiles
from flaredb.runtime.settings import StoreSettings
from flaredb_schemas.ids import RegionId
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
