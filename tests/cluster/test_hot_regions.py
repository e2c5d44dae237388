"""Regions that are small and busy are cut while clients go on writing."""

from pathlib import Path
from typing import Final

import pytest

from flaredb.demo.splits import read_splits
from tests.cluster import harm
from tests.cluster.test_growth import regions_are
from tests.cluster.verdict import Measured, all_replicas_agree, check_coverage
from tests.cluster.writers import Writers

pytestmark = [pytest.mark.cluster, pytest.mark.anyio]

CLIENTS: Final = 8
HELD: Final = 2.0


@pytest.mark.timeout(300)
async def test_busy_regions_split_under_writers(tmp_path: Path, measured: Measured) -> None:
    settings = {"split_requests_per_second": "40", "split_load_seconds": str(HELD)}
    async with (
        harm.running(tmp_path / "cluster", settings) as cluster,
        cluster.client(timeout=30.0) as db,
    ):
        writers = Writers(cluster, 10)
        async with writers.running(CLIENTS):
            await regions_are(db, 4)
        figures = await read_splits(db)
        lost = await writers.lost(db)
        routes = await db.inspector.routes()
        await all_replicas_agree(cluster)
    measured(
        "splits by load",
        splits=len(figures.seconds),
        acknowledged=len(writers.acknowledged),
        registered_worst_s=figures.worst,
        longest_gap_s=round(writers.longest_gap, 3),
        lost=lost,
    )
    assert not lost
    assert not writers.failed, writers.failed[:3]
    assert not figures.unregistered and len(figures.seconds) >= 2
    assert min(figures.seconds) >= HELD, "the load has to be held from the trigger on"
    check_coverage(routes)
