"""Whether other regions feel it when one has much to do: probes, and work for the one."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from flaredb.client.client import Client
from flaredb.playground.supervisor import LocalCluster
from flaredb_schemas.ids import StoreId
from tests.cluster import harm

PROBE_SECONDS: Final = 0.01
WRITERS: Final = 32

LONGEST_PROBE: Final = 0.2
"""Seconds."""

CLOSE: Final = 200
"""Entries that a replica may be behind while others go on writing."""


class Probes:
    """Writes and reads of another region, a pair every few milliseconds."""

    def __init__(self, db: Client) -> None:
        self._db: Final = db
        self.seconds: Final[list[float]] = []

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Probes"]:
        """Probe while the block runs; what has begun is waited for."""
        async with asyncio.TaskGroup() as probes:
            sending = asyncio.create_task(self._send(probes))
            try:
                yield self
            finally:
                sending.cancel()

    @property
    def longest(self) -> float:
        """The longest wait of one probe in seconds."""
        return max(self.seconds)

    async def _send(self, probes: asyncio.TaskGroup) -> None:
        while True:
            probes.create_task(self._one())
            await asyncio.sleep(PROBE_SECONDS)

    async def _one(self) -> None:
        begun = time.monotonic()
        await self._db.put(b"a-probe", b"%f" % begun)
        await self._db.get(b"a-probe")
        self.seconds.append(time.monotonic() - begun)


async def fill(db: Client, rows: int, value_bytes: int) -> None:
    """Write so many rows of the large region, `z-00000000` and on."""
    left = iter(range(rows))

    async def write() -> None:
        for number in left:
            await db.put(b"z-%08d" % number, b"%08d" % number * (value_bytes // 8))

    await asyncio.gather(*(write() for _ in range(WRITERS)))


async def is_caught_up(db: Client, store: StoreId) -> bool:
    """Whether all replicas of a store have applied what their leaders have."""
    here = {each.route.region.id: each for each in await db.inspector.replicas(store)}
    for route in await db.inspector.routes():
        if route.store not in (0, store):
            leading = await db.inspector.replicas(route.store)
            applied = max(
                each.applied for each in leading if each.route.region.id == route.region.id
            )
            if here[route.region.id].applied + CLOSE < applied:
                return False
    return True


async def lagging_store(cluster: LocalCluster) -> int:
    """A store that leads nothing, or as little as possible."""
    leading = await harm.leaderships(cluster)
    return min(leading, key=leading.__getitem__)
