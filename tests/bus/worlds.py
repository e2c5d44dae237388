"""A bus of either kind under one handle, so that one suite can drive both.

A world gives connections, cuts all of them at once and mends them; in memory it also pumps.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Final

from flaredb.bus.bus import Bus, StreamConfig
from flaredb.bus.memory_bus import MemoryBus, MemoryHub
from flaredb.bus.nats_bus import NatsBus
from flaredb.runtime.clock import SystemClock
from tests.nats_server import NatsServer


async def eventually(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait until `condition` holds; fail when it does not within `seconds`."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 (any condition, not only an event)
            await asyncio.sleep(0.005)


class World(ABC):
    """What the suite needs of an adapter besides the port itself."""

    @abstractmethod
    async def open(self) -> None:
        """Have the bus running."""

    @abstractmethod
    async def connect(self, name: str) -> Bus:
        """A new connection."""

    @abstractmethod
    async def cut(self) -> None:
        """Every connection is lost, and every connection knows."""

    @abstractmethod
    async def mend(self) -> None:
        """Every connection is back."""

    @abstractmethod
    async def lose_stream(self, name: str) -> None:
        """A stream is gone with all it held."""

    @abstractmethod
    async def close(self) -> None:
        """End everything that was started."""


class MemoryWorld(World):
    """A hub, and a task that delivers whatever is on its way."""

    def __init__(self) -> None:
        self.hub: Final = MemoryHub(SystemClock())
        self._pump: asyncio.Task[None] | None = None

    async def open(self) -> None:
        self._pump = asyncio.create_task(self._pump_for_ever())

    async def connect(self, name: str) -> MemoryBus:
        return self.hub.connect(name)

    async def cut(self) -> None:
        for bus in self.hub.connections:
            bus.disconnect()

    async def mend(self) -> None:
        for bus in self.hub.connections:
            bus.reconnect()

    async def lose_stream(self, name: str) -> None:
        self.hub.lose_stream(name)

    async def close(self) -> None:
        assert self._pump is not None
        self._pump.cancel()

    async def _pump_for_ever(self) -> None:
        while True:
            self.hub.deliver_all()
            await asyncio.sleep(0.001)


class NatsWorld(World):
    """A nats-server of its own."""

    def __init__(self, folder: Path, fast: bool = True, extra: str = "") -> None:
        self.server: Final = NatsServer(folder, extra)
        self.connections: Final[list[NatsBus]] = []
        self._fast: Final = fast

    async def open(self) -> None:
        self.server.start()

    async def connect(self, name: str) -> NatsBus:
        bus = await NatsBus.connect(
            self.server.url, name=name, inbox_prefix=f"_INBOX_{name}", fast=self._fast
        )
        self.connections.append(bus)
        return bus

    async def cut(self) -> None:
        self.server.kill()
        await eventually(lambda: not any(bus.connected for bus in self.connections))

    async def mend(self) -> None:
        self.server.start()
        await eventually(lambda: all(bus.connected for bus in self.connections))

    async def lose_stream(self, name: str) -> None:
        await self.connections[0].line.client.jetstream().delete_stream(name)

    async def close(self) -> None:
        for bus in self.connections:
            await bus.close()
        self.server.close()


def stream(name: str = "HISTORY", subjects: tuple[str, ...] = ("h.>",)) -> StreamConfig:
    """A stream that its tests may also lose."""
    return StreamConfig(name, subjects)
