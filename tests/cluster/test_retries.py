"""A write that is sent again under its numbers takes effect once, whatever happened in between."""

import asyncio
import time
from functools import partial
from pathlib import Path
from typing import Final

import pytest

from flaredb.client.client import Client
from flaredb.playground.supervisor import LocalCluster
from flaredb_schemas.commands import BATCHES, Batch, CompareAndSwap, Done, Lane, Put, Swapped
from flaredb_schemas.ids import StoreId
from flaredb_schemas.regions import Route
from flaredb_schemas.requests import WriteAnswer, WriteRequest
from tests.cluster import harm
from tests.cluster.probes import is_caught_up
from tests.cluster.verdict import Measured, all_replicas_agree

pytestmark = [pytest.mark.cluster, pytest.mark.anyio]

PATIENCE: Final = 30.0
BALLAST: Final = bytes(8 * 1024)
BALLAST_ROWS: Final = 300
SETTINGS: Final = {"log_keep_entries": "10", "log_max_bytes": "1 MiB"}
"""So that a store that was away for a while needs snapshots."""

RETRIED: Final = {b"a-swap", b"a-put"}
"""The keys of the batch that is sent again."""
EXECUTED: Final = (Swapped(), Done())


class Retried:
    """One batch, sent as often as wanted: a swap that succeeds once, and a put that others cover.

    Should it take effect again, the put shows: it would stand where a later one stood.
    """

    def __init__(self, db: Client) -> None:
        self._db: Final = db
        lane = Lane(0xF1A2E, int(time.time() * 1000), 7)
        ops = (CompareAndSwap(0, b"a-swap", None, b"once"), Put(1, b"a-put", b"first"))
        self._batch: Final = BATCHES.encode(Batch(lane, 3, 0, ops))
        self.sent = 0

    async def send(self) -> StoreId:
        """Send it until a leader answers; it was executed, once. Which store led."""
        async with asyncio.timeout(PATIENCE):
            while True:
                route = await region_of(self._db, b"a")
                request = partial(
                    WriteRequest,
                    region=route.region.id,
                    version=route.region.epoch.version,
                    batch=self._batch,
                )
                for store in route.region.stores:
                    answer = await self._db.inspector.ask(store, request, 1.0)
                    if isinstance(answer, WriteAnswer):
                        assert answer.outcomes == EXECUTED
                        self.sent += 1
                        return store
                await asyncio.sleep(0.05)

    async def check(self) -> None:
        """What covers the put still stands."""
        assert await self._db.get(b"a-put") == b"second"
        assert await self._db.get(b"a-swap") == b"once"


async def region_of(db: Client, key: bytes) -> Route:
    """The region that holds `key`, as PD knows it."""
    return next(each for each in await db.inspector.routes() if each.region.keys.contains(key))


async def has_installed(cluster: LocalCluster, name: str) -> bool:
    """Whether a store has installed a snapshot; counted when durable, after it is visible."""
    return await harm.figure(cluster, int(name[-1]), "snapshots_installed_total") > 0


async def make_leader(cluster: LocalCluster, retried: Retried, wanted: int) -> None:
    """Have a store lead the region, by killing whoever else does; each leader is asked."""
    async with asyncio.timeout(60):
        while (leader := await retried.send()) != harm.store_id(cluster, wanted):
            name = f"store-{harm.number_of(cluster, leader)}"
            await harm.kill(cluster, name)
            await retried.send()
            await harm.start(cluster, name)


async def test_a_retry_takes_effect_once(tmp_path: Path, measured: Measured) -> None:
    async with (
        harm.running(tmp_path / "cluster", SETTINGS) as cluster,
        cluster.client(timeout=PATIENCE) as db,
    ):
        retried = Retried(db)
        leader = await retried.send()
        await db.put(b"a-put", b"second")
        await retried.send()
        await retried.check()

        name = f"store-{harm.number_of(cluster, leader)}"
        await harm.kill(cluster, name)
        await retried.send()
        await retried.check()

        # The killed store misses what the others cut off their logs, so it gets a snapshot.
        for number in range(BALLAST_ROWS):
            await db.put(b"a-ballast-%d" % number, BALLAST)
        await harm.start(cluster, name)
        async with asyncio.timeout(PATIENCE):
            while not (await is_caught_up(db, leader) and await has_installed(cluster, name)):
                await asyncio.sleep(0.1)
        await make_leader(cluster, retried, int(name[-1]))
        await retried.check()

        await harm.kill(cluster, *harm.store_names(cluster))
        await harm.start(cluster, *harm.store_names(cluster))
        await retried.send()
        await retried.check()
        await all_replicas_agree(cluster)
        measured("retries", sent=retried.sent, effects=1)
