"""Asks PD for routes: one question at a time, whoever needs it and however often.

Answers come in pages and go into the route table; whoever waits for a route is told that there is
news and looks again.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from flaredb.bus.bus import Bus
from flaredb.client.retry import Backoff, Cause
from flaredb.client.routes import RouteTable
from flaredb.runtime.clock import Jitter
from flaredb_schemas.envelope import Codec, Malformed
from flaredb_schemas.keys import KeyRange
from flaredb_schemas.placement import RoutesAnswer, RoutesQuery
from flaredb_schemas.subjects import Subjects

PAGE_ROUTES: Final = 256
QUESTION_SECONDS: Final = 1.0

_queries: Final = Codec[RoutesQuery](RoutesQuery)
_answers: Final = Codec[RoutesAnswer](RoutesAnswer)


class Directory:
    """Invariant: while anything is wanted, exactly one task asks for it."""

    def __init__(self, bus: Bus, subjects: Subjects, routes: RouteTable, jitter: Jitter) -> None:
        self._bus = bus
        self._subject = subjects.pd_get("routes")
        self._routes = routes
        self._jitter = jitter
        self._wanted: dict[KeyRange, None] = {}
        self._listeners: list[Callable[[], None]] = []
        self._task: asyncio.Task[None] | None = None
        self.last_fault = "no route is known yet"

    def on_news(self, listener: Callable[[], None]) -> None:
        """Have `listener` called each time after PD was asked, whatever came of it."""
        self._listeners.append(listener)

    def refresh(self, keys: KeyRange) -> None:
        """Ask PD for the regions of `keys`; `on_news` tells when that is done."""
        self._wanted[keys] = None
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._ask_until_satisfied())

    async def close(self) -> None:
        """Stop asking."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _ask_until_satisfied(self) -> None:
        backoff = Backoff()
        while self._wanted:
            wanted, self._wanted = self._wanted, {}
            satisfied = [await self.load(keys) for keys in wanted]
            if not all(satisfied):
                await asyncio.sleep(backoff.wait(Cause.PLACEMENT, self._jitter))
            for listener in self._listeners:
                listener()

    async def load(self, keys: KeyRange) -> bool:
        """Load the routes of `keys`; False if PD does not answer or does not know them."""
        start: bytes | None = keys.start
        while start is not None and (not keys.end or start < keys.end):
            page = await self._ask(start)
            if page is None:
                return False
            for route in page.routes:
                self._routes.learn(route)
            if not page.ready or self._routes.find(start) is None:
                self.last_fault = "PD does not know the regions yet"
                return False
            start = page.next if page.next is None or page.next > start else None
        return True

    async def _ask(self, start: bytes) -> RoutesAnswer | None:
        question = _queries.encode(RoutesQuery(start, PAGE_ROUTES))
        payload = await self._bus.request(self._subject, question, QUESTION_SECONDS)
        if payload is None:
            self.last_fault = "PD does not answer"
            return None
        answer = _answers.decode(payload)
        if isinstance(answer, Malformed):
            self.last_fault = f"PD's answer makes no sense: {answer.reason}"
            return None
        return answer
