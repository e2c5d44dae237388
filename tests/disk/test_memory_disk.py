"""What the disk in memory promises its driver: nothing by itself, and honest crashes."""

import random

import pytest

from flaredb.disk.disk import (
    Batch,
    Copied,
    CopyRows,
    JobResult,
    Verified,
    VerifyFile,
)
from flaredb.disk.layout import seal
from flaredb.disk.memory_disk import Contents, MemoryDisk


class Reports:
    """What a disk has reported."""

    def __init__(self) -> None:
        self.saved: list[int] = []
        self.failed: list[str] = []
        self.jobs: list[tuple[int, JobResult]] = []

    def disk(self, contents: Contents | None = None) -> MemoryDisk:
        return MemoryDisk(
            self.saved.append,
            self.failed.append,
            lambda number, result: self.jobs.append((number, result)),
            contents,
        )


def put(key: bytes, value: bytes = b"") -> Batch:
    batch = Batch()
    batch.put(key, value)
    return batch


def keys(disk: MemoryDisk) -> list[bytes]:
    return [key for key, _ in disk.view.scan(b"a", b"z")]


def test_nothing_happens_by_itself() -> None:
    reports = Reports()
    disk = reports.disk()
    disk.submit(1, put(b"a"))
    disk.start(CopyRows(1, "f", (), (), 1.0))
    disk.renew()
    assert (reports.saved, reports.jobs, keys(disk)) == ([], [], [])
    assert (disk.under_way, disk.jobs_under_way) == (1, 1)


@pytest.mark.parametrize("kept", [0, 1, 2])
def test_a_crash_loses_what_was_not_saved_but_for_a_prefix(kept: int) -> None:
    reports = Reports()
    disk = reports.disk()
    disk.submit(1, put(b"a"))
    disk.finish_next()
    disk.submit(2, put(b"b"))
    disk.submit(3, put(b"c"))
    again = reports.disk(disk.crash(kept))
    assert keys(again) == [b"a", b"b", b"c"][: 1 + kept]
    assert reports.saved == [1]
    disk.submit(4, put(b"d"))
    assert (disk.under_way, keys(again)) == (0, [b"a", b"b", b"c"][: 1 + kept])


@pytest.mark.parametrize("kept", [0, 1])
def test_after_a_failure_nothing_is_acknowledged(kept: int) -> None:
    reports = Reports()
    disk = reports.disk()
    disk.submit(1, put(b"a"))
    disk.start(CopyRows(1, "f", (), (), 1.0))
    disk.fail_next("input/output error")
    disk.finish_next()
    disk.submit(2, put(b"b"))
    assert disk.dead
    assert (reports.saved, reports.failed) == ([], ["input/output error"])
    with pytest.raises(AssertionError):
        disk.finish_next()
    assert keys(reports.disk(disk.crash(kept))) == [b"a"][:kept]


def test_a_job_shows_its_view_and_not_a_later_one() -> None:
    reports = Reports()
    disk = reports.disk()
    old, new = seal(b"a", b"old"), seal(b"a", b"new")
    disk.submit(1, put(b"a", old))
    disk.finish_next()
    disk.start(CopyRows(1, "f", (b"a",), ((b"a", b"b"),), 1.0))
    disk.begin_job()
    disk.submit(2, put(b"a", new))
    disk.finish_next()
    disk.finish_job()
    assert reports.jobs == [(1, Copied((old,), 1, 8, 21))]
    assert disk.files.read_block("f", 0).rows == [(b"a", old)]


def test_an_iterator_does_not_outlive_its_view() -> None:
    disk = Reports().disk()
    for number in (1, 2):
        disk.submit(number, put(b"%d" % number))
        disk.finish_next()
    disk.renew()
    scan = disk.view.scan(b"1", b"9")
    next(scan)
    disk.submit(3, put(b"3"))
    disk.finish_next()
    disk.renew()
    with pytest.raises(AssertionError, match="outlived"):
        next(scan)


def test_a_crash_takes_files_that_were_not_durable() -> None:
    reports = Reports()
    disk = reports.disk()
    disk.start(CopyRows(1, "copied", (), (), 1.0))
    disk.finish_job()
    disk.start(CopyRows(2, "begun", (), (), 1.0))
    disk.begin_job()
    disk.files.write("received", 0, b"bytes")
    disk.files.write("empty", 0, b"")
    disk.start(VerifyFile(3, "empty", 0))
    disk.crash()
    assert disk.files.names() == ["copied"]


def test_a_verified_file_survives_until_it_is_written_again() -> None:
    reports = Reports()
    disk = reports.disk()
    for name in ("whole", "changed"):
        disk.files.write(name, 0, b"")
        disk.start(VerifyFile(1, name, 0))
        disk.finish_job()
    disk.files.write("changed", 0, b"x")
    disk.crash()
    assert disk.files.names() == ["whole"]
    assert reports.jobs == [(1, Verified(0))] * 2


def test_chance_may_leave_any_prefix_of_a_file_or_zeros_behind_it() -> None:
    left = set()
    for seed in range(200):
        disk = Reports().disk()
        disk.files.write("f", 0, b"ab")
        contents = disk.crash(jitter=random.Random(seed).randrange)
        left.add(contents.files.read("f", 0, 9) if contents.files.names() else None)
    assert left == {None, b"", b"a", b"ab", b"a\x00", b"\x00\x00"}


def test_a_deleted_file_may_come_back() -> None:
    seen = set()
    for seed in range(20):
        disk = Reports().disk()
        disk.files.write("f", 0, b"")
        disk.start(VerifyFile(1, "f", 0))
        disk.finish_job()
        disk.files.delete("f")
        seen.add(tuple(disk.crash(jitter=random.Random(seed).randrange).files.names()))
    assert seen == {(), ("f",)}


def test_the_same_dice_leave_the_same_disk() -> None:
    def run() -> list[tuple[str, bytes]]:
        disk, dice = Reports().disk(), random.Random(5)
        for number in range(20):
            disk.files.write(f"f{number}", 0, dice.randbytes(50))
        files = disk.crash(jitter=dice.randrange).files
        return [(name, files.read(name, 0, 99)) for name in files.names()]

    assert run() == run()
