"""SC-001 and SC-002: leaders come soon after the first start, each key is in its own region."""

import asyncio
import random
import shutil
from functools import partial
from pathlib import Path
from typing import Final

import pytest
from anyio.to_thread import run_sync
from msgspec import Struct

from flaredb.demo.trespassing import MARK, trespass
from flaredb.disk.layout import REGION, data_rows, kind_rows, user_key
from flaredb.disk.lmdb_environment import MAP_BYTES, LmdbView, open_environment
from flaredb.store.records import ReplicaRecord, load, open_sealed
from flaredb_schemas.keys import KeyRange
from flaredb_schemas.regions import Region
from tests.cluster import harm
from tests.cluster.verdict import BUSY, Measured

pytestmark = [pytest.mark.cluster, pytest.mark.anyio]

LEADER_SECONDS: Final = 5.0
EVERYTHING: Final = KeyRange(b"", b"")
SETTINGS: Final = {"initial_boundaries": "c,g,k,p,u"}


class OnDisk(Struct, frozen=True):
    """What one store has on its own disk."""

    regions: tuple[Region, ...]
    rows: dict[bytes, bytes]


def read_disk(folder: Path, copy: Path) -> OnDisk:
    """Read a copy of a store's folder, as LMDB has it and past all of the store's own code."""
    shutil.copytree(folder, copy)
    environment = open_environment(copy, map_size=MAP_BYTES, write=False)
    view = LmdbView(environment, copy)
    try:
        regions = [load(view, key, ReplicaRecord) for key, _ in list(view.scan(*kind_rows(REGION)))]
        rows = {
            user_key(key): open_sealed(key, record)
            for key, record in view.scan(*data_rows(EVERYTHING))
        }
    finally:
        view.close()
        environment.close()
    return OnDisk(tuple(each.region for each in regions if each is not None), rows)


async def test_leaders_come_soon(tmp_path: Path, repeat: int, measured: Measured) -> None:
    async with (
        harm.running(tmp_path / "cluster") as cluster,
        cluster.client(timeout=20.0) as db,
        asyncio.timeout(20),
    ):
        while (status := await db.placement.status()).leaders_elected_s is None:
            await asyncio.sleep(0.02)
    assert status.leaders == status.regions == 2
    measured("leaders elected", seconds=round(status.leaders_elected_s, 3))
    assert status.leaders_elected_s <= BUSY * LEADER_SECONDS


async def test_no_write_lands_in_another_region(tmp_path: Path, measured: Measured) -> None:
    dice = random.Random(3)
    keys = [b"%c-%d" % (dice.randrange(97, 123), number) for number in range(2_000)]
    written = {key: b"value of %s" % key for key in keys}
    async with harm.running(tmp_path / "cluster", SETTINGS, stores=4) as cluster:
        async with cluster.client(timeout=30.0) as db:
            await asyncio.gather(*(db.put(key, value) for key, value in written.items()))
            refusals = await trespass(db, sorted(written))
            assert await db.get_many(written) == written
            regions = [route.region for route in await db.inspector.routes()]
        ids = {number: harm.store_id(cluster, number) for number in harm.store_numbers(cluster)}
        for name in harm.store_names(cluster):
            await run_sync(partial(cluster.stop, name))
        found = {
            ids[number]: read_disk(cluster.store_folder(number), tmp_path / f"copy-{number}")
            for number in harm.store_numbers(cluster)
        }
    assert refusals.tried > 500 and refusals.refused == refusals.tried, refusals
    assert len(regions) == 6
    for store, disk in found.items():
        here = [region for region in regions if store in region.stores]
        assert {region.id for region in disk.regions} == {region.id for region in here}
        assert disk.rows == {
            key: value
            for key, value in written.items()
            if any(region.keys.contains(key) for region in here)
        }
        assert not any(key.endswith(MARK) for key in disk.rows)
    assert any(len(disk.rows) < len(written) for disk in found.values()), "no store lacks any"
    rows = sum(len(disk.rows) for disk in found.values())
    assert rows == 3 * len(written)
    measured("ranges", tried=refusals.tried, refused=refusals.refused, rows_on_disks=rows, strays=0)
