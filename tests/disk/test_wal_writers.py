"""What writes the write-ahead log, by a thread and by the kernel's queue: one contract for both."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from flaredb.disk.kernel_queue import KernelQueue
from flaredb.disk.wal_files import make_segments, open_segments, read_segments
from flaredb.disk.wal_kernel import WalKernel, start_wal
from flaredb.disk.wal_records import PAGE, WalRun, to_replay
from flaredb.disk.wal_space import Place
from flaredb.disk.wal_thread import KEPT_BYTES, WalThread
from tests.disk.stations import until

pytestmark = pytest.mark.anyio

RUN = WalRun(7)
SIZE = 1024 * 1024


class Written:
    """Records written into a folder's segments by one of the writers."""

    def __init__(self, folder: Path, kind: str) -> None:
        self.folder = folder
        self.numbers: list[int] = []
        self.failures: list[str] = []
        assert make_segments(folder, SIZE)
        self.segments = open_segments(folder, sync=True)
        self.wal = self._start(kind, self.numbers.append, self.failures.append)

    def _start(
        self, kind: str, on_written: Callable[[int], None], on_failed: Callable[[str], None]
    ) -> WalKernel | WalThread:
        if kind == "thread":
            return WalThread(self.segments, RUN, on_written, on_failed)
        wal = start_wal(self.segments, RUN, on_written, on_failed)
        if not isinstance(wal, WalKernel):
            pytest.skip("this system has no queue of its own for writes")
        return wal

    async def write(self, number: int, body: bytes, offset: int) -> None:
        self.wal.write(number, Place(0, offset), memoryview(body))
        await until(lambda: self.numbers[-1:] == [number] or bool(self.failures))

    def found(self) -> list[bytes]:
        bodies = to_replay(read_segments(self.folder), RUN, 0)
        assert isinstance(bodies, list)
        return [bytes(body) for body in bodies]


@pytest.fixture(params=["thread", "kernel"])
async def written(request: pytest.FixtureRequest, tmp_path: Path) -> Written:
    return Written(tmp_path, request.param)


async def test_what_is_told_as_written_is_there(written: Written) -> None:
    await written.write(1, b"one", 0)
    await written.write(2, b"two", PAGE)
    assert written.found() == [b"one", b"two"]
    await written.wal.close()
    assert written.numbers == [1, 2] and not written.failures


async def test_a_record_larger_than_the_buffer(written: Written) -> None:
    large = os.urandom(KEPT_BYTES + 1)
    await written.write(1, large, 0)
    await written.write(2, b"small", KEPT_BYTES + PAGE)
    assert written.found() == [large, b"small"]
    await written.wal.close()


async def test_closing_waits_for_what_was_begun(written: Written) -> None:
    written.wal.write(1, Place(0, 0), memoryview(b"one"))
    await written.wal.close()
    assert written.found() == [b"one"]
    assert written.segments == []


async def test_a_failure_is_told_once_and_nothing_is_written_after_it(written: Written) -> None:
    good = written.segments[0]
    written.segments[0] = os.open("/dev/null", os.O_RDONLY)
    await written.write(1, b"one", 0)
    os.close(written.segments[0])
    written.segments[0] = good
    written.wal.write(2, Place(0, 0), memoryview(b"two"))
    await asyncio.sleep(0)
    await written.wal.close()
    assert written.numbers == [] and written.found() == []
    [reason] = written.failures
    assert "batch 1 could not be saved" in reason and "dmesg" in reason


async def test_a_write_through_the_page_cache_goes_by_a_thread(tmp_path: Path) -> None:
    """In the kernel's queue it would hold up the loop until the disk has it."""
    assert make_segments(tmp_path, SIZE)
    segments = open_segments(tmp_path, sync=False)
    wal = start_wal(segments, RUN, lambda number: None, lambda reason: None)
    assert isinstance(wal, WalThread)
    await wal.close()


def test_there_is_no_queue_on_a_descriptor_that_cannot_be_read(tmp_path: Path) -> None:
    descriptor = os.open(tmp_path / "f", os.O_WRONLY | os.O_CREAT)
    assert KernelQueue.open(descriptor) is None
    os.close(descriptor)
