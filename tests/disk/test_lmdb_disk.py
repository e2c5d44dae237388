"""What only the disk on LMDB can show: its folder, its limits, its children, its refusals."""

import asyncio
import fcntl
import os
import signal
import stat
from pathlib import Path

import pytest

from flaredb.disk.disk import (
    Batch,
    Copied,
    CopyRows,
    DiskError,
    DiskInUseError,
    Hashed,
    HashRows,
    JobFailed,
)
from flaredb.disk.layout import FORMAT_KEY
from flaredb.disk.lmdb_environment import MAX_READERS
from tests.disk.stations import (
    LmdbStation,
    all_rows,
    flip,
    lmdb_station,
    next_number,
    put_batch,
    save,
    save_rows,
    sealed,
    until,
)

pytestmark = pytest.mark.anyio

RANGES = ((b"d", b"e"),)


def children_of(pid: int) -> list[int]:
    listing = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in listing.split()]


def command_of(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")


def pretend_the_machine_failed(folder: Path) -> None:
    """Leave the folder as a power cut does: in use, in another run of the machine."""
    (folder / "in-use").write_text("another run")


async def test_the_folder_is_for_its_owner_alone(lmdb: LmdbStation) -> None:
    lmdb.disk.files.write("f", 0, b"x")
    modes = {
        path.relative_to(lmdb.folder).as_posix(): stat.S_IMODE(path.stat().st_mode)
        for path in (lmdb.folder, *lmdb.folder.rglob("*"))
    }
    assert modes == {
        ".": 0o700,
        "data.mdb": 0o600,
        "in-use": 0o600,
        "lock.mdb": 0o600,
        "snapshots": 0o700,
        "snapshots/f": 0o600,
        "wal-0": 0o600,
        "wal-1": 0o600,
        "writer.lock": 0o600,
    }


async def test_what_rows_had_taken_they_can_take_again(lmdb: LmdbStation) -> None:
    await save_rows(lmdb, [(b"d%04d" % number, bytes(1000)) for number in range(1000)])
    await lmdb.restart()
    before = lmdb.disk.usage()
    await save(lmdb, lambda batch: batch.delete_range(b"d", b"e"))
    await lmdb.restart()
    after = lmdb.disk.usage()
    assert before.used - after.used > 900_000
    assert after.reusable - before.reusable > 900_000
    assert after.room == after.free + after.reusable


async def test_an_orderly_stop_acknowledges_what_is_under_way(lmdb: LmdbStation) -> None:
    lmdb.disk.submit(1, put_batch(b"a", 200_000))
    lmdb.disk.submit(2, put_batch(b"b", 200_000))
    await lmdb.disk.close()
    assert lmdb.saved == [1, 2]
    assert lmdb.failures == []
    assert not (lmdb.folder / "in-use").exists()
    await lmdb.open()
    assert [key for key, _ in all_rows(lmdb)] == [b"a", b"b"]


async def test_a_request_to_stop_is_for_the_store_alone(lmdb: LmdbStation) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        os.kill(lmdb.disk.writer_pid, number)
    await save_rows(lmdb, [(b"still", b"here")])
    assert lmdb.failures == []


async def test_a_store_waits_for_a_dying_predecessor(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    station = LmdbStation(folder)
    with (folder / "writer.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        opening = asyncio.create_task(station.open(lock_wait=20.0))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(opening), 0.5)
    await opening
    await station.disk.close()


async def test_a_folder_has_one_store(lmdb: LmdbStation) -> None:
    with pytest.raises(DiskInUseError) as refusal:
        await LmdbStation(lmdb.folder).open(lock_wait=0.1)
    for word in (str(lmdb.folder), f"process {lmdb.disk.writer_pid} ", "FLAREDB_DATA"):
        assert word in str(refusal.value)
    await save_rows(lmdb, [(b"still", b"mine")])


async def test_a_map_that_is_full_grows(tmp_path: Path) -> None:
    station = LmdbStation(tmp_path / "data")
    await station.open(map_size=1 << 20)
    first = await station.run(HashRows(1, (), RANGES, 10.0))
    assert isinstance(first, Hashed)
    for number in range(1, 9):
        await save_rows(station, [sealed(b"d%d" % number, bytes(600_000))])
    assert station.failures == []
    assert [key for key, _ in all_rows(station)] == [b"d%d" % number for number in range(1, 9)]
    grown = await station.run(HashRows(2, (), RANGES, 10.0))
    assert isinstance(grown, Hashed)
    assert grown.rows == 8
    await station.disk.close()


async def test_a_killed_job_fails_and_the_next_one_runs(lmdb: LmdbStation) -> None:
    await save_rows(lmdb, [sealed(b"d1", b"x")])
    assert isinstance(await lmdb.run(HashRows(1, (), RANGES, 10.0)), Hashed)
    (process,) = [pid for pid in children_of(os.getpid()) if "lmdb_jobs" in command_of(pid)]
    os.kill(process, signal.SIGSTOP)
    lmdb.disk.start(HashRows(2, (), RANGES, 10.0))
    lmdb.disk.start(CopyRows(3, "f", (), RANGES, 10.0))
    await until(lambda: len(lmdb.results) == 1)
    os.kill(process, signal.SIGKILL)
    await until(lambda: len(lmdb.results) == 2)
    results = dict(lmdb.results)
    assert isinstance(results[3], Copied)
    assert results[2] == JobFailed("the job's process ended by signal 9")
    lmdb.results.clear()
    for number in range(4, 8):
        assert isinstance(await lmdb.run(HashRows(number, (), RANGES, 10.0)), Hashed)
    assert lmdb.failures == []


async def test_closing_gives_up_jobs(lmdb: LmdbStation) -> None:
    await save_rows(lmdb, [sealed(b"d%06d" % number, bytes(100)) for number in range(20_000)])
    for number in range(5):
        lmdb.disk.start(HashRows(number, (), RANGES * 100, 30.0))
    await lmdb.disk.close()
    reported = len(lmdb.results)
    await lmdb.open()
    assert [pid for pid in children_of(os.getpid()) if "lmdb_jobs" in command_of(pid)] == []
    assert len(lmdb.results) == reported


async def test_more_jobs_than_readers(lmdb: LmdbStation) -> None:
    await save_rows(lmdb, [sealed(b"d1", b"x")])
    for number in range(2 * MAX_READERS):
        lmdb.disk.start(HashRows(number, (), RANGES, 10.0))
    await until(lambda: len(lmdb.results) == 2 * MAX_READERS)
    assert all(isinstance(result, Hashed) for _, result in lmdb.results)
    lmdb.results.clear()


async def test_a_later_layout_is_refused(tmp_path: Path) -> None:
    async with lmdb_station(tmp_path / "data") as station:
        batch = Batch()
        batch.put(FORMAT_KEY, b"3")
        station.disk.submit(next_number(station), batch)
        await station.settle()
    with pytest.raises(DiskError, match=r"layout 3.*reads layout 2"):
        await LmdbStation(tmp_path / "data").open()


async def test_a_file_that_is_not_ours_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data.mdb").write_bytes(b"not rows" * 10_000)
    with pytest.raises(DiskError, match="PD replaces"):
        await LmdbStation(tmp_path).open()


async def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DiskError, match="FLAREDB_DATA"):
        await LmdbStation(tmp_path / "file" / "data").open()


async def test_a_folder_that_holds_other_things_is_refused(tmp_path: Path) -> None:
    (tmp_path / "kept.json").write_text("a playground's")
    with pytest.raises(DiskError, match=r"kept\.json is in it.*FLAREDB_DATA"):
        await LmdbStation(tmp_path).open()
    assert os.listdir(tmp_path) == ["kept.json"]


async def test_a_new_file_system_is_taken(tmp_path: Path) -> None:
    (tmp_path / "lost+found").mkdir()
    (tmp_path / ".hidden").touch()
    async with lmdb_station(tmp_path):
        pass


async def test_a_broken_tree_is_found_after_the_machine_failed(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    async with lmdb_station(folder) as station:
        await save_rows(station, [(b"%06d" % number, bytes(50)) for number in range(5_000)])
    pretend_the_machine_failed(folder)
    async with lmdb_station(folder) as station:
        assert len(all_rows(station)) == 5_000
    pretend_the_machine_failed(folder)
    page, flags = 4096, 10
    newest = (folder / "data.mdb").stat().st_size - page
    flip(folder / "data.mdb", newest + flags)
    with pytest.raises(DiskError, match="faults after a crash"):
        await LmdbStation(folder).open()


async def test_a_file_cut_short_is_found_after_the_machine_failed(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    async with lmdb_station(folder) as station:
        await save_rows(station, [(b"%06d" % number, bytes(50)) for number in range(5_000)])
    pretend_the_machine_failed(folder)
    os.truncate(folder / "data.mdb", 50 * 4096)
    with pytest.raises(DiskError, match="faults after a crash"):
        await LmdbStation(folder).open()
