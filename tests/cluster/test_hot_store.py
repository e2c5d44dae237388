"""All busy regions are led by one store: they come to be led by several, and stay there."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import pytest

from flaredb.client.client import Client
from flaredb.client.errors import FlareDBError
from flaredb.playground.supervisor import LocalCluster
from flaredb_schemas.ids import OperatorId, RegionId, StoreId
from flaredb_schemas.operators import OperatorKind
from flaredb_schemas.pd_answers import OperatorRow, RegionRow
from tests.cluster import harm
from tests.cluster.filling import UNSPLIT, came_back, first_key
from tests.cluster.test_balance import boundaries, leaders, wait_until_even
from tests.cluster.verdict import BUSY, Measured, all_replicas_agree

pytestmark = [pytest.mark.cluster, pytest.mark.anyio]

REGIONS: Final = 60
FEW_REGIONS: Final = 12
HOT_SHARE: Final = 0.8
"""Of the writes; they go to a tenth of the regions, or to a quarter where there are few."""
LEAST_HOT: Final = 3
CLIENTS: Final = 8
AT_ONCE: Final = 16
"""How many writes of a client are under way: too little load is no reason for PD to do anything."""

UNEVEN: Final = 0.2
SPREAD_SECONDS: Final = 120.0
WATCHED_SECONDS: Final = 180.0
"""How long it is looked on after that, in a run of the figures; else a few seconds."""
FEW_SECONDS: Final = 10.0


class HotWriters:
    """Clients that write small rows, most of them in a few regions."""

    def __init__(
        self, cluster: LocalCluster, hot: Sequence[RegionRow], cold: Sequence[RegionRow]
    ) -> None:
        self._cluster: Final = cluster
        self._hot: Final = [first_key(row) for row in hot]
        self._cold: Final = [first_key(row) for row in cold]
        self._stopped = False
        self.rates: Final = {
            **{row.id: HOT_SHARE / len(hot) for row in hot},
            **{row.id: (1 - HOT_SHARE) / len(cold) for row in cold},
        }
        """The share of all writes that goes to each region."""
        self.acknowledged = 0
        self.failed: Final[list[FlareDBError]] = []

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """They write within the block."""
        async with asyncio.TaskGroup() as group:
            for number in range(CLIENTS):
                group.create_task(self._write(random.Random(number)))
            try:
                yield
            finally:
                self._stopped = True

    def loads(self, rows: Sequence[RegionRow], stores: Sequence[StoreId]) -> dict[StoreId, float]:
        """The share of all writes that each store leads."""
        found = dict.fromkeys(stores, 0.0)
        for row in rows:
            if row.leader_store in found:
                found[row.leader_store] += self.rates[row.id]
        return found

    async def _write(self, dice: random.Random) -> None:
        async with self._cluster.client(timeout=10.0) as db:
            while not self._stopped:
                await asyncio.gather(*(self._put(db, dice) for _ in range(AT_ONCE)))

    async def _put(self, db: Client, dice: random.Random) -> None:
        place = dice.choice(self._hot if dice.random() < HOT_SHARE else self._cold)
        try:
            await db.put(place + b"-%04d" % dice.randrange(10_000), b"v")
        except FlareDBError as error:
            self.failed.append(error)
        else:
            self.acknowledged += 1


async def balanced(db: Client) -> list[OperatorRow]:
    """What was done for the sake of balance."""
    return [row for row in await db.placement.operators() if row.trigger == "balance"]


async def spread_at(db: Client, writers: HotWriters, stores: Sequence[StoreId]) -> float:
    """Wait until no store leads a fifth more or less than the mean; when that is."""
    deadline = time.monotonic() + BUSY * SPREAD_SECONDS
    most = UNEVEN / len(stores)
    while True:
        loads = writers.loads(await db.placement.regions(), stores).values()
        if all(abs(load - 1 / len(stores)) <= most for load in loads):
            return time.monotonic()
        assert time.monotonic() < deadline, f"the load is not spread: {loads}"
        await asyncio.sleep(0.2)


async def first_move(db: Client, before: int) -> float:
    """Wait until PD does something, because a store is busier than others; when that is."""
    async with asyncio.timeout(BUSY * SPREAD_SECONDS):
        while len(await balanced(db)) <= before:
            await asyncio.sleep(0.1)
    return time.monotonic()


@pytest.mark.timeout(1_200)
async def test_busy_regions_of_one_store_are_spread(
    tmp_path: Path, measured: Measured, request: pytest.FixtureRequest
) -> None:
    is_figure = request.config.getoption("--figures") is not None
    count = REGIONS if is_figure else FEW_REGIONS
    settings = {"initial_boundaries": boundaries(count), **UNSPLIT}
    async with (
        harm.running(tmp_path / "cluster", settings) as cluster,
        cluster.client(timeout=30.0) as db,
    ):
        stores = [row.id for row in await db.placement.stores()]
        rows = await wait_until_even(db, stores)
        led = {row.id: row.leader_store for row in rows}
        busy = leaders(rows).most_common(1)[0][0]
        hot = [row for row in rows if row.leader_store == busy][: max(LEAST_HOT, count // 10)]
        writers = HotWriters(cluster, hot, [row for row in rows if row not in hot])
        before = len(await balanced(db))
        async with writers.running():
            begun = time.monotonic()
            shown = await first_move(db, before)
            spread = await spread_at(db, writers, stores)
            await asyncio.sleep(WATCHED_SECONDS if is_figure else FEW_SECONDS)
            later = writers.loads(await db.placement.regions(), stores)
            per_second = writers.acknowledged / (time.monotonic() - begun)
        done = (await balanced(db))[before:]
        await all_replicas_agree(cluster)
    back = came_back(done, led)
    measured(
        f"a tenth of {count} regions is busy, and led by one store",
        shown_s=round(shown - begun, 1),
        spread_s=round(spread - shown, 1),
        furthest_off=round(max(abs(load * len(stores) - 1) for load in later.values()), 3),
        handed_over=sum(row.kind == "transfer" for row in done),
        moves=sum(row.kind == "move" for row in done),
        most_changes_of_a_region=max(Counter(row.region for row in done).values()),
        came_back=len(back),
        writes_per_second=round(per_second),
        failed=len(writers.failed),
    )
    assert spread - shown <= BUSY * SPREAD_SECONDS
    assert not back, "what has gone to another store stays there"
    assert all(abs(load * len(stores) - 1) <= UNEVEN + 0.01 for load in later.values()), later
    assert not writers.failed, writers.failed[:3]


def test_what_came_back_is_found() -> None:
    def row(number: int, kind: OperatorKind, source: int, target: int) -> OperatorRow:
        stores = StoreId(source), StoreId(target)
        which = OperatorId(number), kind, RegionId(4)
        return OperatorRow(*which, "done", *stores, (), "", "", "", 0, 0, 1.0, 60)

    led = {RegionId(4): StoreId(1)}
    assert not came_back([row(1, "transfer", 0, 2), row(2, "transfer", 0, 3)], led)
    assert came_back([row(1, "transfer", 0, 2), row(2, "transfer", 0, 1)], led) == [4]
    assert not came_back([row(1, "move", 1, 2), row(2, "move", 3, 4)], led)
    assert came_back([row(1, "move", 1, 2), row(2, "move", 2, 1)], led) == [4]
