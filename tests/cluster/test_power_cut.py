"""The power of all stores goes under eight clients: what was acknowledged is there afterwards."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from os import sync
from pathlib import Path
from typing import Final

import pytest
from anyio.to_thread import run_sync

from flaredb.playground.process import ProcessFailed
from flaredb.playground.supervisor import LocalCluster
from tests.cluster import harm
from tests.cluster.load import Load
from tests.cluster.verdict import Measured, judge
from tests.disk.powered_disk import PoweredDisk, skip_without_rights

pytestmark = [pytest.mark.cluster, pytest.mark.anyio]

DISK_BYTES: Final = 256 << 20


class UnsyncedCluster(LocalCluster):
    """A cluster whose stores do not sync."""

    store_module = "tests.cluster.store_without_sync"


@pytest.fixture
def disks(tmp_path: Path) -> Iterator[list[PoweredDisk]]:
    """A disk for each of three stores, under the folder that the cluster will have."""
    skip_without_rights()
    disks = [
        PoweredDisk(tmp_path / f"image-{n}", tmp_path / "cluster" / f"store-{n}", DISK_BYTES)
        for n in (1, 2, 3)
    ]
    mounted = [disk for disk in disks if disk.mount()]
    if len(mounted) == len(disks):
        yield disks
    for disk in mounted:
        disk.unmount()
    if len(mounted) < len(disks):
        pytest.skip("needs the right to mount a file")


@asynccontextmanager
async def serving(cluster: LocalCluster) -> AsyncIterator[LocalCluster]:
    """The cluster runs within the block."""
    await run_sync(cluster.start)
    try:
        yield cluster
    finally:
        await run_sync(cluster.close)


async def cut_and_come_back(cluster: LocalCluster, disks: list[PoweredDisk]) -> None:
    """All stores lose their power at once, and are started again."""
    for disk in disks:
        disk.cut()
    names = harm.store_names(cluster)
    await harm.kill(cluster, *names)
    for disk in disks:
        await run_sync(partial(disk.power_on, disk.folder))
    await harm.start(cluster, *names)


async def test_nothing_acknowledged_is_lost(
    disks: list[PoweredDisk], tmp_path: Path, repeat: int, measured: Measured
) -> None:
    async with serving(LocalCluster(tmp_path / "cluster", analytics=False)) as cluster:
        async with Load(cluster, repeat).running() as load:
            await load.go_on(1.5 + repeat % 5 * 0.3, writes=200)
            await cut_and_come_back(cluster, disks)
            await load.go_on(1, writes=100)
        measured("power cut", **await judge(cluster, load))


async def test_without_sync_the_loss_is_noticed(
    disks: list[PoweredDisk], tmp_path: Path, measured: Measured
) -> None:
    async with serving(UnsyncedCluster(tmp_path / "cluster", analytics=False)) as cluster:
        told = ""
        try:
            async with Load(cluster).running() as load:
                await load.go_on(0.5, writes=50)
                await run_sync(sync)  # so that there is something to come back to
                await load.go_on(1.5, writes=200)
                await cut_and_come_back(cluster, disks)
                await load.go_on(1, writes=100)
            await judge(cluster, load)
        except (AssertionError, ProcessFailed, ExceptionGroup) as fault:
            told = repr(fault)  # a group of errors says in its text only how many it has
        noticed = told[:100] if "lost" in told or "no write" in told else ""
        measured("power cut without sync", noticed=noticed)
        assert noticed, told
