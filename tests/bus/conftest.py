"""Fixtures of the bus suites: the world under test, once per adapter."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.bus.worlds import MemoryWorld, NatsWorld, World


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=["memory", "nats", "nats-plain"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    """A bus of each kind in turn; `nats-plain` is without the short cuts of `FastLine`."""
    chosen: World
    if request.param == "memory":
        chosen = MemoryWorld()
    else:
        chosen = NatsWorld(tmp_path / "nats", fast=request.param == "nats")
    await chosen.open()
    yield chosen
    await chosen.close()


@pytest.fixture
async def nats_world(tmp_path: Path) -> AsyncIterator[NatsWorld]:
    """A real server, for what only a real server does."""
    chosen = NatsWorld(tmp_path / "nats")
    await chosen.open()
    yield chosen
    await chosen.close()
