"""Stores are killed, paused and stopped under eight clients: nothing acknowledged is lost."""

from functools import partial
from typing import Final

import anyio
import pytest
from anyio.to_thread import run_sync

from flaredb.playground.supervisor import LocalCluster
from tests.cluster import harm
from tests.cluster.load import Load
from tests.cluster.overheard import overhearing
from tests.cluster.verdict import BUSY, Measured, judge

pytestmark = [pytest.mark.cluster, pytest.mark.anyio]

LONGEST_GAP: Final = 5.0
"""Seconds without an acknowledged write that the loss of one store may cause."""


async def test_a_store_is_killed_and_restarted(
    cluster: LocalCluster, repeat: int, measured: Measured
) -> None:
    async with Load(cluster, repeat).running() as load:
        await load.go_on(2, writes=200)
        victim = f"store-{await harm.busiest(cluster)}"
        await harm.kill(cluster, victim)
        await load.go_on(4, writes=200)
        await harm.start(cluster, victim)
        await load.go_on(3, writes=200)
    figures = await judge(cluster, load)
    measured("store killed", **figures)
    assert load.longest_gap <= BUSY * LONGEST_GAP


async def test_all_stores_are_killed_and_restarted(
    cluster: LocalCluster, repeat: int, measured: Measured
) -> None:
    names = harm.store_names(cluster)
    async with Load(cluster, repeat).running() as load:
        for _ in range(2):
            await load.go_on(1, writes=100)
            await harm.kill(cluster, *names)
            await harm.start(cluster, *names)
        await load.go_on(1, writes=100)
    measured("all stores killed", **await judge(cluster, load))


async def test_a_store_is_paused_for_longer_than_an_election(
    cluster: LocalCluster, repeat: int, measured: Measured
) -> None:
    async with Load(cluster, repeat).running() as load:
        for _ in range(2):
            await load.go_on(1, writes=100)
            victim = f"store-{await harm.busiest(cluster)}"
            cluster.pause(victim)
            await anyio.sleep(4.0)
            cluster.resume(victim)
        await load.go_on(2, writes=100)
    measured("store paused", **await judge(cluster, load))
    assert load.longest_gap <= BUSY * LONGEST_GAP


async def test_stores_are_stopped_one_by_one(
    cluster: LocalCluster, repeat: int, measured: Measured
) -> None:
    async with Load(cluster, repeat).running() as load, overhearing(cluster.url) as heard:
        for number in harm.store_numbers(cluster):
            await load.go_on(1, writes=100)
            name, led = f"store-{number}", await harm.figure(cluster, number, "leaders")
            await run_sync(partial(cluster.stop, name))
            assert cluster.children[name].exit_code == 0, cluster.children[name].tail()
            with anyio.fail_after(10):
                while len(heard.stops) < number:
                    await anyio.sleep(0.05)
            assert heard.stops[-1].leaders_moved or not led, f"{name} led {led}, and moved none"
            await harm.start(cluster, name)
        await load.go_on(1, writes=100)
    assert len({stop.store for stop in heard.stops}) == cluster.stores
    measured("stores restarted one by one", **await judge(cluster, load))
    assert load.longest_gap <= BUSY * 2.0
