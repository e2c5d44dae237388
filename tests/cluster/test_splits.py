"""Regions are split while clients write: nobody loses a write, and hardly anybody notices."""

import asyncio
import random
import time
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Final

import pytest

from flaredb.client.client import Client
from flaredb.client.errors import (
    InvalidArgumentError,
    SeveralRegionsError,
    UnavailableError,
    UndeterminedError,
)
from flaredb_schemas.ids import RegionId
from flaredb_schemas.pd_answers import RegionRow
from tests.cluster import harm
from tests.cluster.load import Load
from tests.cluster.verdict import Measured, judge

pytestmark = [pytest.mark.cluster, pytest.mark.anyio]

SPLITS = 8
KILL_AT: Final = (0.2, 0.5, 0.8, 1.1, 4.0, 4.0)
"""When the leaders are killed after the wish, as shares of the time that a first split takes: so
that it finds nothing done, something under way, and all done. No kill waits longer than the split.
"""
LEAST_CUT: Final = 2
"""How many of these wishes must take effect."""
WORST_SECONDS = 5.0
WORST_GAP_SECONDS = 1.0


async def largest(db: Client) -> RegionRow:
    return max(await db.placement.regions(), key=lambda row: row.keys)


async def cut_something(db: Client) -> list[RegionRow]:
    """Cut the largest region in the middle; again where its leader has just changed."""
    async with asyncio.timeout(20):
        while True:
            region = await largest(db)
            try:
                return await db.placement.split(region.id)
            except (UnavailableError, UndeterminedError):
                await asyncio.sleep(0.1)


def check_coverage(rows: list[RegionRow]) -> None:
    """The regions cover the key space once."""
    assert rows[0].start_b64 == rows[-1].end_b64 == b""
    assert all(left.end_b64 == right.start_b64 for left, right in pairwise(rows))


@pytest.mark.timeout(240)
async def test_splits_while_clients_write(tmp_path: Path, measured: Measured) -> None:
    async with harm.running(tmp_path / "cluster") as cluster:
        load = Load(cluster)
        took: list[float] = []
        async with load.running(), cluster.client(timeout=10.0) as db:
            await load.go_on(3.0, writes=200)
            before_gap, load.longest_gap = load.longest_gap, 0.0
            before = {row.id for row in await db.placement.regions()}
            for _ in range(SPLITS):
                begun = time.monotonic()
                parts = await cut_something(db)
                took.append(time.monotonic() - begun)
                assert len(parts) == 2
                await load.go_on(0.5, writes=50)
        figures = await judge(cluster, load)
        async with cluster.client(timeout=10.0) as db:
            rows = await db.placement.regions()
            snapshots = [
                await harm.figure(cluster, number, "snapshots_sent_total")
                for number in harm.store_numbers(cluster)
            ]
    measured(
        "splits while 8 clients write",
        splits=SPLITS,
        registered_median_s=round(median(took), 3),
        registered_worst_s=round(max(took), 3),
        gap_before_s=round(before_gap, 3),
        **figures,
    )
    check_coverage(rows)
    assert len(rows) == len(before) + SPLITS
    assert sum(snapshots) == 0
    assert max(took) < WORST_SECONDS
    assert load.longest_gap < WORST_GAP_SECONDS
    assert load.refused == load.unknown == 0, load.troubles


async def try_to_cut(db: Client, region: RegionId) -> bool:
    """Whether the region was cut for all that is known; its leader may be killed meanwhile."""
    try:
        await db.placement.split(region)
    except (UnavailableError, UndeterminedError, InvalidArgumentError):
        return False
    return True


