"""get, put, delete, compare-and-swap, scan: the whole client, asynchronous.

Calls may run at the same time, and should: those for one region travel together. Every read is
linearizable. A call has one time budget over all its retries. A write that raises `TimeoutError`,
`UnavailableError` or `BusyError` had no effect; only `UndeterminedError` leaves that open, and so
does cancelling a write that is under way.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, NamedTuple, Self, assert_never

from flaredb.bus.bus import Bus, BusError
from flaredb.client import checks
from flaredb.client.batch import WriteBatch
from flaredb.client.courier import Courier
from flaredb.client.directory import Directory
from flaredb.client.errors import ClosedError, UnavailableError
from flaredb.client.gathering import Call
from flaredb.client.gets import Gets, get_size
from flaredb.client.inspect import Inspector
from flaredb.client.link import Link
from flaredb.client.news import RegionNews
from flaredb.client.placement import PlacementReader
from flaredb.client.routes import RouteTable
from flaredb.client.scans import Page, PageCall, Row, Scans
from flaredb.client.write_calls import (
    DeleteCall,
    GroupCall,
    PutCall,
    RangeCall,
    SwapCall,
    WriteCall,
)
from flaredb.client.writes import Writes
from flaredb.runtime.clock import Jitter
from flaredb_schemas.commands import NotSwapped, NotSwappedUntold, RangeDeleted, Swapped
from flaredb_schemas.keys import KeyRange
from flaredb_schemas.requests import MAX_SCAN_ROWS
from flaredb_schemas.subjects import DEFAULT_PREFIX, Subjects

Connect = Callable[[], Awaitable[Bus]]


class CasResult(NamedTuple):
    """What came of a compare-and-swap: whether it took effect, and what the key held before."""

    ok: bool
    previous: bytes | None


class _Parts:
    """What an open client consists of."""

    def __init__(self, bus: Bus, subjects: Subjects, jitter: Jitter) -> None:
        client = jitter(2**63 - 1) + 1
        self.bus = bus
        self.routes = RouteTable()
        self.link = Link(bus, subjects, client)
        self.directory = Directory(bus, subjects, self.routes, jitter)
        self.courier = Courier(self.link, self.routes, self.directory, jitter)
        self.news = RegionNews(bus, subjects, self.routes, self.courier)
        self.writes = Writes(self.courier, self.routes, self.directory, client)
        self.gets = Gets(self.courier, self.routes, self.directory)
        self.scans = Scans(self.courier, self.routes)
        bus.on_connection(self.courier.bus_changed)

    async def open(self) -> None:
        await self.link.open()
        await self.news.open()

    async def close(self) -> None:
        await self.news.close()
        await self.directory.close()
        self.courier.close()
        await self.link.close()
        await self.bus.close()


class Client:
    """One client of one cluster; use it as an async context manager, or `open` and `close` it.

    `connect` makes the connection that it works on; `timeout` is the time budget of a call in
    seconds, unless the call names its own; `jitter` is where all chance comes from.
    """

    def __init__(
        self,
        connect: Connect,
        *,
        prefix: str = DEFAULT_PREFIX,
        timeout: float = 10.0,
        jitter: Jitter,
    ) -> None:
        checks.check_timeout(timeout)
        self._connect = connect
        self._subjects = Subjects(prefix)
        self._timeout = timeout
        self._jitter = jitter
        self._open: _Parts | None = None

    async def open(self) -> Self:
        """Connect. Raises `UnavailableError` where the bus cannot be reached."""
        assert self._open is None, "a client is opened once"
        try:
            bus = await self._connect()
        except BusError as fault:
            raise UnavailableError(
                str(fault),
                hint=fault.hint
                or "start nats-server there, or a cluster that has one: `flaredb playground`",
            ) from fault
        parts = _Parts(bus, self._subjects, self._jitter)
        await parts.open()
        self._open = parts
        return self

    async def close(self) -> None:
        """Disconnect; calls that are under way end with `ClosedError` or `UndeterminedError`."""
        if self._open is not None:
            parts, self._open = self._open, None
            await parts.close()

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def get(self, key: bytes, *, timeout: float | None = None) -> bytes | None:
        """The value of `key`, or None if there is none."""
        checks.check_key(key)
        call = Call(key, get_size(key), self._deadline(timeout), _outcome())
        self._parts.gets.add(call)
        value: bytes | None = await call.outcome
        return value

    async def get_many(
        self, keys: Iterable[bytes], *, timeout: float | None = None
    ) -> dict[bytes, bytes]:
        """The values of those `keys` that have one. Keys of several regions are read one by one."""
        wanted = list(dict.fromkeys(keys))
        for key in wanted:
            checks.check_key(key)
        deadline = self._deadline(timeout)
        calls = [Call(key, get_size(key), deadline, _outcome()) for key in wanted]
        for call in calls:
            self._parts.gets.add(call)
        if calls:
            await _all_settled([call.outcome for call in calls])
        values = {call.key: call.outcome.result() for call in calls}
        return {key: value for key, value in values.items() if value is not None}

    async def put(self, key: bytes, value: bytes, *, timeout: float | None = None) -> None:
        """Store `value` under `key`."""
        checks.check_key(key)
        checks.check_value(value)
        await self._write(PutCall(key, value, self._deadline(timeout), _outcome()))

    async def delete(self, key: bytes, *, timeout: float | None = None) -> None:
        """Remove `key`; removing what is absent is fine."""
        checks.check_key(key)
        await self._write(DeleteCall(key, self._deadline(timeout), _outcome()))

    async def compare_and_swap(
        self,
        key: bytes,
        expected: bytes | None,
        value: bytes | None,
        *,
        timeout: float | None = None,
    ) -> CasResult:
        """Store `value` (None: remove) if `key` holds `expected` (None: is absent)."""
        checks.check_key(key)
        for given in (expected, value):
            if given is not None:
                checks.check_value(given)
        deadline = self._deadline(timeout)
        while True:
            call = SwapCall(key, expected, value, deadline, _outcome())
            checks.check_size(call.size)
            outcome: Swapped | NotSwapped | NotSwappedUntold = await self._write(call)
            match outcome:
                case Swapped():
                    return CasResult(True, expected)
                case NotSwapped(actual):
                    return CasResult(False, actual)
                case NotSwappedUntold():
                    # It changed nothing, so asking anew is safe; a fresh answer tells the value.
                    continue
                case _:
                    assert_never(outcome)

    async def delete_range(
        self,
        start: bytes | None = None,
        end: bytes | None = None,
        *,
        prefix: bytes | None = None,
        timeout: float | None = None,
    ) -> int:
        """Remove the keys of `[start, end)`, or those with a prefix, and say how many went.

        The range must be bounded. It goes in pages: other writers may come in between, and what
        they write into the range meanwhile may or may not be removed. Each page has the whole time
        budget.
        """
        left = checks.bounded_range(start, end, prefix)
        deleted = 0
        while not left.is_empty:
            call = RangeCall(left.start, left.end, self._deadline(timeout), _outcome())
            outcome: RangeDeleted = await self._write(call)
            deleted += outcome.deleted
            resume = call.reach if outcome.resume is None else outcome.resume
            if not resume or resume == left.end:
                break
            left = KeyRange(resume, left.end)
        return deleted

    async def scan(
        self,
        start: bytes | None = None,
        end: bytes | None = None,
        *,
        prefix: bytes | None = None,
        limit: int | None = None,
        reverse: bool = False,
        timeout: float | None = None,
    ) -> AsyncIterator[Row]:
        """The rows of `[start, end)`, or those with a prefix, in key order or backwards.

        Pages are fetched as they are needed; each is one linearizable read, the scan as a whole is
        not. Each page has the whole time budget.
        """
        pages = self.pages(start, end, prefix, limit, reverse, timeout)
        async for page in pages:
            for row in page:
                yield row

    async def pages(
        self,
        start: bytes | None,
        end: bytes | None,
        prefix: bytes | None,
        limit: int | None,
        reverse: bool,
        timeout: float | None,
    ) -> AsyncIterator[tuple[Row, ...]]:
        """As `scan`, page by page."""
        checks.check_limit(limit)
        left: KeyRange | None = checks.chosen_range(start, end, prefix)
        rows_left = limit
        while left is not None and not left.is_empty and rows_left != 0:
            most = MAX_SCAN_ROWS if rows_left is None else min(rows_left, MAX_SCAN_ROWS)
            page = await self._page(left, most, reverse, self._deadline(timeout))
            yield page.rows
            left = page.left
            rows_left = None if rows_left is None else max(0, rows_left - len(page.rows))

    @asynccontextmanager
    async def batch(self, *, timeout: float | None = None) -> AsyncIterator[WriteBatch]:
        """Gather puts and deletes that take effect together at the end of the block, or not at all.

        All keys must lie in one region, else `SeveralRegionsError`. A block that raises writes
        nothing.
        """
        gathered = WriteBatch()
        yield gathered
        await self.write_batch(gathered, timeout=timeout)

    async def write_batch(self, batch: WriteBatch, *, timeout: float | None = None) -> None:
        """Write what `batch` has gathered, all of it or nothing."""
        if batch.writes:
            writes = tuple(batch.writes)
            await self._write(GroupCall(writes, batch.size, self._deadline(timeout), _outcome()))

    @property
    def inspector(self) -> Inspector:
        """What operators and tests ask stores directly."""
        open_parts = self._parts
        return Inspector(
            open_parts.link,
            open_parts.routes,
            open_parts.directory,
            self._jitter,
            self._timeout,
        )

    @property
    def placement(self) -> PlacementReader:
        """What PD tells about regions, stores and itself."""
        return PlacementReader(self._parts.bus, self._subjects, self._timeout)

    @property
    def bus(self) -> Bus:
        """The connection that this client works on."""
        return self._parts.bus

    @property
    def subjects(self) -> Subjects:
        """The names on the bus of this client's cluster."""
        return self._subjects

    @property
    def _parts(self) -> _Parts:
        if self._open is None:
            raise ClosedError("the client is not open", hint="use it as a context manager")
        return self._open

    async def _write(self, call: WriteCall) -> Any:
        self._parts.writes.add(call)
        return await call.outcome

    async def _page(self, keys: KeyRange, limit: int, reverse: bool, deadline: float) -> Page:
        outcome: asyncio.Future[Page] = asyncio.get_running_loop().create_future()
        self._parts.scans.ask(PageCall(keys, limit, reverse, deadline, outcome))
        return await outcome

    def _deadline(self, timeout: float | None) -> float:
        if timeout is None:
            timeout = self._timeout
        else:
            checks.check_timeout(timeout)
        return asyncio.get_running_loop().time() + timeout


def _outcome() -> "asyncio.Future[Any]":
    return asyncio.get_running_loop().create_future()


async def _all_settled(outcomes: "list[asyncio.Future[Any]]") -> None:
    """Wait for all; if the waiting is given up, so are they."""
    try:
        await asyncio.wait(outcomes)
    finally:
        for outcome in outcomes:
            if not outcome.done():
                outcome.cancel()
    for outcome in outcomes:
        if not outcome.cancelled():
            outcome.exception()  # so that none counts as never looked at
