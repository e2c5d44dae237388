"""Ten thousand regions per store: they open, cost next to nothing, and are found at once."""

import asyncio
import random
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from timeit import timeit
from types import SimpleNamespace
from typing import Any, Final, cast

import pytest

from flaredb.client.client import Client
from flaredb.client.routes import RouteTable
from flaredb.playground.supervisor import LocalCluster
from flaredb.store.registry import Registry
from flaredb.store.replica import Replica
from flaredb_pd.region_map import RegionMap, Sighting
from flaredb_schemas.regions import Route
from tests.cluster import harm
from tests.cluster.memory import MIB, own_bytes
from tests.cluster.test_many_regions import cpu_seconds, processes_of
from tests.cluster.verdict import BUSY, Measured, check_coverage

pytestmark = [pytest.mark.cluster, pytest.mark.anyio]

KEYS_PER_REGION: Final = 10
"""Of the regions at the beginning; each of them is cut until every key has its own."""
PORTION: Final = 1_000
CUT_SECONDS: Final = 12.0
PATIENCE: Final = 300.0

WHILE_GROWING: Final = {"split_keys": "2", "sleep_after_ms": "1000"}

MANY_AT_ONCE: Final = {"election_ticks": "40", "heartbeat_ticks": "10"}
"""Thousands are made within a minute and are awake meanwhile: nobody does that at usual times."""

OPEN_SECONDS: Final = 30.0
LED_SECONDS: Final = 60.0
IDLE_SECONDS: Final = 10.0
CPU_SHARE: Final = 0.20
LOOK_UP_SECONDS: Final = 10e-6
LIST_SECONDS: Final = 5.0
LOOK_UPS: Final = 100_000


def key_of(number: int) -> bytes:
    """The key that the region of this number holds, and no other."""
    return b"k%05d" % number


async def grow(folder: Path, count: int) -> None:
    """Make a cluster with so many regions, each with a key, and stop it when they sleep."""
    bounds = [key_of(number).decode() for number in range(0, count, KEYS_PER_REGION)][1:]
    settings = {"initial_boundaries": ",".join(bounds), **WHILE_GROWING}
    if count > PORTION:
        settings |= MANY_AT_ONCE
    async with (
        harm.running(folder, settings) as cluster,
        cluster.client(timeout=60.0) as db,
        asyncio.timeout(2 * PATIENCE),
    ):
        await wait_for(cluster, "leaders", len(bounds) + 1)
        for first in range(0, count, PORTION):
            portion = range(first, min(first + PORTION, count))
            wanted = portion.stop + (count - portion.stop) // KEYS_PER_REGION
            await write(db, portion)
            while not await regions_are(db, wanted):
                # One whose cut came to nothing, PD being busy, is looked at when it is written to.
                await write(db, portion)
        await wait_for(cluster, "regions_asleep", cluster.stores * count)


async def write(db: Client, numbers: Iterable[int]) -> None:
    """Write the keys of these numbers, all at once."""
    await asyncio.gather(*(db.put(key_of(number), b"") for number in numbers))


async def wait_for(cluster: LocalCluster, what: str, at_least: int) -> None:
    """Return when this figure of all stores that run sums up to so much."""
    running = [n for n in harm.store_numbers(cluster) if cluster.children[f"store-{n}"].pid]
    async with asyncio.timeout(PATIENCE):
        while sum([await harm.figure(cluster, n, what) for n in running]) < at_least:
            await asyncio.sleep(0.5)  # a store that is asked counts all its replicas


async def regions_are(db: Client, count: int) -> bool:
    """Whether PD comes to know so many regions within some seconds."""
    deadline = time.monotonic() + CUT_SECONDS
    while (await db.placement.status()).regions < count:
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.2)
    return True


@contextmanager
def timed(into: dict[str, float], name: str) -> Iterator[None]:
    """Note how many seconds the block takes."""
    begun = time.monotonic()
    yield
    into[name] = round(time.monotonic() - begun, 2)


async def command(cluster: LocalCluster, *words: str) -> None:
    """Run `flaredb`, which must succeed."""
    program = [sys.executable, "-m", "flaredb", *words, "--nats", cluster.url, "-o", "json"]
    pipe = asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(*program, stdout=pipe)
    assert await process.wait() == 0, f"flaredb {' '.join(words)} failed"


