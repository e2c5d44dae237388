"""Clients that fill a cluster with fresh keys, so that its regions grow and split."""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from flaredb.client.client import Client
from flaredb.client.errors import FlareDBError
from flaredb.playground.supervisor import LocalCluster

BUCKETS: Final = 8
"""Parts of the key space of which the longest gaps are watched, each by itself."""


class Writers:
    """Clients that write fresh keys all over the key space, one call after the other each.

    Invariant: `longest_gap` is the longest time, in seconds, between two acknowledged writes in a
    row in any part of the key space.
    """

    def __init__(self, cluster: LocalCluster, value_bytes: int) -> None:
        self._cluster: Final = cluster
        self._value: Final = random.Random(1).randbytes(value_bytes)
        self._last: Final[dict[int, float]] = {}
        self._stopped = False
        self.acknowledged: Final[set[bytes]] = set()
        self.failed: Final[list[FlareDBError]] = []
        self.longest_gap = 0.0

    @asynccontextmanager
    async def running(self, clients: int) -> AsyncIterator[None]:
        """So many of them write within the block, and have their last answers when it ends."""
        async with asyncio.TaskGroup() as group:
            for number in range(clients):
                group.create_task(self._write(number))
            try:
                yield
            finally:
                self._stopped = True

    async def lost(self, db: Client) -> int:
        """How many acknowledged keys a scan of everything does not find."""
        return len(self.acknowledged - {key async for key, _ in db.scan()})

    async def _write(self, number: int) -> None:
        dice = random.Random(number)
        async with self._cluster.client(timeout=10.0) as db:
            while not self._stopped:
                bucket = dice.randrange(BUCKETS)
                key = bytes([ord("a") + 3 * bucket]) + b"%06d" % dice.randrange(10**6)
                try:
                    await db.put(key, self._value)
                except FlareDBError as error:
                    self.failed.append(error)
                else:
                    self._acknowledge(bucket, key)

    def _acknowledge(self, bucket: int, key: bytes) -> None:
        now = time.monotonic()
        self.longest_gap = max(self.longest_gap, now - self._last.get(bucket, now))
        self._last[bucket] = now
        self.acknowledged.add(key)
