"""The write-ahead log on a real folder: what is in it and in no row yet survives, or is missed."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import lmdb
import pytest

from flaredb.disk.child_messages import OpenFolder
from flaredb.disk.committer import COMMIT_BYTES
from flaredb.disk.disk import Batch, DiskError, DiskInUseError, Hashed, HashRows
from flaredb.disk.folder import open_lock
from flaredb.disk.layout import FORMAT_KEY, WAL_KEY, seal
from flaredb.disk.lmdb_writer import open_rows
from flaredb.disk.wal_files import make_segments
from flaredb.disk.wal_records import PAGE
from tests.disk.shim import armed, needs_shim
from tests.disk.stations import (
    PATIENCE,
    LmdbStation,
    all_rows,
    flip,
    lmdb_station,
    put_batch,
    save,
    save_rows,
    until,
)
from tests.disk.writing import writing
from tests.disk.writing_process import check_whole

pytestmark = pytest.mark.anyio

ABC = [(b"a", b"1"), (b"b", b"2"), (b"c", b"3")]


@asynccontextmanager
async def killed(
    folder: Path, paused: bool = True, **options: object
) -> AsyncIterator[LmdbStation]:
    """A store that is gone at the end; if `paused`, with what it saved in the log and in no row."""
    station = LmdbStation(folder)
    await station.open(**options)
    if paused:
        os.kill(station.disk.writer_pid, signal.SIGSTOP)
    yield station
    os.kill(station.disk.writer_pid, signal.SIGKILL)
    await until(lambda: bool(station.failures))
    await station.disk.close()


def rows_alone(folder: Path) -> list[bytes]:
    """The keys of the committed rows, without the log."""
    with lmdb.open(str(folder), readonly=True, lock=False) as rows, rows.begin() as transaction:
        return [key for key, _ in transaction.cursor() if key[:1] != b"m"]


async def test_saved_batches_are_read_and_found_again(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    async with killed(folder) as station:
        await save_rows(station, ABC)
        await save(station, lambda batch: batch.delete_range(b"a", b"b"))
        assert all_rows(station) == ABC[1:]
    assert rows_alone(folder) == []
    async with lmdb_station(folder) as station:
        assert all_rows(station) == ABC[1:]
    assert rows_alone(folder) == [b"b", b"c"]


async def test_a_restart_that_is_killed_replays_again(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    async with killed(folder) as station:
        await save_rows(station, ABC)
    for extra in (b"d", b"e"):
        async with killed(folder) as station:
            assert [*all_rows(station)][:3] == ABC
            await save_rows(station, [(extra, b"")])
    async with lmdb_station(folder) as station:
        assert [key for key, _ in all_rows(station)] == [b"a", b"b", b"c", b"d", b"e"]


async def test_an_orderly_stop_leaves_all_in_the_rows(lmdb: LmdbStation) -> None:
    await save_rows(lmdb, ABC)
    await lmdb.disk.close()
    assert rows_alone(lmdb.folder) == [b"a", b"b", b"c"]
    for path in lmdb.folder.glob("wal-*"):
        path.unlink()
    await lmdb.open()
    assert all_rows(lmdb) == ABC


async def test_a_damaged_record_that_was_acknowledged_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    async with killed(folder) as station:
        for row in ABC:
            await save_rows(station, [row])
    flip(folder / "wal-0", PAGE + 40)
    with pytest.raises(DiskError, match=r"batch 2 .*damaged.*PD replaces"):
        await LmdbStation(folder).open()


async def test_a_log_that_is_gone_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    async with killed(folder) as station:
        await save_rows(station, ABC)
    for path in folder.glob("wal-*"):
        path.unlink()
    with pytest.raises(DiskError, match="write-ahead log is gone"):
        await LmdbStation(folder).open()


@pytest.mark.parametrize("length", [None, 0, 4 * PAGE])
async def test_a_log_of_which_a_part_is_gone_is_refused(tmp_path: Path, length: int | None) -> None:
    folder = tmp_path / "data"
    async with killed(folder, wal_bytes=8 * PAGE) as station:
        for number in range(14):
            await save_rows(station, [(b"%d" % number, b"")])
    if length is None:
        (folder / "wal-1").unlink()
    else:
        os.truncate(folder / "wal-1", length)
    with pytest.raises(DiskError, match="write-ahead log is gone"):
        await LmdbStation(folder).open()


async def test_batches_without_changes_are_counted(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    async with killed(folder, wal_bytes=4 * PAGE, paused=False) as station:
        await save_rows(station, ABC)
        for _ in range(20):  # many times what the log holds
            await save(station, lambda batch: None)
    async with lmdb_station(folder) as station:
        assert all_rows(station) == ABC


async def test_killed_before_the_next_log_is_begun(tmp_path: Path) -> None:
    """The log's files may be half made anew then, or gone."""
    folder = tmp_path / "data"
    async with killed(folder) as station:
        await save_rows(station, ABC)
    order = OpenFolder(str(folder), 1 << 30, lock=open_lock(folder))
    open_rows(order).close()
    assert not make_segments(folder, 0)
    os.close(order.lock)
    async with lmdb_station(folder) as station:
        assert all_rows(station) == ABC


