"""What tests do to a cluster, from the loop that also runs its clients."""

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final

from anyio.to_thread import run_sync

from flaredb.playground.process import Child
from flaredb.playground.supervisor import LocalCluster

START_SECONDS: Final = 60.0


@asynccontextmanager
async def running(
    folder: Path, settings: Mapping[str, str] | None = None
) -> AsyncIterator[LocalCluster]:
    """Three stores, PD and nats-server with these settings, stopped at the end."""
    cluster = LocalCluster(folder, analytics=False, settings=settings)
    await run_sync(cluster.start)
    try:
        yield cluster
    finally:
        await run_sync(cluster.close)


def store_numbers(cluster: LocalCluster) -> range:
    """The numbers of a cluster's stores."""
    return range(1, cluster.stores + 1)


async def busiest(cluster: LocalCluster) -> int:
    """The store that leads most regions."""
    leading = [await run_sync(cluster.leaderships, number) for number in store_numbers(cluster)]
    return store_numbers(cluster)[leading.index(max(leading))]


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
        await run_sync(cluster.children[name].wait_ready, deadline)


def store_names(cluster: LocalCluster) -> list[str]:
    """The names of a cluster's stores."""
    return [f"store-{number}" for number in store_numbers(cluster)]


def find_store(cluster: LocalCluster, store: int) -> Child:
    """The process of the store that has this id; ids are given in the order of joining."""
    said = f"store {store} of cluster"
    return next(
        cluster.children[name]
        for name in store_names(cluster)
        if said in cluster.children[name].log.read_text()
    )
