"""What anybody may ask in SQL: one statement that reads, within limits of time, rows and bytes.

A statement runs in a thread and in a transaction that cannot write, so neither the event loop nor
ingestion waits for it. Of DuckDB's kinds of statement only two pass; the rest of the sandbox (no
files, no extensions, no settings) is the warehouse's own.
"""

import asyncio
import base64
import datetime
import math
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct

from flaredb.runtime.clock import Clock
from flaredb_analytics.warehouse import (
    Interrupted,
    OutOfMemory,
    Reader,
    SqlError,
    Warehouse,
    WarehouseBroken,
    begin_reading,
    fetching,
    interrupt,
    kinds_of,
)

READING: Final = frozenset({"SELECT", "EXPLAIN"})
"""`FROM`, `VALUES`, `SUMMARIZE`, `DESCRIBE` and `SHOW` are all of the kind `SELECT`."""

MAX_QUERY: Final = 64 * 1024
MAX_BYTES: Final = 16 * 1024 * 1024
AT_ONCE: Final = 3
MAX_WAITING: Final = 16
FETCH_ROWS: Final = 500
REPEAT_SECONDS: Final = 0.25
"""Between two interruptions: one that comes between two steps of a statement is not felt."""

Cut = Literal["", "rows", "bytes"]
Why = Literal["refused", "failed", "time", "memory", "busy"]


class Answer(Struct, frozen=True):
    """A result. `cut` says which limit ended it early; `rows` are JSON arrays."""

    columns: list[str]
    types: list[str]
    rows: list[msgspec.Raw]
    cut: Cut
    seconds: float


class Refusal(Struct, frozen=True):
    """Why there is no result, and what would help."""

    why: Why
    detail: str


class Queries:
    """Runs statements, a few at a time.

    Invariant: `under_way` counts statements that run or wait for a thread.
    """

    def __init__(self, warehouse: Warehouse, clock: Clock, seconds: float, max_rows: int) -> None:
        self.under_way = 0
        self._clock: Final = clock
        self._warehouse: Final = warehouse
        self._seconds: Final = seconds
        self._max_rows: Final = max_rows
        self._threads: Final = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="sql")

    async def ask(self, query: str) -> Answer | Refusal:
        """The answer to one statement."""
        if len(query) > MAX_QUERY:
            return Refusal("refused", f"a statement may have {MAX_QUERY} characters")
        if self.under_way >= AT_ONCE + MAX_WAITING:
            return Refusal("busy", "too many statements are waiting; try again later")
        self.under_way += 1
        try:
            return await self._within_limits(query)
        finally:
            self.under_way -= 1

    def close(self) -> None:
        """Wait for what runs; nothing may be asked any more."""
        self._threads.shutdown()

    async def _within_limits(self, query: str) -> Answer | Refusal:
        """Run `query` in a thread, and interrupt it from its deadline on until it ends."""
        loop = asyncio.get_running_loop()
        began: asyncio.Future[Reader] = loop.create_future()
        asking = loop.run_in_executor(self._threads, self._run, query, loop, began)
        waiting: list[asyncio.Future[Any]] = [began, asking]
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait([asking], timeout=self._seconds)
        finally:
            while not asking.done():
                if began.done():
                    interrupt(began.result())
                await asyncio.wait([asking], timeout=REPEAT_SECONDS)
        return await asking

    def _run(
        self, query: str, loop: asyncio.AbstractEventLoop, began: asyncio.Future[Reader]
    ) -> Answer | Refusal:
        """In a thread: run `query`, and make whatever goes wrong a refusal."""
        try:
            with self._warehouse.reader() as reader:
                loop.call_soon_threadsafe(began.set_result, reader)
                return self._checked(reader, query)
        except Interrupted:
            return Refusal("time", f"it was stopped after {self._seconds:g} s")
        except OutOfMemory as error:
            return Refusal("memory", str(error))
        except (SqlError, WarehouseBroken) as error:
            return Refusal("failed", str(error))

    def _checked(self, reader: Reader, query: str) -> Answer | Refusal:
        kinds = kinds_of(reader, query)
        if len(kinds) == 1 and kinds[0] in READING:
            return self._read(reader, query, self._clock.monotonic())
        found = ", ".join(kinds) or "none"
        return Refusal(
            "refused",
            "exactly one SELECT, FROM, EXPLAIN, SUMMARIZE, DESCRIBE or SHOW may be asked; "
            f"found: {found}",
        )

    def _read(self, reader: Reader, query: str, began: float) -> Answer:
        result = begin_reading(reader, query)
        columns = [(name, str(kind)) for name, kind, *_ in result.description or ()]
        rows: list[msgspec.Raw] = []
        size = 0
        cut: Cut = ""
        while not cut and (fetched := fetching(reader, FETCH_ROWS)):
            for row in fetched:
                encoded = msgspec.json.encode([plain(value) for value in row])
                size += len(encoded)
                cut = self._cut(len(rows) + 1, size)
                if cut:
                    break
                rows.append(msgspec.Raw(encoded))
        return Answer(
            [name for name, _ in columns],
            [kind for _, kind in columns],
            rows,
            cut,
            round(self._clock.monotonic() - began, 4),
        )

    def _cut(self, rows: int, size: int) -> Cut:
        if rows > self._max_rows:
            return "rows"
        return "bytes" if size > MAX_BYTES else ""


def plain(value: Any) -> Any:
    """A value of DuckDB as JSON has it: bytes in base64, the odd as text, times in ISO form (UTC).

    Times have milliseconds where these are enough.
    Whole numbers beyond 64 bits are text; numbers that are none (NaN, infinity) are null.
    """
    match value:
        case None | bool() | str():
            return value
        case int():
            return value if -(2**63) <= value < 2**64 else str(value)
        case float():
            return value if math.isfinite(value) else None
        case bytes():
            return base64.b64encode(value).decode()
        case list() | tuple():
            return [plain(item) for item in value]
        case dict():
            return {str(plain(key)): plain(item) for key, item in value.items()}
        case datetime.datetime():
            finer = bool(value.microsecond % 1_000)
            text = value.isoformat(timespec="auto" if finer else "milliseconds")
            return text + ("" if value.tzinfo else "Z")
        case _:
            return str(value)