async def test_a_stop_while_commits_wait_is_orderly(tmp_path: Path) -> None:
    problems: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, problem: problems.append(problem))
    async with lmdb_station(tmp_path / "data") as station:
        os.kill(station.disk.writer_pid, signal.SIGSTOP)
        for number in range(COMMIT_BYTES // 200_000):
            await save_rows(station, [(b"%d" % number, bytes(400_000))])
        os.kill(station.disk.writer_pid, signal.SIGCONT)
    assert not problems
    assert len(rows_alone(tmp_path / "data")) == len(station.saved)


async def test_a_damaged_mark_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    async with lmdb_station(folder):
        pass
    with lmdb.open(str(folder)) as rows, rows.begin(write=True) as transaction:
        transaction.put(WAL_KEY, b"\0" * 20)
    with pytest.raises(DiskError, match="mark of the write-ahead log"):
        await LmdbStation(folder).open()


async def test_batches_without_a_place_in_the_log_are_committed(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    async with lmdb_station(folder, wal_bytes=2 * PAGE) as station:
        await save_rows(station, ABC)
        station.disk.submit(2, put_batch(b"large", 50_000))
        station.disk.submit(3, put_batch(b"small"))
        await station.settle()
        station.disk.renew()
        assert station.saved == [1, 2, 3]
        for number in range(20):  # many times what the log holds
            await save_rows(station, [(b"n%d" % number, bytes(PAGE))])
        rows = all_rows(station)
        assert len(rows) == 25
        await station.disk.close()
        await station.open()
        assert all_rows(station) == rows


@pytest.mark.parametrize("sizes", [(0, 8 * PAGE), (8 * PAGE, 0), (8 * PAGE, 16 * PAGE)])
async def test_the_log_may_change_between_two_runs(tmp_path: Path, sizes: tuple[int, int]) -> None:
    folder = tmp_path / "data"
    for number, size in enumerate(sizes):
        with writing(folder, size) as process:
            process.after(20)
            os.kill(process.pid, signal.SIGKILL)
            numbers = [int(line) for line in process.rest() if line.isdigit()]
        station = LmdbStation(folder)
        await station.open(wal_bytes=sizes[1 - number])
        assert check_whole(station.disk, max(numbers, default=20)) >= 20
        await station.disk.close()


async def test_a_folder_from_before_there_was_a_log_is_taken(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    async with lmdb_station(folder) as station:
        await save_rows(station, ABC)
    with lmdb.open(str(folder)) as rows, rows.begin(write=True) as transaction:
        transaction.put(FORMAT_KEY, b"1")
        transaction.delete(WAL_KEY)
    async with lmdb_station(folder) as station:
        assert all_rows(station) == ABC


async def test_a_view_is_one_moment_also_while_a_commit_is_not_told(tmp_path: Path) -> None:
    """The writer may have committed a batch of which this process has not heard yet."""
    async with lmdb_station(tmp_path / "data", wal_bytes=2 * PAGE) as station:
        await save_rows(station, [(b"a", b"1"), (b"b", b"1")])
        batch = put_batch(b"large", 2 * PAGE)
        for key in (b"a", b"b", b"c"):
            batch.put(key, b"2")
        station.disk.submit(2, batch)
        deadline = time.monotonic() + PATIENCE
        while station.disk.view.get(b"c") is None:  # the loop gets no turn, so nothing is told
            assert time.monotonic() < deadline
            station.disk.renew()
        assert station.saved == [1]
        assert all_rows(station)[:3] == [(b"a", b"2"), (b"b", b"2"), (b"c", b"2")]
        await station.settle()
        station.disk.renew()
        assert len(all_rows(station)) == 4


async def test_a_job_sees_all_that_was_saved(lmdb: LmdbStation) -> None:
    for number in range(5):
        key = b"d%d" % number
        await save_rows(lmdb, [(key, seal(key, b"x"))])
        found = await lmdb.run(HashRows(number, (), ((b"d", b"e"),), 10.0))
        assert isinstance(found, Hashed)
        assert found.rows == number + 1


async def test_a_store_without_its_writer_still_has_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    station = LmdbStation(folder)
    await station.open()
    os.kill(station.disk.writer_pid, signal.SIGKILL)
    await until(lambda: bool(station.failures))
    with pytest.raises(DiskInUseError):
        await LmdbStation(folder).open(lock_wait=0.1)
    await station.disk.close()
    async with lmdb_station(folder):
        pass


@needs_shim
@pytest.mark.parametrize("kind", ["r", "h"])
async def test_killed_before_and_in_every_record(fault: Path, tmp_path: Path, kind: str) -> None:
    folder, last = tmp_path / "data", 0
    for step in range(1, 9):
        with armed(fault, f"{kind}{step}"), writing(folder) as process:
            numbers = [int(line) for line in process.rest() if line.isdigit()]
        assert len(numbers) == step - 1
        async with lmdb_station(folder) as station:
            last = check_whole(station.disk, max([last, *numbers]))
    assert last == sum(range(8)), "what was not acknowledged was not written either"


@needs_shim
async def test_a_record_that_cannot_be_written_is_the_end(fault: Path, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with armed(fault, "e5"), writing(folder) as process:
        *acknowledged, failure = process.rest()
    assert acknowledged == ["1", "2", "3", "4"]
    assert failure.startswith("failed: batch 5 could not be saved")
    assert "Input/output error" in failure
    async with lmdb_station(folder) as station:
        assert check_whole(station.disk, 4) == 4


async def test_nothing_is_acknowledged_once_the_disk_is_dead(tmp_path: Path) -> None:
    async with killed(tmp_path / "data") as station:
        await save_rows(station, ABC)
    station.disk.submit(2, Batch())
    assert station.saved == [1]
