"""The writer process is closed twice, also where the first time was cut short."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest

from flaredb.disk.child_messages import OpenFolder
from flaredb.disk.folder import open_lock, prepare_folder
from flaredb.disk.writer_process import WriterProcess

pytestmark = pytest.mark.anyio


@pytest.fixture
async def writer(tmp_path: Path) -> AsyncIterator[WriterProcess]:
    """One that has opened its folder; whoever uses it closes it."""
    prepare_folder(tmp_path)
    lock = open_lock(tmp_path)
    opened = WriterProcess()
    assert not await opened.open(OpenFolder(folder=str(tmp_path), map_size=1 << 24, lock=lock))
    yield opened
    os.close(lock)


def runs(pid: int) -> bool:
    with suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


async def test_it_is_closed_twice(writer: WriterProcess) -> None:
    await writer.close()
    await writer.close()
    assert not runs(writer.pid)


async def test_it_is_closed_after_a_close_that_was_cancelled(writer: WriterProcess) -> None:
    os.kill(writer.pid, signal.SIGSTOP)
    closing = asyncio.create_task(writer.close())
    await asyncio.sleep(0)  # it waits for the process now
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    assert runs(writer.pid)
    os.kill(writer.pid, signal.SIGCONT)
    await writer.close()
    assert not runs(writer.pid)
