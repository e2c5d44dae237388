"""A store says that it is ready while clients reach it, and at no other time."""

import asyncio
from pathlib import Path
from typing import Final

import pytest

from flaredb.bus.bus import Handler, Message, StreamConfig
from flaredb.bus.memory_bus import MemoryBus, MemoryHub, MemorySubscription
from flaredb.runtime.clock import SystemClock, seeded_jitter
from flaredb.runtime.settings import StoreSettings
from flaredb.store.planes import Planes
from flaredb.store.service import StoreProcess
from flaredb_schemas.envelope import Codec
from flaredb_schemas.ids import ClusterId, JournalSequence, PdEpoch, StoreId
from flaredb_schemas.placement import JoinAnswer, Joined
from flaredb_schemas.requests import RequestFrame, StoreStatusRequest
from flaredb_schemas.subjects import Subjects
from tests.bus.worlds import MemoryWorld, eventually

pytestmark = pytest.mark.anyio

SUBJECTS: Final = Subjects()
STORE: Final = StoreId(1)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class SlowBus(MemoryBus):
    """A connection on which subscriptions take until they are let through."""

    def __init__(self, hub: MemoryHub) -> None:
        super().__init__(hub, "clients", "_INBOX.clients")
        hub.connections.append(self)
        self.asked: Final = asyncio.Event()
        self.let_through: Final = asyncio.Event()

    async def subscribe(self, subject: str, handler: Handler) -> MemorySubscription:
        self.asked.set()
        await self.let_through.wait()
        return await super().subscribe(subject, handler)


async def accepting_pd(hub: MemoryHub) -> MemoryBus:
    """Accepts a new store, and has a stream for its events."""
    bus = hub.connect("pd")

    def accept(message: Message) -> None:
        joined = Joined(ClusterId("c" * 32), STORE, PdEpoch(1), JournalSequence(1), 9)
        bus.send(message.reply, Codec[JoinAnswer](JoinAnswer).encode(joined))

    await bus.subscribe(SUBJECTS.pd_request(StoreId(0), "join"), accept)
    await bus.history.ensure(StreamConfig("EVENTS", ("flaredb.evt.>",)))
    return bus


async def is_answered(bus: MemoryBus) -> bool:
    """Whether the store answers a client."""
    question = Codec[RequestFrame](RequestFrame).encode(RequestFrame(1, (StoreStatusRequest(1),)))
    return await bus.request(SUBJECTS.rpc(STORE), question, 5.0) is not None


def starting(folder: Path, clients: MemoryBus, hub: MemoryHub) -> StoreProcess:
    """A store that runs on `folder` as soon as it is told to."""
    others = [hub.connect(name) for name in ("raft", "snapshots", "events")]
    planes = Planes(raft=others[0], snapshots=others[1], events=others[2], clients=clients)
    settings = StoreSettings(data=str(folder / "store"))
    return StoreProcess(settings, planes, SystemClock(), seeded_jitter())


async def test_ready_is_who_can_be_asked(tmp_path: Path) -> None:
    world = MemoryWorld()
    await world.open()
    pd, clients = await accepting_pd(world.hub), SlowBus(world.hub)
    process = starting(tmp_path, clients, world.hub)
    assert process.why_not_ready() == "waiting for the disk"
    running = asyncio.create_task(process.run())

    await asyncio.wait_for(clients.asked.wait(), 10)
    assert process.why_not_ready() == "waiting for the bus"
    assert not await is_answered(pd)

    clients.let_through.set()
    await eventually(lambda: not process.why_not_ready())
    assert await is_answered(pd)

    clients.disconnect()
    assert process.why_not_ready() == "waiting for the bus"
    clients.reconnect()
    assert process.why_not_ready() == ""

    process.stop()
    await asyncio.wait_for(running, 20)
    assert process.why_not_ready() == "waiting for its end"
    await world.close()
