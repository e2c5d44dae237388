"""What PD says about its cluster, and does to it, for people and tools."""

import asyncio
from collections.abc import AsyncIterator
from typing import Final

import msgspec
from msgspec import structs

from flaredb.client.checks import check_key
from flaredb.client.drain_news import is_drained, news_of_drain, stuck
from flaredb.client.errors import UnavailableError, UndeterminedError
from flaredb.client.pd_line import PdLine
from flaredb_schemas.ids import OperatorId, RegionId, StoreId
from flaredb_schemas.pd_answers import (
    CancelQuery,
    DrainQuery,
    MergeDone,
    MergeQuery,
    MergeRow,
    MergesAnswer,
    MergesQuery,
    MoveQuery,
    OperatorRow,
    OperatorsAnswer,
    OperatorsQuery,
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

POLL_SECONDS: Final = 0.05

OPERATOR_POLL_SECONDS: Final = 0.2
"""Seconds between two looks at an operator that is waited for."""

DRAIN_POLL_SECONDS: Final = 0.5
"""The same of a drain, for which PD looks at all regions."""

STUCK_SECONDS: Final = 10.0
"""For how long nothing may be able to leave a store before who waits for it is told so."""

PD_AWAY_SECONDS: Final = 30.0
"""How long PD may not answer before who waits for an operator is told so: another may take over."""


class PlacementReader(PdLine):
    """Questions to PD; `timeout` is the budget of each in seconds.

    Raises `UnavailableError` where no PD answers, `FlareDBError` where it cannot.
    """

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
        if key is not None:
            check_key(key)
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

        Where the two stand on different stores this takes as long as its rows do, which are first
        brought to where the neighbour is: see `begin_merge`. Raises as `split` does; also where
        `into` is no neighbour.
        """
        begun = await self.begin_merge(region, into)
        if begun.begun is not None:
            async for _ in self.watch_merge(begun.begun):
                pass
        return await self.merged(region, begun.region)

    async def begin_merge(self, region: RegionId, into: RegionId | None = None) -> MergeDone:
        """As `merge`, but where replicas have to be moved first it does not wait for that.

        Then `begun` is there, and PD goes on by itself: see `watch_merge`.
        """
        return await self._order("merge", MergeQuery(region, into), MergeDone)

    async def watch_merge(self, begun: MergeRow) -> AsyncIterator[MergeRow]:
        """A merge each time that something about it is new; the last time it is done.

        Raises `UnavailableError` where it was given up, with what stood in the way, also by a PD
        that was replaced by another one: what was moved stays so. Goes on while PD is away for
        some seconds.
        """
        clock, question = asyncio.get_running_loop().time, MergesQuery(begun.merge)
        row, heard = begun, clock()
        yield row
        while row.state == "running":
            await asyncio.sleep(OPERATOR_POLL_SECONDS)
            last = row
            try:
                told = await self._ask("merges", MergesAnswer, msgspec.json.encode(question))
                row = told.merges[0] if told.merges else await self._forgotten(last)
            except UnavailableError:
                if clock() - heard > PD_AWAY_SECONDS:
                    raise
                continue
            heard = clock()
            if row != last and row.state != "refused":
                yield row
        if row.state == "refused":
            raise UnavailableError(row.doing, hint=row.hint, region_id=row.source)

    async def _forgotten(self, row: MergeRow) -> MergeRow:
        """A merge of which the PD that leads now knows nothing."""
        if row.source not in {one.id for one in await self.regions()}:
            return structs.replace(row, state="done")
        doing = f"another PD leads now, and nobody goes on with the merge of region {row.source}"
        again = f"flaredb region merge {row.source} --into {row.target}"
        hint = f"nothing is lost, and what was moved stays so; ask again: `{again}`"
        return structs.replace(row, state="refused", doing=doing, hint=hint)

    async def merged(self, region: RegionId, into: RegionId) -> RegionRow:
        """What `region` is a part of, once PD has heard of it."""
        deadline = asyncio.get_running_loop().time() + self._timeout
        while True:
            rows = {row.id: row for row in await self.regions()}
            if region not in rows and into in rows:
                return rows[into]
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


def _news_of(row: OperatorRow) -> tuple[tuple[str, ...], str, str]:
    return row.steps, row.doing, row.state
