"""A store is emptied under eight writers: in time, and nobody notices."""

import time
from pathlib import Path
from typing import Final

import pytest

from tests.cluster import harm
from tests.cluster.filling import MIB, UNSPLIT, fill_regions
from tests.cluster.load import Load
from tests.cluster.test_balance import boundaries, replicas
from tests.cluster.test_moves import holders
from tests.cluster.verdict import BUSY, Measured, check_coverage, judge

pytestmark = [pytest.mark.cluster, pytest.mark.anyio]

REGIONS: Final = 12
STORES: Final = 4
EMPTY_SECONDS: Final = 120.0
LONGEST_GAP: Final = 2.0


@pytest.mark.timeout(600)
async def test_a_store_is_drained_while_clients_write(
    tmp_path: Path, repeat: int, measured: Measured, request: pytest.FixtureRequest
) -> None:
    is_figure = request.config.getoption("--figures") is not None
    mib = 12 if is_figure else 1
    settings = {"initial_boundaries": boundaries(REGIONS), **UNSPLIT}
    async with (
        harm.running(tmp_path / "cluster", settings, stores=STORES) as cluster,
        cluster.client(timeout=30.0) as db,
    ):
        await fill_regions(db, mib * MIB)
        load = Load(cluster, repeat)
        async with load.running():
            await load.go_on(2.0, writes=100)
            store = harm.store_id(cluster, await harm.busiest(cluster))
            rows = await db.placement.regions()
            size = sum(row.bytes for row in rows if store in holders(row))
            load.longest_gap, begun = 0.0, time.monotonic()
            last = await db.placement.drain(store)
            async for seen in db.placement.watch_drain(store):
                last = seen
            took = time.monotonic() - begun
            await load.go_on(1.0, writes=50)
        held = replicas(rows)[store]
        after = await db.placement.regions()
        check_coverage(await db.inspector.routes())
        figures = await judge(cluster, load)
    measured(
        f"a store is drained under 8 writers, {mib * REGIONS} MiB in all",
        seconds=round(took, 1),
        mib=round(size / MIB, 1),
        replicas=held,
        **figures,
    )
    assert last.drain is not None and last.drain.is_empty, last
    assert not any(store in holders(row) for row in after)
    assert all([peer.role for peer in row.peers] == ["voter"] * 3 for row in after)
    assert took <= BUSY * EMPTY_SECONDS and load.longest_gap <= BUSY * LONGEST_GAP
    assert load.refused == load.unknown == 0, load.troubles
