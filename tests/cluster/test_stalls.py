"""One region has very much to do, and no other feels it."""

import asyncio
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import pytest

from flaredb.client.client import Client
from flaredb.playground.supervisor import LocalCluster
from flaredb_schemas.ids import StoreId
from tests.cluster import harm
from tests.cluster.memory import MIB
from tests.cluster.probes import LONGEST_PROBE, Probes, fill, is_caught_up, lagging_store
from tests.cluster.verdict import BUSY, Measured, all_replicas_agree

pytestmark = [pytest.mark.cluster, pytest.mark.anyio]

KIB: Final = 1024
DELETED_BYTES: Final = 96 * MIB

ENTRIES: Final = 50_000
CLIENTS: Final = 32
ENTRY_VALUE: Final = b"x" * 256
CATCH_UP_SECONDS: Final = 120.0
CALM_SECONDS: Final = 3.0


@pytest.mark.timeout(300)
@pytest.mark.usefixtures("repeat")
@pytest.mark.parametrize("value_bytes", [4 * KIB, 64 * KIB])
async def test_a_large_range_is_deleted(
    value_bytes: int, tmp_path: Path, measured: Measured
) -> None:
    rows = DELETED_BYTES // value_bytes
    async with (
        harm.running(tmp_path / "cluster", {"split_bytes": "1 GiB"}) as cluster,
        cluster.client(timeout=60.0) as db,
    ):
        await fill(db, rows, value_bytes)
        await all_replicas_agree(cluster)
        async with Probes(db).running() as calm:
            await asyncio.sleep(CALM_SECONDS)
        begun = time.monotonic()
        async with Probes(db).running() as probes:
            deleted = await db.delete_range(prefix=b"z-")
            took = time.monotonic() - begun
            await asyncio.sleep(CALM_SECONDS)  # what was removed is saved and synced after that
        left = [key async for key, _ in db.scan(prefix=b"z-")]
        await all_replicas_agree(cluster)
    measured(
        f"96 MiB deleted, values of {value_bytes // KIB} KiB",
        seconds=round(took, 2),
        longest_probe_ms=round(probes.longest * 1000),
        longest_probe_before_ms=round(calm.longest * 1000),
        probes=len(probes.seconds),
    )
    assert deleted == rows and not left
    assert probes.longest <= BUSY * LONGEST_PROBE


async def write_entries(cluster: LocalCluster) -> None:
    """Put the entries one by one: each client waits for each, so none shares a batch."""

    async def write(numbers: Iterable[int]) -> None:
        async with cluster.client(timeout=60.0) as db:
            for number in numbers:
                await db.put(b"z-%08d" % number, ENTRY_VALUE)

    await asyncio.gather(*(write(range(first, ENTRIES, CLIENTS)) for first in range(CLIENTS)))


async def last_of(db: Client, store: StoreId) -> int:
    """The index of the last log entry that this store has of the region with the entries."""
    replicas = await db.inspector.replicas(store)
    return next(one.last_index for one in replicas if one.route.region.keys.contains(b"z-"))


async def snapshots_sent(cluster: LocalCluster) -> int:
    """How many snapshots the stores have sent since their starts."""
    numbers = harm.store_numbers(cluster)
    return sum([await harm.figure(cluster, n, "snapshots_sent_total") for n in numbers])


@pytest.mark.timeout(300)
@pytest.mark.usefixtures("repeat")
async def test_many_entries_are_caught_up(tmp_path: Path, measured: Measured) -> None:
    settings = {"log_keep_entries": str(4 * ENTRIES), "log_max_bytes": "1 GiB"}
    async with (
        harm.running(tmp_path / "cluster", settings) as cluster,
        cluster.client(timeout=60.0) as db,
    ):
        await asyncio.gather(*(db.put(b"%c-0" % first, b"") for first in b"az"))
        late = await lagging_store(cluster)
        had = await last_of(db, harm.store_id(cluster, late))
        await harm.kill(cluster, f"store-{late}")
        await write_entries(cluster)
        ahead = harm.store_id(cluster, 1 + late % cluster.stores)
        lacked = await last_of(db, ahead) - had
        async with Probes(db).running() as calm:
            await asyncio.sleep(CALM_SECONDS)
        begun = time.monotonic()
        async with Probes(db).running() as probes:
            await harm.start(cluster, f"store-{late}")
            served = time.monotonic()
            async with asyncio.timeout(CATCH_UP_SECONDS):
                while not await is_caught_up(db, harm.store_id(cluster, late)):
                    await asyncio.sleep(0.1)
            took = time.monotonic() - served
        snapshots = await snapshots_sent(cluster)
        await all_replicas_agree(cluster)
    measured(
        "entries caught up",
        entries=lacked,
        snapshots=snapshots,
        start_seconds=round(served - begun, 1),
        seconds=round(took, 1),
        longest_probe_ms=round(probes.longest * 1000),
        longest_probe_before_ms=round(calm.longest * 1000),
        probes=len(probes.seconds),
    )
    assert lacked >= ENTRIES and not snapshots, "it was not caught up by entries"
    assert probes.longest <= BUSY * LONGEST_PROBE
