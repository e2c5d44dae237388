"""A fake cluster of two regions, split at b"m", and a client of it."""

from collections.abc import AsyncIterator

import pytest

from flaredb.client import courier
from flaredb.client.client import Client
from tests.client.fake_cluster import FakeCluster


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lost answers are given up ten times sooner, so that tests end sooner."""
    monkeypatch.setattr(courier, "FIRST_PATIENCE", 0.1)


@pytest.fixture
async def cluster() -> FakeCluster:
    fake = FakeCluster(b"m")
    await fake.start()
    return fake


@pytest.fixture
async def db(cluster: FakeCluster) -> AsyncIterator[Client]:
    async with cluster.client() as client:
        yield client
