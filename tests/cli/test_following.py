"""Following events, through what happens to the streams meanwhile."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator

import pytest

from flaredb.bus.bus import BusError
from flaredb.cli import events
from flaredb.cli.events import EventReader
from tests.bus.worlds import MemoryWorld, stream

pytestmark = pytest.mark.anyio


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[MemoryWorld]:
    """A bus in memory; nobody has patience."""
    monkeypatch.setattr(events, "PATIENCE_SECONDS", 0.1)
    monkeypatch.setattr(events, "PAUSE_SECONDS", 0.01)
    made = MemoryWorld()
    await made.open()
    yield made
    await made.close()


async def payloads(reader: EventReader) -> AsyncGenerator[bytes, None]:
    """What comes to the stream."""
    async for _, record in reader.follow():
        yield record.payload


async def test_a_lost_connection_is_waited_for(world: MemoryWorld) -> None:
    bus = await world.connect("follower")
    await bus.history.ensure(stream())
    coming = payloads(EventReader(bus, ["HISTORY"]))
    async with asyncio.timeout(20):
        await bus.history.append("h.1", b"before", {})
        assert await anext(coming) == b"before"
        next_one = asyncio.ensure_future(anext(coming))
        await world.cut()
        await asyncio.sleep(3 * events.PATIENCE_SECONDS)
        assert not next_one.done()
        await world.mend()
        await bus.history.append("h.1", b"after", {})
        assert await next_one == b"after"
    await coming.aclose()


async def test_a_lost_stream_is_told(world: MemoryWorld) -> None:
    bus = await world.connect("follower")
    await bus.history.ensure(stream())
    coming = payloads(EventReader(bus, ["HISTORY"]))
    next_one = asyncio.ensure_future(anext(coming))
    await asyncio.sleep(0)
    await world.lose_stream("HISTORY")
    async with asyncio.timeout(20):
        with pytest.raises(BusError):
            await next_one
