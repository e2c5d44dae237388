"""Stations for the contract's tests: each runs on memory and on LMDB."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.disk import shim
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


@pytest.fixture(scope="session")
def fault_shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library that makes a process's disk fail."""
    return shim.build(tmp_path_factory.mktemp("shim"))


@pytest.fixture
def fault(fault_shim: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that arms the shim in processes started from here on; absent, so not yet."""
    monkeypatch.setenv("LD_PRELOAD", str(fault_shim))
    monkeypatch.setenv("DISK_FAULT", str(tmp_path / "fault"))
    return tmp_path / "fault"
