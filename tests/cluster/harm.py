"""What tests do to a cluster, from the loop that also runs its clients."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final

from anyio.to_thread import run_sync

from flaredb.client.client import Client
from flaredb.playground.supervisor import LocalCluster
from flaredb_schemas.ids import StoreId
from flaredb_schemas.pd_answers import RegionRow

START_SECONDS: Final = 60.0


@asynccontextmanager
async def running(
    folder: Path, settings: Mapping[str, str] | None = None, stores: int = 3, zones: int = 0
) -> AsyncIterator[LocalCluster]:
    """Stores, PD and nats-server with these settings, stopped at the end."""
    cluster = LocalCluster(folder, stores=stores, analytics=False, settings=settings, zones=zones)
    await run_sync(cluster.start)
    try:
        yield cluster
    finally:
        await run_sync(cluster.close)


async def first_led(db: Client) -> RegionRow:
    """The first region, once PD has heard who leads it."""
    async with asyncio.timeout(START_SECONDS):
        while True:
            row = (await db.placement.regions())[0]
            if row.leader_store:
                return row
            await asyncio.sleep(0.05)


def store_numbers(cluster: LocalCluster) -> range:
    """The numbers of a cluster's stores."""
    return range(1, cluster.stores + 1)


async def busiest(cluster: LocalCluster) -> int:
    """The store that leads most regions."""
    return max(store_numbers(cluster), key=(await leaderships(cluster)).__getitem__)


async def leaderships(cluster: LocalCluster) -> dict[int, int]:
    """How many regions each store leads, by its number."""
    return {n: await figure(cluster, n, "leaders") for n in store_numbers(cluster)}


async def kill(cluster: LocalCluster, *names: str) -> None:
    """SIGKILL, one after the other as fast as it goes."""
    for name in names:
        await run_sync(cluster.kill, name)


async def start(cluster: LocalCluster, *names: str) -> None:
    """Start them all, then wait until each serves."""
    for name in names:
        await run_sync(partial(cluster.restart, name, wait=False))
    for name in names:
        deadline = time.monotonic() + START_SECONDS
        await run_sync(cluster.wait_ready, name, deadline)


def store_names(cluster: LocalCluster) -> list[str]:
    """The names of a cluster's stores."""
    return [f"store-{number}" for number in store_numbers(cluster)]


def store_id(cluster: LocalCluster, number: int) -> StoreId:
    """The id that PD gave to a store; ids are given in the order of joining."""
    said = re.findall(
        r"store (\d+) of cluster", cluster.children[f"store-{number}"].log.read_text()
    )
    return StoreId(int(said[-1]))


def number_of(cluster: LocalCluster, store: StoreId) -> int:
    """The number of the store that has this id."""
    return next(each for each in store_numbers(cluster) if store_id(cluster, each) == store)


async def figure(cluster: LocalCluster, number: int, what: str) -> int:
    """What a store that runs counts or measures; a busy machine may keep it silent for a while."""
    async with asyncio.timeout(START_SECONDS):
        while True:
            try:
                figures = await run_sync(cluster.figures, f"store-{number}")
            except OSError:
                await asyncio.sleep(0.1)
            else:
                return round(figures.get(f"flaredb_store_{what}", 0))
