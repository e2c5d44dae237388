"""The same client for code without an event loop: each call runs on a loop in a thread of its own.

One client may be used by many threads; their concurrent calls travel together.
"""

import asyncio
import weakref
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from threading import Thread
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import anyio
from anyio.from_thread import BlockingPortal

from flaredb.client import client
from flaredb.client.batch import WriteBatch
from flaredb.client.client import CasResult
from flaredb.client.errors import ClosedError
from flaredb.client.inspect import RegionCheck
from flaredb.client.scans import Row
from flaredb_schemas.ids import OperatorId, RegionId, StoreId
from flaredb_schemas.pd_answers import OperatorRow, PdStatus, RegionRow, StoreRow

T = TypeVar("T")


class BlockingClient:
    """An open client; a context manager, or to be closed with `close`. Its calls block.

    One that nobody has any more closes by itself, and none keeps its program from ending.

    What each call means, and what it raises, is told by the methods of the same names of `Client`,
    and of its `placement` where PD is asked.
    """

    def __init__(self, make: Callable[[], client.Client]) -> None:
        self._client: Final = make()
        opened: Future[BlockingPortal] = Future()
        wanted: Future[None] = Future()
        # Whoever collects garbage may hold any lock, or be the thread itself: it must not wait.
        self._end: Final = weakref.finalize(self, wanted.set_result, None)
        self._end.atexit = False  # a daemon needs no farewell
        self._thread: Final = Thread(
            target=anyio.run,
            args=(_live, self._client, opened, wanted),
            name="flaredb-client",
            daemon=True,
        )
        self._thread.start()
        try:
            self._portal: BlockingPortal | None = opened.result()
        except BaseException:
            self._end()
            raise

    def close(self) -> None:
        """Disconnect, and end the thread."""
        self._portal = None
        self._end()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def get(self, key: bytes, *, timeout: float | None = None) -> bytes | None:
        """The value of `key`, or None if there is none."""
        return self._run(self._client.get, key, timeout=timeout)

    def get_many(
        self, keys: Iterable[bytes], *, timeout: float | None = None
    ) -> dict[bytes, bytes]:
        """The values of those `keys` that have one."""
        return self._run(self._client.get_many, keys, timeout=timeout)

    def put(self, key: bytes, value: bytes, *, timeout: float | None = None) -> None:
        """Store `value` under `key`."""
        self._run(self._client.put, key, value, timeout=timeout)

    def delete(self, key: bytes, *, timeout: float | None = None) -> None:
        """Remove `key`; removing what is absent is fine."""
        self._run(self._client.delete, key, timeout=timeout)

    def compare_and_swap(
        self,
        key: bytes,
        expected: bytes | None,
        value: bytes | None,
        *,
        timeout: float | None = None,
    ) -> CasResult:
        """Store `value` (None: remove) if `key` holds `expected` (None: is absent)."""
        return self._run(self._client.compare_and_swap, key, expected, value, timeout=timeout)

    def delete_range(
        self,
        start: bytes | None = None,
        end: bytes | None = None,
        *,
        prefix: bytes | None = None,
        timeout: float | None = None,
    ) -> int:
        """Remove the keys of a bounded range or with a prefix, and say how many went."""
        return self._run(self._client.delete_range, start, end, prefix=prefix, timeout=timeout)

    def scan(
        self,
        start: bytes | None = None,
        end: bytes | None = None,
        *,
        prefix: bytes | None = None,
        limit: int | None = None,
        reverse: bool = False,
        timeout: float | None = None,
    ) -> Iterator[Row]:
        """The rows of a range or with a prefix, in key order or backwards, fetched as needed."""
        pages = self._client.pages(start, end, prefix, limit, reverse, timeout)
        for page in self._each(pages):
            yield from page

    @contextmanager
    def batch(self, *, timeout: float | None = None) -> Iterator[WriteBatch]:
        """Gather puts and deletes that take effect together at the end of the block."""
        gathered = WriteBatch()
        yield gathered
        self._run(self._client.write_batch, gathered, timeout=timeout)

    def check_region(self, region: RegionId) -> RegionCheck:
        """Have all replicas of a region hash their state at one applied index."""
        return self._run(self._client.inspector.check, region)

    def regions(self) -> list[RegionRow]:
        """All regions in key order, as PD knows them."""
        return self._run(self._client.placement.regions)

    def stores(self, removed: bool = False) -> list[StoreRow]:
        """All stores of the cluster as PD knows them; with `removed` also those taken out of it."""
        return self._run(self._client.placement.stores, removed)

    def status(self) -> PdStatus:
        """The leading PD and its cluster."""
        return self._run(self._client.placement.status)

    def split(self, region: RegionId, key: bytes | None = None) -> list[RegionRow]:
        """Have a region cut, at `key` or in the middle by bytes; the regions after it."""
        return self._run(self._client.placement.split, region, key)

    def merge(self, region: RegionId, into: RegionId | None = None) -> RegionRow:
        """Make a region a part of a neighbour, by default of the smaller one."""
        return self._run(self._client.placement.merge, region, into)

    def operators(self) -> list[OperatorRow]:
        """What PD does to replicas, and has done of late."""
        return self._run(self._client.placement.operators)

    def move(self, region: RegionId, source: StoreId, target: StoreId) -> OperatorRow:
        """Have PD take a region's replica from one store to another."""
        return self._run(self._client.placement.move, region, source, target)

    def transfer(self, region: RegionId, store: StoreId) -> OperatorRow:
        """Have PD make the replica on `store` lead a region."""
        return self._run(self._client.placement.transfer, region, store)

    def cancel(self, number: OperatorId) -> OperatorRow:
        """Have PD give an operator up."""
        return self._run(self._client.placement.cancel, number)

    def drain(self, store: StoreId) -> StoreRow:
        """Have PD empty a store."""
        return self._run(self._client.placement.drain, store)

    def keep(self, store: StoreId) -> StoreRow:
        """Have PD not empty a store any more."""
        return self._run(self._client.placement.keep, store)

    def remove(self, store: StoreId) -> StoreRow:
        """Have PD take a store out of the cluster for ever."""
        return self._run(self._client.placement.remove, store)

    def watch(self, number: OperatorId) -> Iterator[OperatorRow]:
        """An operator each time that something about it is new; the last time it has ended."""
        return self._each(self._client.placement.watch(number))

    def watch_drain(self, store: StoreId, patience: float | None = None) -> Iterator[StoreRow]:
        """A store each time that its drain is further; the last time it is empty, or kept."""
        return self._each(self._client.placement.watch_drain(store, patience))

    def _each(self, items: AsyncIterator[T]) -> Iterator[T]:
        """What comes, fetched as needed; nothing of it is None."""
        while (item := self._run(_next, items)) is not None:
            yield item

    def _run(
        self, call: Callable[..., Coroutine[Any, Any, T]], *arguments: Any, **options: Any
    ) -> T:
        if self._portal is None:
            raise ClosedError("the client is closed", hint="connect anew")
        result: T = self._portal.call(partial(call, *arguments, **options))
        return result


async def _live(
    db: client.Client, opened: "Future[BlockingPortal]", wanted: "Future[None]"
) -> None:
    """The life of a client's thread: it knows the client's parts, and not who holds them."""
    async with BlockingPortal() as portal:
        try:
            await db.open()
        except BaseException as fault:
            opened.set_exception(fault)
            return
        opened.set_result(portal)
        await asyncio.wrap_future(wanted)
        await db.close()


async def _next(items: AsyncIterator[T]) -> T | None:
    return await anext(items, None)
