"""Fixtures of the analytics suites."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from flaredb_analytics.warehouse import Warehouse
from tests.analytics.facts import MEMORY
from tests.nats_server import nats_server

__all__ = ["nats_server"]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def warehouse(tmp_path: Path) -> Iterator[Warehouse]:
    """A new warehouse in a folder of its own."""
    opened = Warehouse(tmp_path / "analytics", MEMORY)
    yield opened
    opened.close()
