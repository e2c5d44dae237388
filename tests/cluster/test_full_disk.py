"""A store whose disk is nearly full gives replicas away, no more than it must, and gets none."""

import asyncio
import os
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from anyio.to_thread import run_sync

from flaredb.client.client import Client
from flaredb_schemas.ids import StoreId
from flaredb_schemas.pd_answers import StoreRow
from tests.cluster import harm
from tests.cluster.filling import KIB, MIB, UNSPLIT, came_back, fill_regions, store_row
from tests.cluster.load import Load
from tests.cluster.test_balance import boundaries, moves, replicas, wait_until_even
from tests.cluster.verdict import BUSY, Measured, judge
from tests.disk.powered_disk import PoweredDisk, mounted

pytestmark = [pytest.mark.cluster, pytest.mark.anyio]

REGIONS: Final = 56
REGION_MIB: Final = 7
"""Many and small: at 87 % more must be left of the disk than the reserve within which puts are
refused, and one region must not be what is between full and nearly full."""
VALUE_BYTES: Final = 16 * KIB
SETTINGS: Final = {**UNSPLIT, "log_max_bytes": "1 MiB"}
"""What fills the disk has to be rows. Logs are cut while it is looked at, so that it is full no
more although nothing was given away; and nobody else can take what they leave in the store's file.
"""
STORES: Final = 4
FULL: Final = 0.85
WANTED: Final = 0.87
"""How full the disk is made."""
DISK_BYTES: Final = 768 * MIB
SETTLED_SECONDS: Final = 5.0
"""How long clients write before, so that logs have been cut to what is kept of them."""
PATIENCE: Final = 120.0
REPORTS: Final = 2
"""The second report that comes after something surely was made after it."""
QUIET_SECONDS: Final = 90.0
"""How long it is looked on after that, in a run of the figures; else some seconds."""
FEW_SECONDS: Final = 15.0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[PoweredDisk]:
    """A disk for the first store, under the folder that the cluster will have."""
    with mounted(tmp_path / "image", tmp_path / "cluster" / "store-1", DISK_BYTES) as disk:
        yield disk


def fullness(row: StoreRow) -> float:
    """The share of its room that a store has used."""
    return 1 - row.free / row.capacity


def take(size: int, folder: Path) -> None:
    """Take so much more of the disk for something else."""
    with (folder / "somebody-elses").open("ab") as file:
        os.posix_fallocate(file.fileno(), file.tell(), size)


async def fill_up(db: Client, store: StoreId, folder: Path) -> float:
    """Have PD know that the store is as full as is wanted; how full it is then."""
    deadline, row = time.monotonic() + PATIENCE, await store_row(db, store)
    while (full := fullness(row)) < FULL:
        spare = round(row.used * (1 - WANTED) / WANTED)
        await run_sync(take, row.free - spare, folder)
        # What was told before that may arrive after it, and would have it filled twice as much. By
        # its room nobody can tell: the store frees some meanwhile, as logs are cut.
        told = {(row.used, row.free)}
        while fullness(row) < FULL and len(told) <= REPORTS:
            assert time.monotonic() < deadline, row
            await asyncio.sleep(0.2)
            row = await store_row(db, store)
            told.add((row.used, row.free))
    return full


async def until_relieved(db: Client, store: StoreId) -> float:
    """Wait until PD knows that the store is full no more; how many seconds that took."""
    begun = time.monotonic()
    while fullness(await store_row(db, store)) >= FULL:
        assert time.monotonic() - begun < BUSY * PATIENCE, "it gives nothing away"
        await asyncio.sleep(0.2)
    return time.monotonic() - begun


@pytest.mark.timeout(900)
async def test_a_store_with_a_full_disk_gives_away_and_gets_nothing(
    small_disk: PoweredDisk, tmp_path: Path, measured: Measured, request: pytest.FixtureRequest
) -> None:
    is_figure = request.config.getoption("--figures") is not None
    settings = {"initial_boundaries": boundaries(REGIONS), **SETTINGS}
    async with (
        harm.running(tmp_path / "cluster", settings, stores=STORES) as cluster,
        cluster.client(timeout=30.0) as db,
    ):
        await fill_regions(db, REGION_MIB * MIB, VALUE_BYTES)
        stores = [row.id for row in await db.placement.stores()]
        full = harm.store_id(cluster, 1)
        rows = await wait_until_even(db, stores)
        held, led = replicas(rows)[full], {row.id: row.leader_store for row in rows}
        before = len(await moves(db))
        load = Load(cluster)
        async with load.running():
            await load.go_on(SETTLED_SECONDS)
            at_most = await fill_up(db, full, small_disk.folder)
            known = time.time() * 1000
            took = await until_relieved(db, full)
            await asyncio.sleep(QUIET_SECONDS if is_figure else FEW_SECONDS)
            # Meanwhile clients may have filled it once more: then it gives more away.
            await until_relieved(db, full)
            after, rows = await store_row(db, full), await db.placement.regions()
        done = (await moves(db))[before:]
        figures = await judge(cluster, load)
    away = [row for row in done if row.from_store == full]
    # What PD began before it was told is no fault of its.
    received = [row for row in done if row.to_store == full and row.started_at > known]
    measured(
        "a disk of a store is nearly full",
        held=held,
        full=round(at_most, 3),
        seconds=round(took, 1),
        full_later=round(fullness(after), 3),
        given_away=len(away),
        received=len(received),
        came_back=len(came_back(done, led)),
        most_moves_of_a_region=max(Counter(row.region for row in done).values()),
        **figures,
    )
    assert away
    assert not received, "it gets nothing"
    assert replicas(rows)[full] >= held / 2, "it gives away no more than it must"
    assert not came_back(done, led)
    assert load.refused == load.unknown == 0, load.troubles
