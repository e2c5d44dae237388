"""What PD says about its cluster, and does to it, for people and tools."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final, TypeVar

import msgspec

from flaredb.bus.bus import Bus
from flaredb.client.drain_news import is_drained, news_of_drain, stuck
from flaredb.client.errors import (
    FlareDBError,
    InvalidArgumentError,
    UnavailableError,
    UndeterminedError,
)
from flaredb_schemas.ids import OperatorId, RegionId, StoreId
from flaredb_schemas.pd_answers import (
    CancelQuery,
    DrainQuery,
    MergeDone,
    MergeQuery,
    MoveQuery,
    OperatorRow,
    OperatorsAnswer,
    OperatorsQuery,
    PdFailure,
    PdStatus,
    RegionRow,
    RegionsPage,
    RegionsQuery,
    RemoveQuery,
    SplitDone,
    SplitQuery,
    StoreRow,
    StoresAnswer,
    TransferQuery,
)
from flaredb_schemas.splits import IN_DOUBT
from flaredb_schemas.subjects import Subjects

T = TypeVar("T")

POLL_SECONDS: Final = 0.05

OPERATOR_POLL_SECONDS: Final = 0.2
"""Seconds between two looks at an operator that is waited for."""

DRAIN_POLL_SECONDS: Final = 0.5
"""The same of a drain, for which PD looks at all regions."""

STUCK_SECONDS: Final = 10.0
"""For how long nothing may be able to leave a store before who waits for it is told so."""

FIRST_PATIENCE: Final = 2.0
"""Seconds after which PD is asked once more, which doubles each time: while one takes over from
another, questions are lost."""

PD_AWAY_SECONDS: Final = 30.0
"""How long PD may not answer before who waits for an operator is told so: another may take over."""

_ERRORS: Final[dict[str, type[FlareDBError]]] = {
    "unknown_region": InvalidArgumentError,
    "key_outside": InvalidArgumentError,
    "not_neighbours": InvalidArgumentError,
    "unknown_store": InvalidArgumentError,
    "unknown_operator": InvalidArgumentError,
    "no_replica": InvalidArgumentError,
    "has_replica": InvalidArgumentError,
    "no_voter": InvalidArgumentError,
    "leads": InvalidArgumentError,
    "ended": InvalidArgumentError,
    "removed": InvalidArgumentError,
    "draining": UnavailableError,
    "not_empty": UnavailableError,
    "limit": UnavailableError,
    "store_away": UnavailableError,
    "lagging": UnavailableError,
    "removing": UnavailableError,
    "quorum": UnavailableError,
    "refused": UnavailableError,
    "no_leader": UnavailableError,
    "not_ready": UnavailableError,
    "busy": UnavailableError,
    "timeout": UndeterminedError,
}
"""What PD's codes mean where it was asked to do something."""


