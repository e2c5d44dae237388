"""Processes killed at any moment: what was acknowledged is there, and every batch is whole."""

import os
import random
import signal
from contextlib import suppress
from pathlib import Path

import pytest

from tests.disk.stations import LmdbStation, all_rows, lmdb_station, put_batch, save_rows, until
from tests.disk.writing import writing
from tests.disk.writing_process import check_whole

pytestmark = pytest.mark.anyio


def is_running(pid: int) -> bool:
    """Whether there is such a process that has not ended; one that nobody reaped has."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


@pytest.mark.parametrize("victim", ["store", "writer"])
async def test_killed_at_any_moment(tmp_path: Path, victim: str) -> None:
    dice, last = random.Random(victim), 0
    for _ in range(6):
        with writing(tmp_path / "data") as process:
            process.after(dice.randrange(1, 150))
            os.kill(process.pid if victim == "store" else process.writer_pid, signal.SIGKILL)
            numbers = [int(line) for line in process.rest() if line.isdigit()]
        async with lmdb_station(tmp_path / "data") as station:
            last = check_whole(station.disk, max([last, *numbers]))
    assert last > 6


async def test_the_writer_dies_with_its_store(tmp_path: Path) -> None:
    with writing(tmp_path / "data") as process:
        process.after(3)
        assert is_running(process.writer_pid)
        os.kill(process.pid, signal.SIGKILL)
        await until(lambda: not is_running(process.writer_pid))


async def test_the_store_learns_that_its_writer_died(tmp_path: Path) -> None:
    with writing(tmp_path / "data") as process:
        process.after(3)
        os.kill(process.writer_pid, signal.SIGKILL)
        assert process.rest()[-1] == "failed: the writer process ended by signal 9"


async def test_nothing_is_acknowledged_after_the_writer_died(lmdb: LmdbStation) -> None:
    await save_rows(lmdb, [(b"a", b"1")])
    os.kill(lmdb.disk.writer_pid, signal.SIGSTOP)
    lmdb.disk.submit(2, put_batch(b"b"))
    os.kill(lmdb.disk.writer_pid, signal.SIGKILL)
    await until(lambda: bool(lmdb.failures))
    acknowledged = list(lmdb.saved)
    lmdb.disk.submit(3, put_batch(b"c"))
    await lmdb.disk.close()
    assert lmdb.saved == acknowledged
    assert lmdb.failures == ["the writer process ended by signal 9"]
    await lmdb.open()
    assert [key for key, _ in all_rows(lmdb)] in ([b"a"], [b"a", b"b"])
    assert len(all_rows(lmdb)) >= len(acknowledged)
