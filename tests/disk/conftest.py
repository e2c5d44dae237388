"""Stations for the contract's tests: each runs on memory and on LMDB."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.disk.stations import LmdbStation, Station, lmdb_station, memory_station


@pytest.fixture
def anyio_backend() -> str:
    """The loop that the store uses."""
    return "asyncio"


@pytest.fixture(params=["memory", "lmdb"])
async def station(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Station]:
    """A disk of each kind, new and open."""
    make = memory_station if request.param == "memory" else lmdb_station
    async with make(tmp_path / "data") as opened:
        yield opened


@pytest.fixture
async def lmdb(tmp_path: Path) -> AsyncIterator[LmdbStation]:
    """A new disk on LMDB."""
    async with lmdb_station(tmp_path / "data") as opened:
        yield opened
