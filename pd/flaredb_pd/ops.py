"""Health, readiness and metrics over HTTP, for whoever runs the process.

`/livez`: the loop turns. `/readyz`: this PD leads and answers stores, or hears one that leads.
`/metrics`: what the leading PD knows, for Prometheus.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from flaredb_pd.core import PdCore

_GAUGES = {
    "pd_epoch": "The reign of this PD.",
    "sequence": "The last journal record.",
    "ready": "Whether PD is ready to serve.",
    "stores": "Stores that have joined.",
    "regions": "Regions that are known.",
    "leaders": "Regions whose leader is known.",
    "stale_reports": "Region reports that were older than what was known, in this reign.",
    "highest_id": "The highest id that was granted.",
}


class OpsServer(uvicorn.Server):
    """Serves beside the process's own loop and leaves its signals alone."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def ops_server(core: PdCore, address: str) -> OpsServer:
    """A server for `core` on `host:port`; the caller awaits its `serve` and sets `should_exit`."""
    host, _, port = address.rpartition(":")
    config = uvicorn.Config(
        ops_application(core),
        host=host.strip("[]"),
        port=int(port),
        lifespan="off",
        log_config=None,
        log_level="warning",
        access_log=False,
    )
    return OpsServer(config)


def ops_application(core: PdCore) -> Starlette:
    """The three paths, as an ASGI application."""
    registry = CollectorRegistry()
    registry.register(_PdMetrics(core))

    async def live(request: Request) -> Response:
        return PlainTextResponse("ok")

    async def ready(request: Request) -> Response:
        status = core.status
        doing = status.doing if status else "follows another PD"
        body = {"ready": core.serving, "leads": core.leading, "doing": doing}
        return JSONResponse(body, status_code=200 if core.serving else 503)

    async def metrics(request: Request) -> Response:
        return Response(generate_latest(registry), media_type="text/plain; version=0.0.4")

    paths = {"/livez": live, "/readyz": ready, "/metrics": metrics}
    return Starlette(routes=[Route(path, endpoint) for path, endpoint in paths.items()])


class _PdMetrics(Collector):
    """Reads the core at each scrape."""

    def __init__(self, core: PdCore) -> None:
        self._core = core

    def collect(self) -> Iterator[Metric]:
        leads = GaugeMetricFamily("flaredb_pd_leads", "Whether this PD leads.")
        leads.add_metric([], int(self._core.leading))
        yield leads
        status = self._core.status
        for name, text in _GAUGES.items() if status else ():
            gauge = GaugeMetricFamily(f"flaredb_pd_{name.removeprefix('pd_')}", text)
            gauge.add_metric([], float(getattr(status, name)))
            yield gauge
