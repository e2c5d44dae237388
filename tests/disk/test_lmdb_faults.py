"""LMDB under a failing disk: one report, nothing acknowledged after it, nothing lost before it."""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from flaredb.disk.disk import DiskError
from flaredb.disk.wal_files import make_segments
from tests.disk.shim import armed, needs_shim
from tests.disk.stations import (
    LmdbStation,
    all_rows,
    lmdb_station,
    next_number,
    save,
    save_rows,
    until,
)
from tests.disk.stations import put_batch as put
from tests.disk.writing_process import batch_of, check_whole

pytestmark = pytest.mark.anyio

SEGMENT = 100 * 4096


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of 2 MiB."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a small tmpfs")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@needs_shim
@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        pytest.param("s", "Input/output error", id="sync"),
        pytest.param("m", "Input/output error", id="meta page"),
        pytest.param("w", "No space left", id="data page"),
    ],
)
async def test_without_a_log_a_failed_commit_is_the_end(
    fault: Path, tmp_path: Path, kind: str, reason: str
) -> None:
    async with lmdb_station(tmp_path / "data", wal_bytes=0) as station:
        await save_rows(station, [(b"kept", b"")])
        with armed(fault, kind):
            station.disk.submit(2, put(b"lost"))
            station.disk.submit(3, put(b"lost too"))
            await until(lambda: bool(station.failures))
        station.disk.submit(4, put(b"never taken"))
        await station.disk.close()
        assert station.saved == [1]
        assert len(station.failures) == 1
        assert "batch 2 " in station.failures[0]
        assert reason in station.failures[0]
        await station.open()
        assert all_rows(station) == [(b"kept", b"")]
        await save_rows(station, [(b"after", b"")])
        assert station.saved == [1, 2]


@needs_shim
@pytest.mark.parametrize("kind", ["k", "t"])
async def test_killed_at_every_write_and_sync(fault: Path, tmp_path: Path, kind: str) -> None:
    """Each round ends one step later; a commit of this size has four or five steps."""
    station, last = LmdbStation(tmp_path / "data"), 0
    for step in range(1, 16):
        await station.open()
        last = check_whole(station.disk, last)
        with armed(fault, f"{kind}{step}"):
            number = last
            while not station.failures:
                number += 1
                station.disk.submit(number, batch_of(number))
                await until(lambda: station.disk.under_way < 2 or bool(station.failures))
        assert station.failures.pop() == "the writer process ended by signal 9"
        await station.disk.close()
        last = max([last, *station.saved])
    assert last > 15


async def test_a_full_disk_loses_nothing_acknowledged(tiny_disk: Path) -> None:
    ballast = tiny_disk / "ballast"
    ballast.write_bytes(bytes(1_000_000))
    async with lmdb_station(tiny_disk / "data") as station:
        while not station.failures:
            station.disk.submit(next_number(station), put(b"%04d" % next_number(station), 50_000))
            await until(lambda: station.disk.under_way == 0 or bool(station.failures))
        assert "free some space" in station.failures[0]
        await station.disk.close()
        acknowledged = len(station.saved)
        assert acknowledged > 0
        ballast.unlink()
        await station.open()
        assert [key for key, _ in all_rows(station)][:acknowledged] == [
            b"%04d" % number for number in range(1, acknowledged + 1)
        ]
        await save_rows(station, [(b"more", bytes(100_000))])


async def test_a_disk_that_is_full_at_start_is_told_and_costs_nothing(tiny_disk: Path) -> None:
    """The rows have no room for what the log holds: that is no damage."""
    station, ballast = LmdbStation(tiny_disk / "data"), tiny_disk / "ballast"
    await station.open(wal_bytes=SEGMENT)
    os.kill(station.disk.writer_pid, signal.SIGSTOP)
    keys = [b"%02d" % number for number in range(9)]
    for key in keys:
        await save_rows(station, [(key, bytes(50_000))])
    os.kill(station.disk.writer_pid, signal.SIGKILL)
    await until(lambda: bool(station.failures))
    await station.disk.close()
    for size in (100_000, 4096):  # room for a note that the folder is in use, then for nothing
        fill(ballast, size)
        with pytest.raises(DiskError, match=r"[Ff]ree some space") as refused:
            await station.open(wal_bytes=SEGMENT)
        assert "empty one" not in str(refused.value)
    ballast.unlink()
    await station.open()
    assert [key for key, _ in all_rows(station)] == keys
    await station.disk.close()


def test_a_segment_for_which_there_is_no_room_is_not_made(tiny_disk: Path) -> None:
    """At the end of a full disk a write is short, which is no error by itself."""
    fill(tiny_disk / "ballast", SEGMENT + SEGMENT // 2)
    folder = tiny_disk / "data"
    folder.mkdir()
    assert not make_segments(folder, SEGMENT)
    assert not list(folder.iterdir())


async def test_a_log_for_which_there_is_no_room_at_start_costs_nothing(tiny_disk: Path) -> None:
    station, ballast = LmdbStation(tiny_disk / "data"), tiny_disk / "ballast"
    await station.open(wal_bytes=0)
    await save_rows(station, [(b"%03d" % number, bytes(3000)) for number in range(50)])
    await save(station, lambda batch: batch.delete_range(b"0", b"1"))  # room within the rows' file
    await station.disk.close()
    fill(ballast, SEGMENT + SEGMENT // 2)
    await station.open(wal_bytes=SEGMENT)
    await save_rows(station, [(b"acknowledged", b"")])
    os.kill(station.disk.writer_pid, signal.SIGKILL)
    await until(lambda: bool(station.failures))
    await station.disk.close()
    ballast.unlink()
    await station.open(wal_bytes=SEGMENT)
    assert [key for key, _ in all_rows(station)] == [b"acknowledged"]
    await station.disk.close()


def fill(ballast: Path, left: int) -> None:
    """Write until there are only `left` bytes of room, in whole pages."""
    rest = os.statvfs(ballast.parent)
    with ballast.open("ab") as file:
        file.write(bytes(max(0, rest.f_bavail * rest.f_frsize - left)))
