"""A large region is caught up by snapshot: little memory, and no other region feels it."""

import asyncio
import time
from pathlib import Path
from typing import Final

import pytest

from tests.cluster import harm
from tests.cluster.memory import MIB, Watch
from tests.cluster.probes import Probes, fill, is_caught_up, lagging_store
from tests.cluster.verdict import BUSY, Measured, all_replicas_agree

pytestmark = [pytest.mark.cluster, pytest.mark.anyio]

VALUE_BYTES: Final = 4_096
ROWS: Final = 96 * MIB // VALUE_BYTES
CATCH_UP_SECONDS: Final = 90.0

EXTRA_MIB: Final = 16.0
"""What a store, its writer and its jobs may take together beyond what they had."""

LONGEST_PROBE: Final = 1.0
"""Seconds; on a machine of its own it is 0.2."""

SETTINGS: Final = {
    "log_max_bytes": "1 MiB",
    "split_bytes": "1 GiB",
    "split_requests_per_second": "0",
    "split_load_bytes_per_second": "0",
}
"""So that a store that was away while a region grew needs a snapshot of it."""


@pytest.mark.timeout(240)
async def test_a_large_region_is_caught_up(tmp_path: Path, measured: Measured) -> None:
    async with (
        harm.running(tmp_path / "cluster", SETTINGS) as cluster,
        cluster.client(timeout=60.0) as db,
    ):
        await asyncio.gather(*(db.put(b"a-%d" % n, b"") for n in range(500)))
        watch, late = Watch(cluster), await lagging_store(cluster)
        await asyncio.sleep(2.0)
        before = {late: watch.now(late)}
        before_below = {late: watch.now_below(late)}
        await harm.kill(cluster, f"store-{late}")
        await fill(db, ROWS, VALUE_BYTES)
        await asyncio.sleep(2.0)
        for number in set(harm.store_numbers(cluster)) - {late}:
            before[number], before_below[number] = watch.now(number), watch.now_below(number)
        async with Probes(db).running() as calm:
            await asyncio.sleep(3.0)
        begun = time.monotonic()
        async with watch.running(), Probes(db).running() as probes:
            await harm.start(cluster, f"store-{late}")
            async with asyncio.timeout(CATCH_UP_SECONDS):
                while not await is_caught_up(db, harm.store_id(cluster, late)):
                    await asyncio.sleep(0.1)
            took = time.monotonic() - begun
        await all_replicas_agree(cluster)
    grown = {n: (watch.most[n] - before[n]) / MIB for n in before}
    below = {n: (watch.most_below[n] - before_below[n]) / MIB for n in before}
    extra = max(grown[n] + below[n] for n in before)
    measured(
        "96 MiB by snapshot",
        seconds=round(took, 1),
        extra_mib=round(extra, 1),
        receiver_extra_mib=round(grown.pop(late), 1),
        sender_extra_mib=round(max(grown.values()), 1),
        receiver_children_extra_mib=round(below.pop(late), 1),
        sender_children_extra_mib=round(max(below.values()), 1),
        longest_probe_ms=round(probes.longest * 1000),
        longest_probe_before_ms=round(calm.longest * 1000),
        probes=len(probes.seconds),
    )
    assert extra <= BUSY * EXTRA_MIB
    assert probes.longest <= BUSY * LONGEST_PROBE
