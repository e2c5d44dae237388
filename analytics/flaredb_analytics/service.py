"""The asyncio edge of analytics: the bus in, the warehouse between, HTTP out.

Ingestion and questions go on side by side. A warehouse that breaks while it is in use is put aside,
and everything that leaned on it is made anew; the streams fill the new one.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import msgspec

from flaredb.bus.bus import Bus
from flaredb.runtime.clock import Clock
from flaredb.runtime.logs import logger
from flaredb.runtime.ops import ops_routes, serve_ops
from flaredb.runtime.settings import AnalyticsSettings
from flaredb_analytics.api import LOOPBACK, Api
from flaredb_analytics.ingest import Ingest
from flaredb_analytics.queries import Queries
from flaredb_analytics.tail import Tail
from flaredb_analytics.warehouse import Warehouse, WarehouseBroken
from flaredb_schemas.subjects import Subjects

log: Final = logger(__name__)


def streams_of(subjects: Subjects) -> Sequence[str]:
    """The streams that are history, the most telling first."""
    return subjects.event_stream, subjects.journal_stream, subjects.heartbeat_stream


class Analytics:
    """One service on one folder and one bus connection.

    Invariant: `ingest`, `queries` and `tail` lean on the same warehouse.
    """

    def __init__(self, settings: AnalyticsSettings, bus: Bus, clock: Clock) -> None:
        """Open the warehouse; raises `WarehouseBusy`."""
        self._settings: Final = settings
        self._bus: Final = bus
        self._clock: Final = clock
        self._streams: Final = streams_of(Subjects(settings.prefix))
        self._rebuilds = 0
        self._stopping: Final = asyncio.Event()
        self.warehouse: Final = Warehouse(Path(settings.data), settings.memory_limit)
        if self.warehouse.set_aside:
            self._note_rebuild(self.warehouse.set_aside)
        self.queries: Final = Queries(
            self.warehouse, clock, settings.statement_seconds, settings.max_result_rows
        )
        self.ingest = self._new_ingest()

    async def run(self) -> None:
        """Serve until `stop`, then close the file. Raises `CannotListen`."""
        host = self._settings.http.rpartition(":")[0]
        tail = Tail(self.warehouse, lambda: self.ingest)
        api = Api(lambda: self.ingest, self.queries, tail, self.status, local=host in LOOPBACK)
        routes = ops_routes(self.why_not_ready, self.figures, {}) + api.routes()
        ingesting = asyncio.create_task(self._ingest_for_ever())
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            async with serve_ops(self._settings.http, routes, "http"):
                log.info("analytics serves", http=self._settings.http, data=self._settings.data)
                await asyncio.wait([ingesting, stopping], return_when=asyncio.FIRST_COMPLETED)
                tail.close()
        finally:
            ingesting.cancel()
            stopping.cancel()
            with suppress(asyncio.CancelledError):
                await ingesting
            self.queries.close()
            self.warehouse.close()

    def stop(self) -> None:
        """Have `run` return."""
        self._stopping.set()

    def why_not_ready(self) -> str:
        """Empty once every stream has been read to its end; answers may be old until then."""
        if not self._bus.connected:
            return "not connected to NATS"
        if self.ingest.caught_up_once:
            return ""
        behind = [s.stream for s in self.ingest.status() if s.seq < s.last or s.trouble]
        return f"reading {', '.join(behind) or 'the streams'}"

    def figures(self) -> dict[str, float]:
        """For `/metrics`."""
        figures: dict[str, float] = {
            "analytics_connected": float(self._bus.connected),
            "analytics_lag_seconds": self.ingest.lag,
            "analytics_rebuilds_total": self._rebuilds,
            "analytics_statements_under_way": self.queries.under_way,
        }
        for status in self.ingest.status():
            figures[f"analytics_{status.stream.lower()}_seq"] = status.seq
        return figures

    def status(self) -> dict[str, Any]:
        """For `/v1/status`."""
        return {
            "connected": self._bus.connected,
            "ready": self.why_not_ready() or "yes",
            "lag_seconds": self.ingest.lag,
            "streams": msgspec.to_builtins(self.ingest.status()),
            "rebuilds": self._rebuilds,
            "statements_under_way": self.queries.under_way,
            "file": str(self.warehouse.path),
        }

    async def _ingest_for_ever(self) -> None:
        while True:
            reason = await self._until_broken()
            self._note_rebuild(reason)
            await asyncio.to_thread(self.warehouse.rebuild, reason)
            self.ingest = self._new_ingest()

    async def _until_broken(self) -> str:
        """Ingest until the warehouse breaks; returns how it did."""
        broken: list[str] = []
        try:
            await self.ingest.run()
        except* WarehouseBroken as group:
            broken = [str(error) for error in group.exceptions]
        assert broken, "ingestion ends by an exception"
        return broken[0]

    def _new_ingest(self) -> Ingest:
        return Ingest(self.warehouse, self._bus.history, self._streams, self._clock)

    def _note_rebuild(self, reason: str) -> None:
        self._rebuilds += 1
        log.warning("the warehouse is built anew from the streams", reason=reason)
