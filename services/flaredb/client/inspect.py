"""What operators and tests ask directly: one store, or all replicas of one region.

Nothing here is retried behind the caller's back, except where it says so.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final

import msgspec
from msgspec import Struct

from flaredb.client.directory import Directory
from flaredb.client.errors import UnavailableError
from flaredb.client.link import REQUEST_OVERHEAD, Link
from flaredb.client.routes import RouteTable
from flaredb.runtime.clock import Jitter
from flaredb_schemas.failures import NotLeader
from flaredb_schemas.ids import NO_STORE, Index, RegionId, StoreId
from flaredb_schemas.keys import KeyRange
from flaredb_schemas.regions import Route
from flaredb_schemas.requests import (
    Answer,
    CheckAnswer,
    CheckRequest,
    HashAnswer,
    HashRequest,
    Refused,
    ReplicaStatus,
    Request,
    StoreStatusAnswer,
    StoreStatusRequest,
)

ATTEMPT_SECONDS: Final = 1.0
PAUSE_SECONDS: Final = 0.05

MakeRequest = Callable[[int], Request]


class ReplicaHash(Struct, frozen=True):
    """What one replica holds at the index of a check; `hash` is None if it did not answer."""

    store: StoreId
    hash: str | None
    keys: int = 0
    bytes: int = 0


class RegionCheck(Struct, frozen=True):
    """The hashes of all replicas of a region at one applied index."""

    region: RegionId
    index: Index
    replicas: tuple[ReplicaHash, ...]

    @property
    def ok(self) -> bool:
        """Whether every replica answered, and all the same."""
        return len({replica.hash for replica in self.replicas} | {None}) == 2 and all(
            replica.hash is not None for replica in self.replicas
        )


class Inspector:
    """The direct questions of one open client; `timeout` is the budget of each in seconds."""

    def __init__(
        self,
        link: Link,
        routes: RouteTable,
        directory: Directory,
        jitter: Jitter,
        timeout: float,
    ) -> None:
        self._link = link
        self._routes = routes
        self._directory = directory
        self._jitter = jitter
        self._timeout = timeout

    async def ask(self, store: StoreId, make: MakeRequest, timeout: float) -> Answer | None:
        """Ask one store once; `make` gets the request's number. None if no answer came in time."""
        answer: asyncio.Future[Answer | None] = asyncio.get_running_loop().create_future()
        request = make(self._link.next_number())
        self._link.post(store, request, _size(request), _OneAnswer(answer))
        self._link.flush()
        try:
            return await asyncio.wait_for(answer, timeout)
        except TimeoutError:
            return None
        finally:
            self._link.forget(request.number)

    async def replicas(self, store: StoreId) -> list[ReplicaStatus]:
        """Every replica that `store` hosts, as it sees them itself."""
        found: list[ReplicaStatus] = []
        first = RegionId(0)
        while True:
            answer = await self.ask(store, partial(_status_from, first), self._timeout)
            if not isinstance(answer, StoreStatusAnswer):
                raise UnavailableError(
                    f"store {store} does not answer", hint="see `flaredb store list`"
                )
            found += answer.replicas
            if answer.next <= first:
                return found
            first = answer.next

    async def routes(self) -> list[Route]:
        """All regions as PD tells them now."""
        if not await self._directory.load(KeyRange(b"", b"")):
            raise UnavailableError(
                self._directory.last_fault, hint="see whether PD runs with `flaredb status`"
            )
        return self._routes.all()

    async def check(self, region: RegionId) -> RegionCheck:
        """Have all replicas of a region hash their state at one applied index.

        Asks until all have answered or the time is over. Raises `UnavailableError` where the region
        is not known, or no leader of it takes the check.
        """
        deadline = asyncio.get_running_loop().time() + self._timeout
        nonce = self._jitter(2**62) + 1
        begun = await self._begin_check(region, nonce, deadline)
        stores = begun.route.region.stores
        hashes = [self._hash(region, store, nonce, deadline) for store in stores]
        return RegionCheck(region, begun.index, tuple(await asyncio.gather(*hashes)))

    async def _begin_check(self, region: RegionId, nonce: int, deadline: float) -> CheckAnswer:
        await self.routes()
        tries = 0
        while asyncio.get_running_loop().time() < deadline:
            route = self._routes.by_id(region)
            if route is None:
                # It may be new, or have become a part of another: that is for the asker to see.
                raise UnavailableError(
                    f"region {region} is not known", hint="see `flaredb region list`"
                )
            stores = route.region.stores
            store = route.store if route.store != NO_STORE else stores[tries % len(stores)]
            answer = await self.ask(store, lambda n: CheckRequest(n, region, nonce), 1.0)
            if isinstance(answer, CheckAnswer):
                return answer
            if isinstance(answer, Refused) and isinstance(answer.refusal, NotLeader):
                self._routes.learn(answer.refusal.route)
            self._routes.lose_leader(region, store)
            tries += 1
            await asyncio.sleep(PAUSE_SECONDS)
        raise UnavailableError(
            f"no leader of region {region} takes a check",
            hint="see `flaredb region list`",
            region_id=region,
        )

    async def _hash(
        self, region: RegionId, store: StoreId, nonce: int, deadline: float
    ) -> ReplicaHash:
        while asyncio.get_running_loop().time() < deadline:
            answer = await self.ask(
                store, lambda number: HashRequest(number, region, nonce), ATTEMPT_SECONDS
            )
            if isinstance(answer, HashAnswer):
                return ReplicaHash(store, answer.hash, answer.keys, answer.bytes)
            await asyncio.sleep(PAUSE_SECONDS)
        return ReplicaHash(store, None)


class _OneAnswer:
    """Waits for one answer, or for the news that there will be none."""

    __slots__ = ("_answer",)

    def __init__(self, answer: "asyncio.Future[Answer | None]") -> None:
        self._answer = answer

    def answered(self, answer: Answer, store: StoreId) -> None:
        del store
        self._settle(answer)

    def unheard(self, store: StoreId, sure: bool) -> None:
        del store, sure
        self._settle(None)

    def unsent(self) -> None:
        self._settle(None)

    def _settle(self, answer: Answer | None) -> None:
        if not self._answer.done():
            self._answer.set_result(answer)


def _status_from(first: RegionId, number: int) -> Request:
    return StoreStatusRequest(number, first)


def _size(request: Request) -> int:
    return len(msgspec.msgpack.encode(request)) + REQUEST_OVERHEAD
