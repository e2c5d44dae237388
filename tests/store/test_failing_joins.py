"""A disk that fails before the store serves ends its process with the reason."""

import asyncio
from pathlib import Path

import pytest

from flaredb.disk.disk import Batch
from flaredb.disk.lmdb_disk import LmdbDisk
from flaredb.store.service import StoreFailed
from tests.bus.worlds import MemoryWorld
from tests.store.test_ready import accepting_pd, anyio_backend, starting

__all__ = ["anyio_backend"]

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("batch", [1, 2], ids=["while it asks", "when it is accepted"])
@pytest.mark.parametrize("at_once", [True, False])
async def test_the_reason_is_told(
    batch: int, at_once: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = MemoryWorld()
    await world.open()
    await accepting_pd(world.hub)
    process = starting(tmp_path, world.hub.connect("clients"), world.hub)
    submit = LmdbDisk.submit

    def fail(disk: LmdbDisk, number: int, saved: Batch) -> None:
        if number != batch:
            submit(disk, number, saved)
        elif at_once:
            process.fail("the disk is gone")
        else:
            process._loop.call_soon(process.fail, "the disk is gone")

    monkeypatch.setattr(LmdbDisk, "submit", fail)
    with pytest.raises(StoreFailed, match="the disk is gone"):
        await process.run()
    await world.close()


async def test_nothing_is_saved_on_a_disk_that_has_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It failed while PD was asked, and would never say that it has saved."""
    world = MemoryWorld()
    await world.open()
    pd = await accepting_pd(world.hub)
    process = starting(tmp_path, world.hub.connect("clients"), world.hub)
    send, submit = pd.send, LmdbDisk.submit

    def answer(subject: str, payload: bytes, reply: str = "") -> bool:
        process.fail("the disk is gone")
        return send(subject, payload, reply)

    def save(disk: LmdbDisk, number: int, saved: Batch) -> None:
        if process.failure is None:
            submit(disk, number, saved)

    monkeypatch.setattr(pd, "send", answer)
    monkeypatch.setattr(LmdbDisk, "submit", save)
    with pytest.raises(StoreFailed, match="the disk is gone"):
        await asyncio.wait_for(process.run(), 10)
    await world.close()
