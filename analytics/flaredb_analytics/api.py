"""SQL, the tail of events and the state of the service, over HTTP.

Meant for the machine itself (127.0.0.1 by default) and everybody on it; nothing can be changed
through it. A page on the web cannot use it either: the address must be asked for by name of this
machine, and SQL comes as `application/json`, which browsers send elsewhere only when allowed.
Problems are RFC 9457 documents.
"""

from collections.abc import Callable
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from flaredb_analytics.ingest import Ingest
from flaredb_analytics.queries import Answer, Queries, Refusal
from flaredb_analytics.tail import LATEST, Tail

MAX_BODY: Final = 128 * 1024
LOOPBACK: Final = ("localhost", "127.0.0.1", "[::1]")

_TITLES: Final = {
    "refused": (403, "This statement may not be asked"),
    "failed": (400, "The statement failed"),
    "time": (504, "The statement took too long"),
    "memory": (507, "The statement needs too much memory"),
    "busy": (503, "Too many statements"),
}


class Question(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `POST /v1/sql`."""

    query: Annotated[str, Meta(min_length=1)]


class Problem(Struct, frozen=True):
    """RFC 9457."""

    title: str
    status: int
    detail: str
    type: str = "about:blank"


class Api:
    """The routes under `/v1`. `ingest` is asked for anew each time: a rebuild replaces it."""

    def __init__(
        self,
        ingest: Callable[[], Ingest],
        queries: Queries,
        tail: Tail,
        status: Callable[[], dict[str, Any]],
        local: bool,
    ) -> None:
        self._ingest: Final = ingest
        self._queries: Final = queries
        self._tail: Final = tail
        self._status: Final = status
        self._local: Final = local

    def routes(self) -> list[BaseRoute]:
        """For whoever serves them."""
        return [
            Route("/v1/sql", self.sql, methods=["POST"]),
            Route("/v1/events", self.events),
            Route("/v1/status", self.status),
        ]

    async def sql(self, request: Request) -> Response:
        """One statement: `{"query": ...}` in; columns, types, rows, cut and seconds out."""
        stranger = self._stranger(request)
        if stranger is not None:
            return stranger
        if request.headers.get("content-type", "").partition(";")[0] != "application/json":
            return problem(415, "Not JSON", "send the statement as application/json")
        if int(request.headers.get("content-length", "0")) > MAX_BODY:
            return problem(413, "Too large", f"a body may have {MAX_BODY} bytes")
        try:
            question = msgspec.json.decode(await request.body(), type=Question)
        except (msgspec.DecodeError, RecursionError) as error:
            return problem(400, "Not a question", f'send {{"query": "SELECT ..."}}: {error}')
        headers = self._freshness()
        answer = await self._queries.ask(question.query)
        if isinstance(answer, Refusal):
            return problem(*_TITLES[answer.why], answer.detail, headers)
        return _json(answer, headers)

    async def events(self, request: Request) -> Response:
        """Server-sent events after `?after=`, or after the header `Last-Event-ID`, or from now."""
        stranger = self._stranger(request)
        if stranger is not None:
            return stranger
        given = request.headers.get("last-event-id", request.query_params.get("after", ""))
        if given and not given.isdecimal():
            return problem(400, "Not a number", f"`after` is the number of an event, not {given!r}")
        after = int(given[:18]) if given else LATEST
        return StreamingResponse(self._tail.follow(after), media_type="text/event-stream")

    async def status(self, request: Request) -> Response:
        """How far each stream has been read, and what the service has met."""
        stranger = self._stranger(request)
        return stranger if stranger is not None else _json(self._status(), self._freshness())

    def _freshness(self) -> dict[str, str]:
        ingest = self._ingest()
        places = ", ".join(f"{status.stream}={status.seq}" for status in ingest.status())
        return {"FlareDB-Last-Seq": places, "FlareDB-Lag-Seconds": f"{ingest.lag:.3f}"}

    def _stranger(self, request: Request) -> Response | None:
        """Refuses who reached this machine by a name that is not its own (DNS rebinding)."""
        host = request.headers.get("host", "")
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
        if not self._local or name in LOOPBACK:
            return None
        return problem(421, "Misdirected", f"this service is {' or '.join(LOOPBACK)}, not {name}")


def problem(
    status: int, title: str, detail: str, headers: dict[str, str] | None = None
) -> Response:
    """A problem document."""
    return Response(
        msgspec.json.encode(Problem(title, status, detail)),
        status,
        headers,
        media_type="application/problem+json",
    )


def _json(body: Answer | dict[str, Any], headers: dict[str, str]) -> Response:
    return Response(msgspec.json.encode(body), 200, headers, media_type="application/json")
