"""Regions that grow are cut while clients go on writing: quickly, and hardly anybody notices."""

import asyncio
import time
from pathlib import Path
from typing import Final

import pytest

from flaredb.client.client import Client
from flaredb.demo.splits import read_splits
from tests.cluster import harm
from tests.cluster.verdict import BUSY, Measured, all_replicas_agree, check_coverage
from tests.cluster.writers import Writers

pytestmark = [pytest.mark.cluster, pytest.mark.anyio]

KIB: Final = 1024
MIB: Final = 1024 * KIB
CLIENTS: Final = 8
PATIENCE: Final = 240.0


async def regions_are(db: Client, count: int) -> None:
    """Return when there are so many regions."""
    deadline = time.monotonic() + PATIENCE
    while len(await db.placement.regions()) < count:
        assert time.monotonic() < deadline, "the regions do not split any more"
        await asyncio.sleep(0.2)


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("mib", "value_bytes", "splits"),
    [
        (1, 4 * KIB, 6),
        (8, 64 * KIB, 20),
        (96, 64 * KIB, 3),
    ],
)
async def test_growing_regions_split_under_writers(
    mib: int,
    value_bytes: int,
    splits: int,
    tmp_path: Path,
    measured: Measured,
    request: pytest.FixtureRequest,
) -> None:
    if mib > 1 and request.config.getoption("--figures") is None:
        pytest.skip("takes long, and is measured by `make figures`")
    settings = {
        "split_bytes": str(mib * MIB),
        "split_requests_per_second": "0",
        "split_load_bytes_per_second": "0",
    }
    async with (
        harm.running(tmp_path / "cluster", settings) as cluster,
        cluster.client(timeout=30.0) as db,
    ):
        writers = Writers(cluster, value_bytes)
        async with writers.running(CLIENTS):
            await regions_are(db, 2 + splits)
        figures = await read_splits(db)
        lost = await writers.lost(db)
        routes = await db.inspector.routes()
        await all_replicas_agree(cluster)
        snapshots = [
            await harm.figure(cluster, number, "snapshots_sent_total")
            for number in harm.store_numbers(cluster)
        ]
    measured(
        f"splits at {mib} MiB",
        splits=len(figures.seconds),
        new_regions=figures.new_regions,
        registered_median_s=figures.median,
        registered_worst_s=figures.worst,
        acknowledged=len(writers.acknowledged),
        failed=len(writers.failed),
        longest_gap_s=round(writers.longest_gap, 3),
        snapshots=sum(snapshots),
        lost=lost,
    )
    assert not lost
    assert not writers.failed, writers.failed[:3]
    assert not figures.unregistered and figures.new_regions >= splits
    assert figures.worst <= 5.0 * BUSY and writers.longest_gap <= 1.0 * BUSY
    check_coverage(routes)
