"""PDs and stores that speak the messages, on one bus: in memory, or on a real nats-server."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from flaredb.bus.bus import Bus
from flaredb.runtime import logs
from flaredb.runtime.clock import SystemClock, seeded_jitter
from flaredb_pd.config import Config
from flaredb_pd.service import PdService
from flaredb_schemas.ids import ClusterId, PdIncarnation
from flaredb_schemas.records import decode_fact
from tests.bus.worlds import MemoryWorld, NatsWorld, World, eventually
from tests.pd.builders import SPLIT_AT_M
from tests.pd.fake_store import SUBJECTS, FakeStore, Ground


def quick_config(name: str, disconnected_after: float) -> Config:
    """As in production, but impatient."""
    return Config(
        name=name,
        incarnation=PdIncarnation(secrets.token_hex(16)),
        cluster=ClusterId(secrets.token_hex(16)),
        ranges=SPLIT_AT_M,
        alive_period=0.1,
        silence=0.5,
        silence_jitter=0.1,
        witness_window=0.4,
        order_period=0.1,
        journal_check_period=0.3,
        disconnected_after=disconnected_after,
    )


class RunningPd:
    """One PD with a connection of its own."""

    def __init__(self, bus: Bus, name: str, disconnected_after: float) -> None:
        self.bus = bus
        self.service = PdService(
            bus,
            SUBJECTS,
            quick_config(name, disconnected_after),
            SystemClock(),
            seeded_jitter(),
            logs.logger("flaredb_pd", pd=name),
        )
        self.task = asyncio.create_task(self.service.run())

    async def kill(self) -> None:
        """End it without a word."""
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        await self.bus.close()


class Town:
    """PDs and stores on one bus."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.pds: list[RunningPd] = []
        self.stores: list[FakeStore] = []
        self.ground = Ground()

    async def pd(self, name: str, disconnected_after: float = 5.0) -> RunningPd:
        running = RunningPd(await self.world.connect(name), name, disconnected_after)
        self.pds.append(running)
        return running

    async def store(self, letter: str) -> FakeStore:
        store = FakeStore(await self.world.connect(f"store-{letter}"), letter, self.ground)
        self.stores.append(store)
        await store.start()
        return store

    async def three_stores(self) -> list[FakeStore]:
        """A bootstrapped cluster."""
        stores = [await self.store(letter) for letter in "abc"]
        await eventually(lambda: all(store.joined.is_set() for store in stores))
        await self.ready()
        await self.together()
        return stores

    async def get(self, what: str) -> Any:
        """A JSON answer of whichever PD leads; None if none answers."""
        bus = self.stores[0].bus
        payload = await bus.request(SUBJECTS.pd_get(what), b"", timeout=0.3)
        return json.loads(payload) if payload else None

    async def ready(self, seconds: float = 10.0) -> Any:
        """The status, once the leading PD is ready and knows a leader of each region."""
        async with asyncio.timeout(seconds):
            while True:
                status = await self.get("status")
                if status and status["ready"] and status["leaders"] == 2:
                    return status
                await asyncio.sleep(0.02)

    async def together(self, seconds: float = 10.0) -> None:
        """Wait until PD knows that leaders hear all their peers: the first ones to come did not."""
        async with asyncio.timeout(seconds):
            while True:
                rows = (await self.get("regions") or {"regions": []})["regions"]
                if rows and not any(row["down_peers"] for row in rows):
                    return
                self.ground.report()
                await asyncio.sleep(0.02)

    async def states(self, until: list[str], seconds: float = 10.0) -> list[str]:
        """Each store's state, once they are `until`: PD judges a store a tick after it heard it."""
        async with asyncio.timeout(seconds):
            while True:
                rows = (await self.get("stores") or {"stores": []})["stores"]
                if [row["state"] for row in rows] == until:
                    return until
                await asyncio.sleep(0.02)

    async def journal(self) -> list[Any]:
        bus = self.stores[0].bus
        records = await bus.history.read(SUBJECTS.journal_stream, after=0)
        return [decode_fact(record.payload) for record in records]

    async def close(self) -> None:
        for store in self.stores:
            await store.stop()
        for running in self.pds:
            await running.kill()
        await self.world.close()


@asynccontextmanager
async def town(kind: str, folder: Path) -> AsyncIterator[Town]:
    world: World = MemoryWorld() if kind == "memory" else NatsWorld(folder)
    await world.open()
    # The first connection stays whatever becomes of PDs.
    await world.connect("operator")
    opened = Town(world)
    try:
        yield opened
    finally:
        await opened.close()
