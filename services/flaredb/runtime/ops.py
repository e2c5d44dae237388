"""The operations port of a process: is it alive, is it ready, what has it counted.

`/livez` answers as long as the loop turns, `/readyz` (and `/healthz`) says 503 with the reason
until the process serves, `/metrics` is Prometheus's text. Needs the extra `ops`.
"""

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Final

import anyio
import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from flaredb.runtime.listening import listen

Ready = Callable[[], str]
"""Empty when the process serves, else why it does not yet."""

Figures = Callable[[], Mapping[str, float]]
"""Name to value, names without the prefix; those that end in `_total` only ever rise."""

PREFIX: Final = "flaredb_"


class _Collected(Collector):
    def __init__(self, figures: Figures, labels: Mapping[str, str]) -> None:
        self._figures = figures
        self._labels = labels

    def collect(self) -> list[CounterMetricFamily | GaugeMetricFamily]:
        """All figures, read at the moment of the scrape."""
        families: list[CounterMetricFamily | GaugeMetricFamily] = []
        for name, value in self._figures().items():
            kind = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
            family = kind(PREFIX + name, name.replace("_", " "), labels=list(self._labels))
            family.add_metric(list(self._labels.values()), value)
            families.append(family)
        return families


def ops_routes(ready: Ready, figures: Figures, labels: Mapping[str, str]) -> list[BaseRoute]:
    """The routes, for a process that has an HTTP server anyway."""
    registry = CollectorRegistry()
    registry.register(_Collected(figures, labels))

    async def live(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def is_ready(_: Request) -> Response:
        reason = ready()
        return PlainTextResponse(f"{reason or 'ok'}\n", status_code=503 if reason else 200)

    async def metrics(_: Request) -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    return [
        Route("/livez", live),
        Route("/readyz", is_ready),
        Route("/healthz", is_ready),
        Route("/metrics", metrics),
    ]


class _QuietServer(uvicorn.Server):
    """Leaves the signals to the process that it serves."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def serve_ops(
    address: str, routes: list[BaseRoute], setting: str = "ops"
) -> AsyncIterator[None]:
    """Serve `routes` at `host:port` while the context lasts; an empty address serves nothing.

    `setting` is where the address comes from. Raises `CannotListen`, before the block is entered.
    What the block raises leaves it as it is, not in a group.
    """
    if not address:
        yield
        return
    # Not by uvicorn, which ends the process with an exit code of its own where it cannot listen.
    sockets = listen(address, setting)
    config = uvicorn.Config(
        Starlette(routes=routes), log_level="warning", access_log=False, lifespan="off"
    )
    server = _QuietServer(config)
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(server.serve, sockets)
            try:
                yield
            finally:
                server.should_exit = True
    except BaseExceptionGroup as group:
        if len(group.exceptions) > 1:
            raise
        raise group.exceptions[0] from None
    finally:
        for opened in sockets:
            opened.close()