@pytest.mark.timeout(300)
async def test_leaders_are_killed_while_their_regions_are_split(
    tmp_path: Path, repeat: int, measured: Measured
) -> None:
    dice = random.Random(repeat)
    async with harm.running(tmp_path / "cluster") as cluster:
        load = Load(cluster, repeat)
        cuts = amid = 0
        async with load.running(), cluster.client(timeout=8.0) as db:
            await load.go_on(3.0, writes=200)
            begun = time.monotonic()
            await cut_something(db)
            whole = time.monotonic() - begun
            before = len(await db.placement.regions())
            for share in dice.sample(KILL_AT, len(KILL_AT)):
                region = await largest(db)
                cutting = asyncio.create_task(try_to_cut(db, region.id))
                await asyncio.wait({cutting}, timeout=share * whole)
                amid += not cutting.done()
                victim = f"store-{harm.number_of(cluster, region.leader_store)}"
                await harm.kill(cluster, victim)
                cuts += await cutting
                await load.go_on(1.0, writes=50)
                await harm.start(cluster, victim)
            await load.go_on(1.0, writes=50)
        figures = await judge(cluster, load)
        async with cluster.client(timeout=10.0) as db:
            rows = await db.placement.regions()
    split = len(rows) - before
    measured(
        "leaders killed amid splits",
        rounds=len(KILL_AT),
        whole_s=round(whole, 3),
        unanswered=amid,
        split=split,
        confirmed=cuts,
        **figures,
    )
    check_coverage(rows)
    assert split >= max(cuts, LEAST_CUT), (
        "too few wishes took effect for the kills to mean anything"
    )
    assert amid, "every split had ended before its leader was killed"


@pytest.mark.timeout(240)
async def test_a_child_outlives_its_leader(tmp_path: Path, repeat: int, measured: Measured) -> None:
    """One follower sleeps through the split, and then the leader dies for good."""
    dice = random.Random(repeat)
    async with harm.running(tmp_path / "cluster") as cluster:
        load = Load(cluster, repeat)
        async with load.running(), cluster.client(timeout=20.0) as db:
            await load.go_on(2.0, writes=200)
            region = await largest(db)
            leader = harm.number_of(cluster, region.leader_store)
            late, slow = dice.sample([n for n in harm.store_numbers(cluster) if n != leader], 2)
            cluster.pause(f"store-{late}")
            parts = await db.placement.split(region.id)
            cluster.pause(f"store-{slow}")
            await asyncio.sleep(dice.random())
            await harm.kill(cluster, f"store-{leader}")
            for number in (slow, late):
                cluster.resume(f"store-{number}")
            died = time.monotonic()
            for part in parts:
                await db.put(part.start_b64 + b"!", b"alive")
            took = time.monotonic() - died
            await load.go_on(1.0, writes=50)
        await harm.start(cluster, f"store-{leader}")
        figures = await judge(cluster, load)
    measured("the leader dies right after a split", parts_write_s=round(took, 3), **figures)


@pytest.mark.timeout(120)
async def test_what_a_client_sees_of_a_split(tmp_path: Path) -> None:
    """A scan goes on across the cut, a retry finds its region, a batch over the cut is told so."""
    dice = random.Random(4)
    async with (
        harm.running(tmp_path / "cluster") as cluster,
        cluster.client(timeout=20.0) as db,
        cluster.client(timeout=20.0) as operator,
    ):
        rows = {b"a-%05d" % number: dice.randbytes(900) for number in range(3_000)}
        await asyncio.gather(*(db.put(key, value) for key, value in rows.items()))
        region = RegionId(min(row.id for row in await operator.placement.regions()))
        seen: list[tuple[bytes, bytes]] = []
        async for row in db.scan(prefix=b"a-"):
            if len(seen) in (100, 1_500):
                await operator.placement.split(region, row[0] + b"+" if len(seen) == 100 else None)
            seen.append(row)
        assert seen == sorted(rows.items())
        assert [row async for row in db.scan(prefix=b"a-", reverse=True)] == seen[::-1]
        cut = seen[100][0] + b"+"
        with pytest.raises(SeveralRegionsError):
            async with db.batch() as batch:
                batch.put(cut + b"1", b"right")
                batch.put(seen[100][0], b"left")
        async with db.batch() as batch:
            batch.put(cut + b"1", b"right")
            batch.put(cut + b"2", b"right")
        assert await db.get(seen[100][0]) == seen[100][1]
        assert await db.delete_range(prefix=b"a-") == len(rows) + 2
        check_coverage(await operator.placement.regions())
