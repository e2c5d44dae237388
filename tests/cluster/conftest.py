"""A fresh cluster per test, and a file for what was measured."""

import json
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import anyio.to_thread
import pytest

from flaredb.testing import LocalCluster
from tests.nats_server import nats_server

__all__ = ["nats_server"]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[LocalCluster]:
    """Three stores at default settings, with PD and nats-server."""
    running = LocalCluster(tmp_path / "cluster", analytics=False)
    await anyio.to_thread.run_sync(running.start)
    yield running
    await anyio.to_thread.run_sync(running.close)


@pytest.fixture
def measured(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Takes the figures of a scenario, by name; `--figures FILE` keeps them, a line per call."""
    path: Path | None = request.config.getoption("--figures")

    def record(scenario: str, **figures: float | str) -> None:
        sys.stderr.write(f"\n{scenario}: {figures}\n")  # shown when a test fails
        if path is not None:
            with path.open("a") as file:
                file.write(json.dumps({"scenario": scenario, **figures}) + "\n")

    return record
