"""A warehouse that breaks while it is in use is put aside and filled again, without a restart."""

import asyncio
from pathlib import Path

import pytest

from flaredb.playground.ports import free_port
from flaredb.runtime.clock import SystemClock
from flaredb.runtime.settings import AnalyticsSettings
from flaredb_analytics.queries import Answer
from flaredb_analytics.service import Analytics
from flaredb_analytics.warehouse import WarehouseBroken
from tests.analytics.facts import MEMORY, elected, hub_with_streams, publish

pytestmark = pytest.mark.anyio


async def test_the_service_outlives_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, bus = await hub_with_streams()
    http = f"127.0.0.1:{free_port()}"
    settings = AnalyticsSettings(data=str(tmp_path), http=http, memory_limit=MEMORY)
    analytics = Analytics(settings, bus, SystemClock())
    serving = asyncio.create_task(analytics.run())
    await publish(bus, elected(region=1))
    await _counts(analytics, 1)

    def broken(*_: object) -> None:
        monkeypatch.undo()
        raise WarehouseBroken("a block's checksum does not match")

    monkeypatch.setattr(analytics.warehouse, "write", broken)
    await publish(bus, elected(region=2))
    await _counts(analytics, 2)

    assert analytics.status()["rebuilds"] == 1
    assert "checksum" in analytics.warehouse.set_aside
    analytics.stop()
    await serving


async def _counts(analytics: Analytics, events: int) -> None:
    """Wait until so many events can be asked for."""
    async with asyncio.timeout(20):
        while True:
            answer = await analytics.queries.ask("SELECT count(*) FROM events")
            if isinstance(answer, Answer) and bytes(answer.rows[0]) == b"[%d]" % events:
                return
            await asyncio.sleep(0.02)
