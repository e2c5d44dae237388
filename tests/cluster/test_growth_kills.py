"""Regions split by themselves and are merged, while whatever serves them is killed."""

import asyncio
import random
import time
from pathlib import Path
from typing import Final

import pytest

from flaredb_schemas.ids import RegionId
from tests.cluster import harm
from tests.cluster.load import Load
from tests.cluster.test_growth import KIB, regions_are
from tests.cluster.test_merges import merging
from tests.cluster.verdict import Measured, check_coverage, judge
from tests.cluster.writers import Writers

pytestmark = [pytest.mark.cluster, pytest.mark.anyio]

VICTIMS: Final = ("store-1", "store-2", "store-3", "pd", "nats")
KILLING_SECONDS: Final = 60.0
"""Of one run of the figures; an ordinary one has a fifth of that."""
LEAST_SPLITS: Final = 4
LEAST_MERGES: Final = 2
MERGE_SECONDS: Final = 60.0
"""For how long the kills go on beyond that until so many regions were merged."""


@pytest.mark.timeout(300)
async def test_anything_is_killed_while_regions_split_by_themselves(
    tmp_path: Path, repeat: int, measured: Measured, request: pytest.FixtureRequest
) -> None:
    dice = random.Random(repeat)
    is_figure = request.config.getoption("--figures") is not None
    settings = {"split_bytes": "512 KiB", "split_keys": "300"}
    async with harm.running(tmp_path / "cluster", settings) as cluster:
        load, writers = Load(cluster, repeat), Writers(cluster, 4 * KIB)
        kills = 0
        merges: list[RegionId] = []
        async with load.running(), writers.running(2), cluster.client(timeout=10.0) as operator:
            before = len(await operator.placement.regions())
            await load.go_on(2.0, writes=50)
            end = time.monotonic() + (KILLING_SECONDS if is_figure else KILLING_SECONDS / 5)
            async with merging(operator, random.Random(repeat), merges):
                while time.monotonic() < end or len(merges) < LEAST_MERGES:
                    assert time.monotonic() < end + MERGE_SECONDS, "nothing is merged any more"
                    victim = dice.choice(VICTIMS)
                    await harm.kill(cluster, victim)
                    kills += 1
                    await asyncio.sleep(dice.random() * 2.5)  # as long as it is away
                    await harm.start(cluster, victim)
                    await load.go_on(dice.random() * 2, writes=5)
        figures = await judge(cluster, load)
        async with cluster.client(timeout=60.0) as db:
            lost = await writers.lost(db)
            routes = await db.inspector.routes()
            await regions_are(db, len(routes))
    figures["lost"] = lost
    # At least: a merge that took effect without an answer has taken one more region away.
    splits = len(routes) + len(merges) - before
    told = {"kills": kills, "splits": splits, "merges": len(merges), "regions": len(routes)}
    measured("killed amid growth and merges", **told, **figures)
    assert not lost and kills >= 2
    assert splits >= LEAST_SPLITS and len(merges) >= LEAST_MERGES
    check_coverage(routes)
