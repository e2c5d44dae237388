"""This project as a playground starts it, with three stores, driven by its own client."""

import asyncio
from pathlib import Path
from typing import Final

from flaredb import AsyncClient
from flaredb.playground.supervisor import LocalCluster
from tests.bench.load import VALUE, KeyOrder, Kind, Measurement, Stopwatch, closed_loop

STORES: Final = 3


class FlareDBSubject:
    """Three stores, the placement driver, analytics and one nats-server, all with defaults."""

    def __init__(self) -> None:
        self._cluster: LocalCluster | None = None
        self._client: AsyncClient | None = None

    async def start(self, folder: Path) -> None:
        """Run the cluster, connect, and wait until a write goes through."""
        self._cluster = LocalCluster(folder, stores=STORES)
        await asyncio.to_thread(self._cluster.start)
        self._client = AsyncClient(self._cluster.url)
        await self._client.open()
        await self._client.put(b"bench", VALUE, timeout=30.0)

    async def drive(self, measurement: Measurement, keys: KeyOrder, stopwatch: Stopwatch) -> None:
        """Keep the calls in flight through one client."""
        client = self._client
        assert client is not None, "start comes first"

        async def put() -> None:
            await client.put(keys.next(Kind.PUT).encode(), VALUE)

        async def get() -> None:
            value = await client.get(keys.next(Kind.GET).encode())
            assert value == VALUE, "a get does not find what was put"

        call = put if measurement.kind is Kind.PUT else get
        await closed_loop(call, measurement.in_flight, stopwatch)

    async def checks(self, seconds: float) -> dict[str, float]:
        """There is no second driver."""
        return {}

    async def stop(self) -> None:
        """Disconnect and end the cluster."""
        if self._client is not None:
            await self._client.close()
        if self._cluster is not None:
            await asyncio.to_thread(self._cluster.close)
