"""Events as they arrive, for whoever follows: server-sent events, each one JSON object.

The id of each is its number, the order of arrival here; a reader that comes back names the last one
that it saw. A number above all that are known (the warehouse was rebuilt) begins from the start:
better told twice than never.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import msgspec

from flaredb_analytics.ingest import Ingest
from flaredb_analytics.queries import plain
from flaredb_analytics.warehouse import Warehouse, begin_reading, fetching

PAGE: Final = 500
KEEP_ALIVE_SECONDS: Final = 10.0
LATEST: Final = -1
"""Begin after the newest event."""

COLUMNS: Final = (
    "number", "id", "type", "time", "cluster", "region", "store", "stream", "seq", "payload"
)  # fmt: skip


class Tail:
    """Follows `events`; the readers share two threads. A rebuild replaces what `ingest` gives."""

    def __init__(self, warehouse: Warehouse, ingest: Callable[[], Ingest]) -> None:
        self._warehouse: Final = warehouse
        self._ingest: Final = ingest
        self._closed = False
        self._threads: Final = ThreadPoolExecutor(2, thread_name_prefix="tail")

    async def follow(self, after: int) -> AsyncIterator[bytes]:
        """The events with a number above `after`, for ever, framed as server-sent events."""
        if after == LATEST:
            after = self._warehouse.next_number - 1
        yield b": flaredb events\n\n"
        while not self._closed:
            news = self._ingest().news
            if after >= self._warehouse.next_number:
                after = 0
            page = await self._page(after)
            for number, line in page:
                yield b"id: %d\ndata: %b\n\n" % (number, line)
                after = number
            if not page and not await _comes(news):
                yield b": still here\n\n"

    def close(self) -> None:
        """Let every follower go."""
        self._closed = True
        self._ingest().news.set()

    async def _page(self, after: int) -> list[tuple[int, bytes]]:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._read, after)

    def _read(self, after: int) -> list[tuple[int, bytes]]:
        query = (
            f"SELECT {', '.join(COLUMNS)} FROM events WHERE number > {int(after)} "
            f"ORDER BY number LIMIT {PAGE}"
        )
        with self._warehouse.reader() as reader:
            begin_reading(reader, query)
            return [(row[0], _line(row)) for row in fetching(reader, PAGE)]


def _line(row: tuple[Any, ...]) -> bytes:
    fields = {name: plain(value) for name, value in zip(COLUMNS, row, strict=True)}
    fields["payload"] = msgspec.Raw(fields["payload"].encode())
    return msgspec.json.encode(fields)


async def _comes(news: asyncio.Event) -> bool:
    """Whether something is new within the time that a follower is left without a word."""
    try:
        await asyncio.wait_for(news.wait(), KEEP_ALIVE_SECONDS)
    except TimeoutError:
        return False
    return True
