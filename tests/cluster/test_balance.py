"""Stores are evened out by themselves, and then nothing moves any more."""

import asyncio
import time
from collections import Counter
from pathlib import Path
from typing import Final

import pytest
from anyio.to_thread import run_sync

from flaredb.client.client import Client
from flaredb_schemas.ids import StoreId
from flaredb_schemas.pd_answers import OperatorRow, RegionRow
from tests.cluster import harm
from tests.cluster.load import Load
from tests.cluster.test_splits import check_coverage
from tests.cluster.verdict import Measured, judge

pytestmark = [pytest.mark.cluster, pytest.mark.anyio]

REGIONS: Final = 60
FEW_REGIONS: Final = 12
QUIET_SECONDS: Final = 300.0
"""How long nothing may move after that, in a run of the figures; else a few seconds."""
FEW_SECONDS: Final = 10.0
PATIENCE: Final = 420.0
TOLERANCE: Final = 0.05
"""What of the mean a store may be off, if that is more than one."""
SETTLED_SECONDS: Final = 8.0
"""PD looks every two seconds."""


def boundaries(count: int) -> str:
    """Where so many initial regions meet, spread over the keys of a load."""
    return ",".join(f"{chr(97 + number * 26 // count)}{number:02d}" for number in range(1, count))


def replicas(rows: list[RegionRow]) -> Counter[StoreId]:
    return Counter(peer.store for row in rows for peer in row.peers)


def leaders(rows: list[RegionRow]) -> Counter[StoreId]:
    return Counter(row.leader_store for row in rows)


def is_even(counts: Counter[StoreId], stores: list[StoreId]) -> bool:
    """Whether every store's count is within one, or the tolerance, of the mean."""
    even = sum(counts.values()) / len(stores)
    return all(abs(counts[store] - even) <= max(1.0, TOLERANCE * even) for store in stores)


async def moves(db: Client) -> list[OperatorRow]:
    return [row for row in await db.placement.operators() if row.kind == "move"]


@pytest.mark.timeout(900)
async def test_a_store_that_joins_gets_its_share(
    tmp_path: Path, measured: Measured, request: pytest.FixtureRequest
) -> None:
    is_figure = request.config.getoption("--figures") is not None
    count = REGIONS if is_figure else FEW_REGIONS
    settings = {"initial_boundaries": boundaries(count), "merge_bytes": "0"}
    async with (
        harm.running(tmp_path / "cluster", settings) as cluster,
        cluster.client(timeout=20.0) as db,
    ):
        load = Load(cluster)
        async with load.running():
            await load.go_on(2.0, writes=100)
            load.longest_gap, begun = 0.0, time.monotonic()
            await run_sync(cluster.add_store)
            stores = [harm.store_id(cluster, number) for number in harm.store_numbers(cluster)]
            rows = await wait_until_even(db, stores)
            took = time.monotonic() - begun - SETTLED_SECONDS
        done = await moves(db)
        await asyncio.sleep(QUIET_SECONDS if is_figure else FEW_SECONDS)
        later = await moves(db)
        figures = await judge(cluster, load)
    measured(
        f"a fourth store joins {count} regions",
        seconds=round(took, 1),
        moves=len(done),
        moves_later=len(later) - len(done),
        most_moves_of_a_region=max(Counter(row.region for row in later).values()),
        replicas=" ".join(str(replicas(rows)[store]) for store in stores),
        leaders=" ".join(str(leaders(rows)[store]) for store in stores),
        **figures,
    )
    check_coverage(rows)
    assert len(later) == len(done), "nothing moves once all is even"
    assert max(Counter(row.region for row in later).values()) == 1, "no region moves twice"
    assert load.refused == load.unknown == 0, load.troubles


async def wait_until_even(db: Client, stores: list[StoreId]) -> list[RegionRow]:
    """Wait until replicas and leaderships are spread evenly, and nothing goes on for some looks."""
    begun, busy_at = time.monotonic(), time.monotonic()
    rows: list[RegionRow] = []
    while time.monotonic() - busy_at < SETTLED_SECONDS:
        assert time.monotonic() - begun < PATIENCE, "it does not become even, or not come to rest"
        await asyncio.sleep(0.5)
        rows = await db.placement.regions()
        running = [row for row in await db.placement.operators() if row.state == "running"]
        even = is_even(replicas(rows), stores) and is_even(leaders(rows), stores)
        if running or not even:
            busy_at = time.monotonic()
    return rows
