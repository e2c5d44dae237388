"""The power goes: everything acknowledged is there afterwards, and the test would notice if not.

Needs root and ext4.
"""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from flaredb.disk.disk import Copied, CopyRows, DiskError, VerifyFile
from tests.disk.powered_disk import PoweredDisk, skip_without_rights
from tests.disk.stations import LmdbStation, sealed, until
from tests.disk.writing_process import batch_of, check_whole

pytestmark = pytest.mark.anyio


@pytest.fixture
def powered(tmp_path: Path) -> Iterator[PoweredDisk]:
    """A disk that is switched on."""
    skip_without_rights()
    disk = PoweredDisk(tmp_path / "image", tmp_path / "mounted")
    if not disk.mount():
        pytest.skip("needs the right to mount a file")
    yield disk
    disk.unmount()


async def write_until_cut(station: LmdbStation, powered: PoweredDisk, first: int, n: int) -> int:
    """Have `n` batches from `first` on acknowledged, cut the power under two more; the last one."""
    for number in range(first, first + n):
        station.disk.submit(number, batch_of(number))
        await station.settle()
    under_way = (first + n, first + n + 1)
    for number in under_way:
        station.disk.submit(number, batch_of(number))
    powered.cut()
    # Both may have been saved just before the cut.
    await until(lambda: bool(station.failures) or station.disk.under_way == 0)
    await station.disk.close()
    return station.saved[-1]


def power_on(station: LmdbStation, powered: PoweredDisk) -> None:
    """Power on again, in what the folder takes for another run of the machine."""
    powered.power_on(station.folder)
    station.failures.clear()


async def test_what_was_acknowledged_survives(powered: PoweredDisk) -> None:
    station, dice, last = LmdbStation(powered.folder / "data"), random.Random(1), 0
    for _ in range(4):
        await station.open()
        found = check_whole(station.disk, last)
        last = await write_until_cut(station, powered, found + 1, dice.randrange(1, 40))
        power_on(station, powered)
    await station.open()
    check_whole(station.disk, last)
    await station.disk.close()


async def test_without_sync_it_does_not(powered: PoweredDisk) -> None:
    station = LmdbStation(powered.folder / "data")
    await station.open()
    await write_until_cut(station, powered, 1, 5)
    power_on(station, powered)
    await station.open(dangerously_without_sync=True)
    acknowledged = await write_until_cut(station, powered, check_whole(station.disk, 5) + 1, 30)
    power_on(station, powered)
    try:
        await station.open()
    except DiskError:
        return
    assert check_whole(station.disk, 0) < acknowledged
    await station.disk.close()


async def test_copied_and_verified_files_survive(powered: PoweredDisk) -> None:
    station = LmdbStation(powered.folder / "data")
    await station.open()
    batch = batch_of(1)
    batch.put(*sealed(b"d1", bytes(10_000)))
    station.disk.submit(1, batch)
    await station.settle()
    copy = await station.run(CopyRows(1, "copied", (), ((b"d", b"e"),), 10.0))
    assert isinstance(copy, Copied)
    whole = station.disk.files.read("copied", 0, copy.size)
    station.disk.files.write("received", 0, whole)
    await station.run(VerifyFile(2, "received", copy.size))
    await write_until_cut(station, powered, 2, 0)
    power_on(station, powered)
    await station.open()
    assert station.disk.files.names() == ["copied", "received"]
    assert station.disk.files.read("received", 0, copy.size) == whole
    assert station.disk.files.read("copied", 0, copy.size) == whole
    await station.disk.close()
