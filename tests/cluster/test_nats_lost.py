"""nats-server is killed or paused under eight clients: nothing is lost, and writes resume."""

from typing import Final

import anyio
import pytest

from flaredb.playground.supervisor import LocalCluster
from tests.cluster import harm
from tests.cluster.load import Load
from tests.cluster.verdict import BUSY, Measured, judge

pytestmark = [pytest.mark.cluster, pytest.mark.anyio]

RESUME_SECONDS: Final = 5.0
"""How soon after the server is back a write must be acknowledged."""


@pytest.mark.parametrize("away", [0.0, 3.0])
async def test_the_server_is_killed_and_restarted(
    cluster: LocalCluster, repeat: int, away: float, measured: Measured
) -> None:
    async with Load(cluster, repeat).running() as load:
        await load.go_on(2, writes=200)
        await harm.kill(cluster, "nats")
        await anyio.sleep(away)
        await harm.start(cluster, "nats")
        resumed = await load.seconds_to_next_write()
        await load.go_on(2, writes=200)
    figures = await judge(cluster, load)
    measured("nats-server killed", away_s=away, resumed_s=round(resumed, 3), **figures)
    assert resumed <= BUSY * RESUME_SECONDS


async def test_the_server_is_paused(cluster: LocalCluster, repeat: int, measured: Measured) -> None:
    async with Load(cluster, repeat).running() as load:
        await load.go_on(2, writes=200)
        cluster.pause("nats")
        await anyio.sleep(4.0)
        cluster.resume("nats")
        resumed = await load.seconds_to_next_write()
        await load.go_on(2, writes=200)
    measured("nats-server paused", resumed_s=round(resumed, 3), **await judge(cluster, load))
    assert resumed <= BUSY * RESUME_SECONDS