async def idle(cluster: LocalCluster) -> dict[str, float]:
    """What the busiest store and PD use of a core, and the memory of the largest store."""
    pids = {name: processes_of(cluster, name) for name in (*harm.store_names(cluster), "pd")}
    before = {name: cpu_seconds(pids[name]) for name in pids}
    begun = time.monotonic()
    await asyncio.sleep(IDLE_SECONDS)
    passed = time.monotonic() - begun
    shares = {name: 100 * (cpu_seconds(pids[name]) - before[name]) / passed for name in pids}
    pd = shares.pop("pd")
    memory = max(sum(map(own_bytes, pids[name])) for name in shares)
    return {
        "cpu_percent": round(max(shares.values()), 1),
        "pd_cpu_percent": round(pd, 1),
        "mib": round(memory / MIB, 1),
    }


def look_ups(routes: Sequence[Route]) -> dict[str, float]:
    """Microseconds per look-up of a key: in a client, in a store and in PD."""
    client, store, pd = RouteTable(), Registry(), RegionMap()
    for route in routes:
        client.learn(route)
        replica = SimpleNamespace(id=route.region.id, region=route.region)
        store.add(cast(Replica, replica))
        pd.accept(Sighting(route.region, route.leader, route.store, route.term))
    dice = random.Random(1)
    keys = [key_of(dice.randrange(len(routes))) + b"x" for _ in range(LOOK_UPS)]
    finders: dict[str, Callable[[bytes], Any]] = {
        "client_us": client.find,
        "store_us": store.find,
        "pd_us": pd.find,
    }
    assert all(find(key) is not None for find in finders.values() for key in keys[:100])

    def all_of_them(find: Callable[[bytes], Any]) -> None:
        for key in keys:
            find(key)

    return {
        name: round(timeit(partial(all_of_them, find), number=1) / LOOK_UPS * 1e6, 2)
        for name, find in finders.items()
    }


@pytest.mark.timeout(1_200)
@pytest.mark.parametrize("count", [100, 10_000])
async def test_very_many_regions(
    count: int, tmp_path: Path, measured: Measured, request: pytest.FixtureRequest
) -> None:
    if count > 100 and request.config.getoption("--figures") is None:
        pytest.skip("takes long, and is measured by `make figures`")
    await grow(tmp_path / "cluster", count)
    opened: dict[str, float] = {}
    asked: dict[str, float] = {}
    with timed(opened, "led_s"):
        with timed(opened, "all_s"):
            running = harm.running(tmp_path / "cluster", {"sleep_after_ms": "1000"})
            cluster = await running.__aenter__()
        await wait_for(cluster, "leaders", count)
    try:
        await wait_for(cluster, "regions_asleep", cluster.stores * count)
        resting = await idle(cluster)
        async with cluster.client(timeout=30.0) as db:
            with timed(asked, "status_s"):
                await command(cluster, "status")
            with timed(asked, "list_s"):
                await command(cluster, "region", "list")
            with timed(asked, "routes_s"):
                routes = await db.inspector.routes()
            check_coverage(routes)
            await harm.kill(cluster, "pd")
            with timed(opened, "pd_s"):
                await harm.start(cluster, "pd")
            victim = await harm.busiest(cluster)
            await harm.kill(cluster, f"store-{victim}")
            with timed(opened, "led_again_s"):
                await wait_for(cluster, "leaders", count)
            with timed(opened, "one_s"):
                await harm.start(cluster, f"store-{victim}")
            await wait_for(cluster, "regions_asleep", cluster.stores * count)
            await db.put(key_of(0), b"it serves")
    finally:
        await running.__aexit__(None, None, None)
    found = look_ups(routes)
    measured(f"{count} regions opened", **opened)
    measured(f"{count} idle regions", **resting)
    measured(f"route look-up among {count}", **found)
    measured(f"questions about {count} regions", **asked)
    assert len(routes) == count
    assert max(opened["one_s"], opened["all_s"]) <= BUSY * OPEN_SECONDS
    assert max(opened["led_s"], opened["led_again_s"]) <= BUSY * LED_SECONDS
    assert resting["cpu_percent"] <= BUSY * 100 * CPU_SHARE
    assert max(found.values()) <= BUSY * LOOK_UP_SECONDS * 1e6
    assert max(asked.values()) <= BUSY * LIST_SECONDS
