"""A thousand regions per store: they cost next to nothing, and are led again soon after a kill."""

import asyncio
import os
import time
from pathlib import Path
from typing import Final

import pytest

from flaredb.playground.supervisor import LocalCluster
from tests.cluster import harm
from tests.cluster.memory import MIB, descendants, own_bytes
from tests.cluster.verdict import BUSY, Measured

pytestmark = [pytest.mark.cluster, pytest.mark.anyio]

REGIONS: Final = 1_000
SETTINGS: Final = {
    "initial_boundaries": ",".join(f"k{number:04d}" for number in range(1, REGIONS)),
    "sleep_after_ms": "1000",
}
LED_AGAIN_SECONDS: Final = 10.0
IDLE_SECONDS: Final = 15.0
CPU_SHARE: Final = 0.10
MEMORY: Final = 300 * MIB


async def wait_for(cluster: LocalCluster, what: str, at_least: int, seconds: float) -> None:
    """Return when this figure of all stores that run sums up to so much."""
    running = [n for n in harm.store_numbers(cluster) if cluster.children[f"store-{n}"].pid]
    async with asyncio.timeout(seconds):
        while sum([await harm.figure(cluster, n, what) for n in running]) < at_least:
            await asyncio.sleep(0.1)


def processes_of(cluster: LocalCluster, name: str) -> list[int]:
    """A store and what it has started."""
    pid = cluster.children[name].pid
    assert pid is not None
    return [pid, *descendants(pid)]


def cpu_seconds(pids: list[int]) -> float:
    """What processes have used of the processor so far."""
    fields = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in pids]
    return sum(int(field[11]) + int(field[12]) for field in fields) / os.sysconf("SC_CLK_TCK")


@pytest.mark.timeout(240)
async def test_a_thousand_regions(tmp_path: Path, measured: Measured) -> None:
    async with harm.running(tmp_path / "cluster", SETTINGS) as cluster:
        await wait_for(cluster, "leaders", REGIONS, 60)
        await wait_for(cluster, "regions_asleep", 3 * REGIONS, 90)

        pids = {name: processes_of(cluster, name) for name in harm.store_names(cluster)}
        before = {name: cpu_seconds(pids[name]) for name in pids}
        begun = time.monotonic()
        await asyncio.sleep(IDLE_SECONDS)
        idle = time.monotonic() - begun
        share = max((cpu_seconds(pids[name]) - before[name]) / idle for name in pids)
        memory = max(sum(map(own_bytes, pids[name])) for name in pids)
        measured("idle regions", cpu_percent=round(share * 100, 1), mib=round(memory / MIB, 1))

        victim = await harm.busiest(cluster)
        led = await harm.figure(cluster, victim, "leaders")
        await harm.kill(cluster, f"store-{victim}")
        begun = time.monotonic()
        await wait_for(cluster, "leaders", REGIONS, 60)
        again = time.monotonic() - begun
        measured("sleeping regions led again", regions=led, seconds=round(again, 2))
    assert share <= BUSY * CPU_SHARE and memory <= BUSY * MEMORY
    assert led > 0 and again <= BUSY * LED_AGAIN_SECONDS
