"""One way to drive both disks, so that one suite holds for both.

A station has a disk, knows what was acknowledged, and can end the process that has the disk.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, Protocol

from flaredb.disk.disk import Batch, Disk, Job, JobResult, VerifyFile
from flaredb.disk.folder import SNAPSHOTS
from flaredb.disk.layout import seal
from flaredb.disk.lmdb_disk import LmdbDisk
from flaredb.disk.memory_disk import Contents, MemoryDisk

PATIENCE: Final = 20.0
"""Seconds that a test waits for what must come."""

QUOTA: Final = 1 << 26

Rows = list[tuple[bytes, bytes]]


class Station(Protocol):
    """A disk under test. `saved` and `failures` are what it has reported, in order."""

    saved: list[int]
    failures: list[str]

    @property
    def disk(self) -> Disk:
        """The disk, open."""
        ...

    async def settle(self) -> None:
        """Return when everything submitted is acknowledged."""
        ...

    async def run(self, job: Job) -> JobResult:
        """Start a job and wait for its result. A job without time runs out."""
        ...

    async def restart(self) -> None:
        """End the process that has the disk, once all is acknowledged, and open the disk anew."""
        ...

    def damage(self, name: str, offset: int) -> None:
        """Change one byte of a file of rows."""
        ...


class MemoryStation:
    """Drives a `MemoryDisk`."""

    def __init__(self) -> None:
        self.saved: list[int] = []
        self.failures: list[str] = []
        self._results: list[tuple[int, JobResult]] = []
        self.disk = self._open(None)

    def _open(self, contents: Contents | None) -> MemoryDisk:
        return MemoryDisk(
            self.saved.append,
            self.failures.append,
            lambda number, result: self._results.append((number, result)),
            contents,
            QUOTA,
        )

    async def settle(self) -> None:
        while self.disk.under_way:
            self.disk.finish_next()

    async def run(self, job: Job) -> JobResult:
        self.disk.start(job)
        if not isinstance(job, VerifyFile) and not job.seconds:
            self.disk.expire_job()
        else:
            self.disk.finish_job()
        number, result = self._results.pop()
        assert number == job.number and not self._results
        return result

    async def restart(self) -> None:
        await self.settle()
        self.disk = self._open(self.disk.crash())

    def damage(self, name: str, offset: int) -> None:
        byte = self.disk.files.read(name, offset, 1)[0]
        self.disk.files.write(name, offset, bytes([byte ^ 1]))


class LmdbStation:
    """Drives an `LmdbDisk` in `folder`."""

    disk: LmdbDisk

    def __init__(self, folder: Path) -> None:
        self.folder: Final = folder
        self.saved: list[int] = []
        self.failures: list[str] = []
        self.results: Final[list[tuple[int, JobResult]]] = []
        self._reported: Final = asyncio.Event()

    async def open(self, **options: object) -> None:
        """Open the disk, with `LmdbDisk.open`'s options."""
        self.disk = await LmdbDisk.open(
            self.folder,
            quota=QUOTA,
            on_saved=self._saved,
            on_failed=self.failures.append,
            on_job=lambda number, result: self.results.append((number, result)),
            **options,  # type: ignore[arg-type]
        )

    def _saved(self, number: int) -> None:
        self.saved.append(number)
        self._reported.set()

    async def settle(self) -> None:
        async with asyncio.timeout(PATIENCE):
            while self.disk.under_way:
                self._reported.clear()
                await self._reported.wait()

    async def run(self, job: Job) -> JobResult:
        self.disk.start(job)
        await until(lambda: bool(self.results))
        number, result = self.results.pop()
        assert number == job.number and not self.results
        return result

    async def restart(self) -> None:
        await self.disk.close()
        await self.open()

    def damage(self, name: str, offset: int) -> None:
        flip(self.folder / SNAPSHOTS / name, offset)


def flip(path: Path, offset: int) -> None:
    """Change one bit of the byte at `offset`."""
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 1]))


async def until(condition: Callable[[], bool]) -> None:
    """Return when `condition` holds; fail if it does not in time."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110  (what is awaited may be another process)
            await asyncio.sleep(0.001)


@asynccontextmanager
async def memory_station(folder: Path) -> AsyncIterator[Station]:
    """A station on memory."""
    yield MemoryStation()


@asynccontextmanager
async def lmdb_station(folder: Path, **options: object) -> AsyncIterator[LmdbStation]:
    """A station on LMDB, closed at the end."""
    station = LmdbStation(folder)
    await station.open(**options)
    try:
        yield station
    finally:
        await station.disk.close()


def sealed(key: bytes, payload: bytes) -> tuple[bytes, bytes]:
    """A row as the store writes it, which is the only kind that jobs accept."""
    return key, seal(key, payload)


def put_batch(key: bytes, size: int = 0) -> Batch:
    """A batch of one row, with zeros for its value."""
    batch = Batch()
    batch.put(key, bytes(size))
    return batch


async def save(station: Station, *fill: Callable[[Batch], None]) -> None:
    """Save a batch for each of `fill`, one after the other, and show them."""
    for each in fill:
        batch = Batch()
        each(batch)
        station.disk.submit(next_number(station), batch)
        await station.settle()
    station.disk.renew()


def next_number(station: Station) -> int:
    """The number that the next batch must have."""
    return station.saved[-1] + 1 if station.saved else 1


async def save_rows(station: Station, rows: Rows) -> None:
    """Save rows in one batch, and show them."""

    def fill(batch: Batch) -> None:
        for key, value in rows:
            batch.put(key, value)

    await save(station, fill)


def all_rows(station: Station) -> Rows:
    """What the view shows, except for rows of the store as a whole."""
    return [*station.disk.view.scan(b"\x00", b"m"), *station.disk.view.scan(b"n", b"\xff" * 9)]