class PlacementReader:
    """Questions to PD; `timeout` is the budget of each in seconds.

    Raises `UnavailableError` where no PD answers, `FlareDBError` where it cannot.
    """

    def __init__(self, bus: Bus, subjects: Subjects, timeout: float) -> None:
        self._bus = bus
        self._subjects = subjects
        self._timeout = timeout

    async def regions(self) -> list[RegionRow]:
        """All regions in key order."""
        found: list[RegionRow] = []
        start: bytes | None = b""
        while start is not None:
            question = msgspec.json.encode(RegionsQuery(start))
            page = await self._ask("regions", RegionsPage, question)
            found += page.regions
            start = page.next_b64
        return found

    async def stores(self, removed: bool = False) -> list[StoreRow]:
        """All stores of the cluster by id; with `removed` also those that were taken out of it."""
        rows = (await self._ask("stores", StoresAnswer)).stores
        return [row for row in rows if removed or row.life != "removed"]

    async def status(self) -> PdStatus:
        """The leading PD and its cluster."""
        return await self._ask("status", PdStatus)

    async def split(self, region: RegionId, key: bytes | None = None) -> list[RegionRow]:
        """Have a region cut, at `key` or in the middle by bytes; the regions after it.

        Raises `InvalidArgumentError` where the key does not lie inside, `UnavailableError` where it
        cannot be done now, `UndeterminedError` where nobody knows whether it was done.
        """
        done = await self._order("split", SplitQuery(region, key), SplitDone)
        deadline = asyncio.get_running_loop().time() + self._timeout
        while True:
            rows = [row for row in await self.regions() if row.id in done.regions]
            if len(rows) == len(done.regions):
                return rows
            if asyncio.get_running_loop().time() > deadline:
                raise UndeterminedError(
                    f"region {region} is split, but PD has not heard of all its parts yet",
                    hint="see `flaredb region list`",
                )
            await asyncio.sleep(POLL_SECONDS)

    async def merge(self, region: RegionId, into: RegionId | None = None) -> RegionRow:
        """Make a region a part of a neighbour, by default of the smaller one; the region after it.

        Raises as `split` does; also where `into` is no neighbour.
        """
        done = await self._order("merge", MergeQuery(region, into), MergeDone)
        deadline = asyncio.get_running_loop().time() + self._timeout
        while True:
            rows = {row.id: row for row in await self.regions()}
            if region not in rows and done.region in rows:
                return rows[done.region]
            if asyncio.get_running_loop().time() > deadline:
                raise UndeterminedError(
                    f"region {region} is merged, but PD has not heard of it yet",
                    hint="see `flaredb region list`",
                )
            await asyncio.sleep(POLL_SECONDS)

    async def move(self, region: RegionId, source: StoreId, target: StoreId) -> OperatorRow:
        """Have PD take a region's replica from one store to another; what it has undertaken.

        Raises `InvalidArgumentError` where that makes no sense, `UnavailableError` where it cannot
        be undertaken now, `UndeterminedError` where nobody knows whether it was. The move itself
        takes as long as the rows do: see `watch`.
        """
        return await self._order("move", MoveQuery(region, source, target), OperatorRow)

    async def transfer(self, region: RegionId, store: StoreId) -> OperatorRow:
        """Have PD make the replica on `store` lead a region; as `move`."""
        return await self._order("transfer", TransferQuery(region, store), OperatorRow)

    async def cancel(self, number: OperatorId) -> OperatorRow:
        """Have PD give an operator up; what it has left behind is cleared away by itself.

        Raises `InvalidArgumentError` if there is none of this number, or it has ended before.
        """
        return await self._order("cancel", CancelQuery(number), OperatorRow)

    async def drain(self, store: StoreId) -> StoreRow:
        """Have PD empty a store: leaders and replicas go elsewhere; the store as it is now.

        Raises as `move` does. How long it takes depends on the rows: see `watch_drain`. Wished for
        again it goes on as it was.
        """
        return await self._order("drain", DrainQuery(store), StoreRow)

    async def keep(self, store: StoreId) -> StoreRow:
        """Have PD not empty a store any more; what has left it is not brought back at once."""
        return await self._order("drain", DrainQuery(store, cancel=True), StoreRow)

    async def remove(self, store: StoreId) -> StoreRow:
        """Have PD take a store out of the cluster for ever: no region may have anything there.

        Raises `UnavailableError` while one does, or while nobody can tell; else as `move`.
        """
        return await self._order("remove", RemoveQuery(store), StoreRow)

    async def watch_drain(
        self, store: StoreId, patience: float | None = None
    ) -> AsyncIterator[StoreRow]:
        """A store each time that its drain is further; the last time it is empty, or kept.

        Goes on while PD is away, as `watch` does. Raises `UnavailableError` if nothing can leave
        the store for `patience` seconds [10], and says why; PD goes on as soon as something can.
        """
        clock, last = asyncio.get_running_loop().time, None
        patience = STUCK_SECONDS if patience is None else patience
        heard = moving = clock()
        while last is None or not is_drained(last):
            try:
                found = [row for row in await self.stores(removed=True) if row.id == store]
            except UnavailableError:
                if clock() - heard > PD_AWAY_SECONDS:
                    raise
                found = []
            if found:
                heard = clock()
                if last is None or news_of_drain(found[0]) != news_of_drain(last):
                    yield found[0]
                last = found[0]
                if last.drain is None or not last.drain.is_stuck:
                    moving = clock()
                elif clock() - moving >= patience:
                    raise stuck(last.id, last.drain)
            if last is None or not is_drained(last):
                await asyncio.sleep(DRAIN_POLL_SECONDS)

    async def operators(self) -> list[OperatorRow]:
        """What PD does to replicas, and has done of late, by number."""
        return list((await self._ask("operators", OperatorsAnswer)).operators)

    async def operator(self, number: OperatorId) -> OperatorRow:
        """One operator; raises `InvalidArgumentError` if PD knows none of this number."""
        question = msgspec.json.encode(OperatorsQuery(number))
        return (await self._ask("operators", OperatorsAnswer, question)).operators[0]

    async def watch(self, number: OperatorId) -> AsyncIterator[OperatorRow]:
        """An operator each time that something about it is new; the last time it has ended.

        Goes on while PD is away for some seconds; raises `UnavailableError` if it stays away.
        """
        clock, last = asyncio.get_running_loop().time, None
        heard = clock()
        while last is None or last.state == "running":
            try:
                row = await self.operator(number)
            except UnavailableError:
                if clock() - heard > PD_AWAY_SECONDS:
                    raise
            else:
                heard = clock()
                if last is None or (row.steps, row.doing, row.state) != _news_of(last):
                    yield row
                last = row
            if last is None or last.state == "running":
                await asyncio.sleep(OPERATOR_POLL_SECONDS)

    async def _ask(self, what: str, kind: type[T], question: bytes = b"") -> T:
        return await self._request(self._subjects.pd_get(what), what, kind, question)

    async def _order(self, what: str, wish: msgspec.Struct, kind: type[T]) -> T:
        """Have PD change something. It may still do so when it has not answered in time."""
        question = msgspec.json.encode(wish)
        payload = await self._bus.request(self._subjects.pd_admin(what), question, self._timeout)
        if payload is None:
            raise UndeterminedError(
                f"PD has not answered in time: the {what} may or may not take effect",
                hint=_HINT_UNKNOWN.get(what, _HINT_RANGES),
            )
        return self._read(payload, f"a {what}", kind)

    async def _request(self, subject: str, what: str, kind: type[T], question: bytes) -> T:
        payload = await self._answer(subject, question)
        if payload is None:
            raise UnavailableError(
                "PD does not answer",
                hint="start it again (`python -m flaredb_pd`, or the playground), or see its log",
            )
        return self._read(payload, what, kind)

    async def _answer(self, subject: str, question: bytes) -> bytes | None:
        """The answer to what only reads, which is asked again where it, or the answer, is lost."""
        clock = asyncio.get_running_loop().time
        deadline, patience = clock() + self._timeout, FIRST_PATIENCE
        while True:
            begun = clock()
            wait = min(patience, deadline - begun)
            payload = await self._bus.request(subject, question, wait)
            ended = clock()
            # None at once: nobody listens, or there is no bus.
            if payload is not None or ended - begun < wait or ended >= deadline:
                return payload
            patience *= 2

    def _read(self, payload: bytes, what: str, kind: type[T]) -> T:
        try:
            return msgspec.json.decode(payload, type=kind)
        except msgspec.DecodeError as fault:
            raise _failure(what, payload, fault) from fault


def _news_of(row: OperatorRow) -> tuple[tuple[str, ...], str, str]:
    return row.steps, row.doing, row.state


_HINT_RANGES: Final = "see `flaredb region list`; if no PD answers that, start it again"
_HINT_OPERATORS: Final = "see `flaredb operator list`; if no PD answers that, start it again"
_HINT_STORES: Final = "see `flaredb store list --all`; if no PD answers that, start it again"
_HINT_UNKNOWN: Final = {
    **dict.fromkeys(("move", "transfer", "cancel"), _HINT_OPERATORS),
    **dict.fromkeys(("drain", "remove"), _HINT_STORES),
}


def _failure(what: str, payload: bytes, fault: Exception) -> FlareDBError:
    try:
        failure: Any = msgspec.json.decode(payload, type=PdFailure)
    except msgspec.DecodeError:
        return FlareDBError(f"PD's answer about {what} makes no sense: {fault}")
    raised = _ERRORS.get(failure.code)
    if raised is not None and failure.message.endswith(IN_DOUBT):
        raised = UndeterminedError
    if raised is not None:
        return raised(failure.message, hint=failure.hint)
    return FlareDBError(f"PD cannot tell about {what}: {failure.message}", hint=failure.hint)
