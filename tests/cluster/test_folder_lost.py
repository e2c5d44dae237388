"""A store whose data folder was deleted is another store, and what it had is made anew there."""

import asyncio
import shutil
from functools import partial
from pathlib import Path
from typing import Final

import pytest
from anyio.to_thread import run_sync

from tests.cluster import harm
from tests.cluster.load import Load
from tests.cluster.test_moves import holders
from tests.cluster.test_store_gone import IMPATIENT, LONGEST_GAP, until_whole
from tests.cluster.verdict import BUSY, Measured, check_coverage, judge

pytestmark = [pytest.mark.cluster, pytest.mark.anyio]

SETTINGS: Final = {"initial_boundaries": "g,p", "merge_bytes": "0", **IMPATIENT}
FORGOTTEN_SECONDS: Final = 60.0


@pytest.mark.timeout(600)
async def test_a_store_without_its_folder_is_another_one_and_gets_all_replicas(
    tmp_path: Path, repeat: int, measured: Measured
) -> None:
    """With three stores and three replicas nothing else could be whole again."""
    async with (
        harm.running(tmp_path / "cluster", SETTINGS) as cluster,
        cluster.client(timeout=30.0) as db,
    ):
        load = Load(cluster, repeat)
        async with load.running():
            await load.go_on(1.0, writes=100)
            victim = await harm.busiest(cluster)
            name, gone = f"store-{victim}", harm.store_id(cluster, victim)
            await harm.kill(cluster, name)
            await run_sync(partial(shutil.rmtree, cluster.store_folder(victim)))
            await harm.start(cluster, name)
            new = harm.store_id(cluster, victim)
            assert new > gone, "an id belongs to a folder, and is never used again"
            took, least = await until_whole(db, gone)
            await load.go_on(1.0, writes=50)
        assert all(new in holders(row) for row in await db.placement.regions())
        assert least > 0.5, "a majority of each region lives at any time"
        assert (await db.placement.remove(gone)).life == "removed"
        async with asyncio.timeout(BUSY * FORGOTTEN_SECONDS):
            while any(row.removed for row in await db.placement.regions()):
                await asyncio.sleep(0.1)
        check_coverage(await db.inspector.routes())
        figures = await judge(cluster, load)
    measured("a store's data folder is deleted", seconds=round(took, 1), **figures)
    assert load.longest_gap <= BUSY * LONGEST_GAP
