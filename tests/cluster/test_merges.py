"""Regions are merged while clients write: nobody loses a write, and few notice."""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median
from typing import Final

import pytest

from flaredb.client.client import Client
from flaredb.client.errors import InvalidArgumentError, UnavailableError, UndeterminedError
from flaredb_schemas.ids import RegionId
from flaredb_schemas.pd_answers import RegionRow
from tests.cluster import harm
from tests.cluster.load import Load
from tests.cluster.test_moves import absent, ended, holders
from tests.cluster.test_retries import RETRIED, Retried
from tests.cluster.test_splits import check_coverage, cut_something
from tests.cluster.verdict import Measured, judge

pytestmark = [pytest.mark.cluster, pytest.mark.anyio]

ROUNDS: Final = 4
"""Splits and merges of an ordinary run; a run of the figures has `FIGURE_ROUNDS`."""
FIGURE_ROUNDS: Final = 55
RETRY_EVERY: Final = 5
"""After every so many merges a batch that was executed before them is sent again."""
WORST_GAP_SECONDS: Final = 3.0


async def merge_something(db: Client, dice: random.Random) -> RegionRow:
    """Merge some region with a neighbour; again where that cannot be done now."""
    async with asyncio.timeout(60):
        while True:
            region = dice.choice(await db.placement.regions())
            try:
                return await db.placement.merge(region.id)
            except (UnavailableError, UndeterminedError):
                await asyncio.sleep(0.1)


@asynccontextmanager
async def merging(db: Client, dice: random.Random, done: list[RegionId]) -> AsyncIterator[None]:
    """Somebody merges regions again and again within the block, as far as that can be done."""

    async def merge() -> None:
        while True:
            await asyncio.sleep(dice.random())
            try:
                regions = await db.placement.regions()
                if len(regions) > 2:
                    region = dice.choice(regions).id
                    await db.placement.merge(region)
                    done.append(region)
            except (UnavailableError, UndeterminedError, InvalidArgumentError):
                continue

    task = asyncio.create_task(merge())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.mark.timeout(600)
async def test_splits_and_merges_while_clients_write(
    tmp_path: Path, measured: Measured, request: pytest.FixtureRequest
) -> None:
    is_figure = request.config.getoption("--figures") is not None
    rounds, dice, took = FIGURE_ROUNDS if is_figure else ROUNDS, random.Random(3), []
    async with harm.running(tmp_path / "cluster") as cluster:
        load = Load(cluster)
        async with load.running(), cluster.client(timeout=20.0) as db:
            await load.go_on(2.0, writes=200)
            before_gap, load.longest_gap = load.longest_gap, 0.0
            before = len(await db.placement.regions())
            retried = Retried(db)
            await retried.send()
            await db.put(b"a-put", b"second")
            for number in range(rounds):
                await cut_something(db)
                begun = time.monotonic()
                await merge_something(db, dice)
                took.append(time.monotonic() - begun)
                await load.go_on(0.2, writes=20)
                if number % RETRY_EVERY == 0:
                    await retried.send()
                    await retried.check()
        figures = await judge(cluster, load)
        async with cluster.client(timeout=20.0) as db:
            rows = await db.placement.regions()
            keys = [key async for key, _ in db.scan()]
            backwards = [key async for key, _ in db.scan(reverse=True)]
            snapshots = [
                await harm.figure(cluster, number, "snapshots_sent_total")
                for number in harm.store_numbers(cluster)
            ]
    measured(
        "splits and merges while 8 clients write",
        splits=rounds,
        merges=rounds,
        merge_median_s=round(median(took), 3),
        merge_worst_s=round(max(took), 3),
        gap_before_s=round(before_gap, 3),
        sent_again=retried.sent - 1,
        effects=1,
        **figures,
    )
    check_coverage(rows)
    assert len(rows) == before
    assert keys == sorted(load.held() | RETRIED) == backwards[::-1]
    assert sum(snapshots) == 0
    assert load.longest_gap < WORST_GAP_SECONDS
    assert load.refused == load.unknown == 0, load.troubles


@pytest.mark.timeout(300)
async def test_neighbours_on_different_stores_become_one_while_clients_write(
    tmp_path: Path, measured: Measured
) -> None:
    settings = {"initial_boundaries": "m", "merge_bytes": "0", "balance": "false"}
    async with harm.running(tmp_path / "cluster", settings, stores=4) as cluster:
        load = Load(cluster)
        async with load.running(), cluster.client(timeout=30.0) as db:
            await load.go_on(1.0, writes=100)
            one, other = await db.placement.regions()
            if holders(one) == holders(other):
                follower = min(holders(one) - {one.leader_store})
                begun_move = await db.placement.move(one.id, follower, absent(cluster, one))
                moved = await ended(db, begun_move)
                assert moved.state == "done", moved
            begun = time.monotonic()
            seen = await db.placement.begin_merge(one.id, other.id)
            assert seen.begun is not None, "they do not stand on different stores"
            async with asyncio.timeout(120):
                told = [row.doing async for row in db.placement.watch_merge(seen.begun)]
            took = time.monotonic() - begun
            await load.go_on(1.0, writes=100)
        figures = await judge(cluster, load)
        async with cluster.client(timeout=20.0) as db:
            (row,) = await db.placement.regions()
            keys = [key async for key, _ in db.scan()]
    measured("neighbours on different stores merged", seconds=round(took, 3), **figures)
    assert any("is first moved next to" in doing for doing in told), told
    assert (row.id, holders(row)) == (other.id, holders(other))
    check_coverage([row])
    assert keys == sorted(set(keys)) and len(keys) > 0
    assert load.refused == load.unknown == 0, load.troubles


@pytest.mark.timeout(120)
async def test_small_quiet_neighbours_merge_by_themselves(tmp_path: Path) -> None:
    settings = {"merge_after_seconds": "1"}
    async with (
        harm.running(tmp_path / "cluster", settings) as cluster,
        cluster.client(timeout=20.0) as db,
    ):
        await asyncio.gather(*(db.put(b"%03d" % number, b"x") for number in range(100)))
        await asyncio.gather(*(db.put(b"z%03d" % number, b"x") for number in range(100)))
        async with asyncio.timeout(60):
            while len(rows := await db.placement.regions()) > 1:
                await asyncio.sleep(0.2)
        assert rows[0].keys == 200
        assert len([key async for key, _ in db.scan()]) == 200
        await db.put(b"z000", b"y")
        assert await db.get(b"z000") == b"y"


@pytest.mark.timeout(60)
async def test_what_cannot_be_merged_is_refused(tmp_path: Path) -> None:
    settings = {"initial_boundaries": "h,p"}
    async with (
        harm.running(tmp_path / "cluster", settings) as cluster,
        cluster.client(timeout=10.0) as db,
    ):
        first, _, last = await db.placement.regions()
        with pytest.raises(InvalidArgumentError, match="no neighbour"):
            await db.placement.merge(first.id, last.id)
        with pytest.raises(InvalidArgumentError, match="no region"):
            await db.placement.merge(RegionId(77))
