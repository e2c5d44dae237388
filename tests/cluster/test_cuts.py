"""Wires are cut while a region moves: nothing is lost or done twice, and replicas end up equal.

The cut comes in the moment that PD hears of the learner, which has almost nothing yet. So the rest
of the move, snapshot and all, falls into the cut or behind it.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import pytest
from msgspec import Struct

from flaredb.client.client import Client
from flaredb.client.errors import (
    FlareDBError,
    TimeoutError,
    UnavailableError,
    UndeterminedError,
)
from flaredb.playground.supervisor import LocalCluster
from flaredb_schemas.ids import StoreId
from flaredb_schemas.pd_answers import OperatorRow, RegionRow
from tests.cluster import harm
from tests.cluster.load import Load
from tests.cluster.overheard import Overheard, overhearing
from tests.cluster.test_moves import absent, all_whole, ended, fill, holders, region_of
from tests.cluster.verdict import BUSY, Measured, judge
from tests.cluster.wires import Way, Wire, wired

pytestmark = [pytest.mark.cluster, pytest.mark.anyio, pytest.mark.timeout(300)]

SETTINGS: Final = {"split_bytes": "1 GiB", "merge_bytes": "0", "balance": "false"}
MIB: Final = 16
CUT_SECONDS: Final = 6.0
EQUAL_SECONDS: Final = 30.0
"""How soon after the wires are mended all replicas are equal."""
LONGEST_GAP: Final = 5.0
PATIENCE: Final = 120.0
REFUSED_SECONDS: Final = 2.0
"""The time budget of a write that finds no majority."""
WRITES_AT_ONCE: Final = 8


class Moving(Struct):
    """A follower's replica on its way from store to store, under eight writers."""

    cluster: LocalCluster
    wires: dict[str, Wire]
    db: Client
    load: Load
    row: RegionRow
    source: StoreId
    target: StoreId
    mended: float = 0.0
    """When nothing was cut any more, on the monotonic clock; 0 until then."""

    @property
    def leader(self) -> StoreId:
        """Who led the region when the move began."""
        return self.row.leader_store

    @property
    def follower(self) -> StoreId:
        """Who follows, and stays."""
        return next(iter(holders(self.row) - {self.leader, self.source}))

    def wires_of(self, *stores: StoreId) -> list[Wire]:
        """The wires of these stores."""
        names = [f"store-{harm.number_of(self.cluster, store)}" for store in stores]
        return [self.wires[name] for name in names]

    def mend(self) -> None:
        """Nothing is cut any more."""
        self.mended = self.mended or time.monotonic()
        for wire in self.wires.values():
            wire.mend()


async def writes_go_on(here: Moving) -> None:
    """What is left goes on serving while something is cut off."""
    await here.load.go_on(CUT_SECONDS, writes=100)


async def cut_amid_a_move(
    folder: Path,
    repeat: int,
    cut: Callable[[Moving], None],
    meanwhile: Callable[[Moving], Awaitable[None]] = writes_go_on,
) -> dict[str, float | str]:
    """Move, cut, let `meanwhile` be, mend; judge what came of it, in figures."""
    names = [f"store-{number}" for number in range(1, 5)]
    async with (
        wired(folder / "cluster", [*names, "pd"], SETTINGS) as (cluster, wires),
        cluster.client(timeout=30.0) as db,
        overhearing(cluster.url) as heard,
    ):
        await fill(db, MIB)
        load = Load(cluster, repeat)
        async with load.running():
            await load.go_on(2.0, writes=100)
            row = await harm.first_led(db)
            source = min(holders(row) - {row.leader_store})
            here = Moving(cluster, wires, db, load, row, source, absent(cluster, row))
            operator = await begin(here, heard, cut)
            await meanwhile(here)
            here.mend()
            last, equal = await asyncio.gather(ended(db, operator), equal_again(cluster))
            await all_whole(db)
            await load.go_on(1.0, writes=50)
        check_moved(last, row, await region_of(db, row.id))
        figures = await judge(cluster, load)
    equal_s = equal - here.mended
    assert equal_s <= BUSY * EQUAL_SECONDS
    times = {"move_s": last.seconds, "equal_s": round(equal_s, 3)}
    return {"move": last.state, **times, **figures}


async def begin(here: Moving, heard: Overheard, cut: Callable[[Moving], None]) -> OperatorRow:
    """Begin the move, and have it cut."""
    moment = heard.when(here.row.id, "learner_added", lambda: cut(here))
    here.load.longest_gap = 0.0
    operator = await here.db.placement.move(here.row.id, here.source, here.target)
    async with asyncio.timeout(PATIENCE):
        await moment.wait()
    return operator


async def equal_again(cluster: LocalCluster) -> float:
    """When the replicas of every region were first equal, on the monotonic clock."""
    async with asyncio.timeout(PATIENCE), cluster.client(timeout=5.0) as db:
        while True:
            try:
                routes = await db.inspector.routes()
                checks = [await db.inspector.check(route.region.id) for route in routes]
            except UnavailableError:
                continue
            if checks and all(one.ok for one in checks):
                return time.monotonic()


def check_moved(last: OperatorRow, before: RegionRow, after: RegionRow) -> None:
    """The move was done, or undone, and nothing else."""
    assert last.state in ("done", "cancelled", "expired", "refused"), last
    moved = (holders(before) - {last.from_store}) | {last.to_store}
    assert holders(after) == (moved if last.state == "done" else holders(before)), (last, after)


WHO: Final[dict[str, Callable[[Moving], StoreId]]] = {
    "who follows and stays": lambda here: here.follower,
    "who leads": lambda here: here.leader,
    "who goes": lambda here: here.source,
    "who comes": lambda here: here.target,
}


@pytest.mark.parametrize("who", WHO)
async def test_one_store_is_cut_off(
    who: str, tmp_path: Path, repeat: int, measured: Measured
) -> None:
    def cut(here: Moving) -> None:
        for wire in here.wires_of(WHO[who](here)):
            wire.cut()

    figures = await cut_amid_a_move(tmp_path, repeat, cut)
    measured("a store cut off amid a move", who=who, **figures)
    assert float(figures["longest_gap_s"]) <= BUSY * LONGEST_GAP


async def test_the_leaders_connections_are_closed_and_refused(
    tmp_path: Path, repeat: int, measured: Measured
) -> None:
    def cut(here: Moving) -> None:
        for wire in here.wires_of(here.leader):
            wire.refuse()

    figures = await cut_amid_a_move(tmp_path, repeat, cut)
    measured("a store cut off amid a move", who="who leads, refused", **figures)
    assert float(figures["longest_gap_s"]) <= BUSY * LONGEST_GAP


@pytest.mark.parametrize("who", ["who follows and stays", "who leads"])
@pytest.mark.parametrize("lost", ["out", "into"])
async def test_one_store_is_cut_off_in_one_direction(
    who: str, lost: str, tmp_path: Path, repeat: int, measured: Measured
) -> None:
    """Its connections stand, and nobody is told: what it sends is lost, or what is sent to it."""
    ways = (Way.LOSING, Way.OPEN) if lost == "out" else (Way.OPEN, Way.LOSING)

    def cut(here: Moving) -> None:
        for wire in here.wires_of(WHO[who](here)):
            wire.cut(*ways)

    figures = await cut_amid_a_move(tmp_path, repeat, cut)
    measured("a store cut off in one direction amid a move", who=who, way=lost, **figures)
    assert float(figures["longest_gap_s"]) <= BUSY * LONGEST_GAP


class Refusals:
    """What writers to a region without a majority were told.

    Invariant: none of these writes was acknowledged.
    """

    def __init__(self) -> None:
        self.told: dict[bytes, FlareDBError] = {}

    async def collect(self, here: Moving) -> None:
        """Write until the cut has lasted long enough."""
        until = time.monotonic() + CUT_SECONDS
        async with here.cluster.client(timeout=REFUSED_SECONDS) as db:
            while time.monotonic() < until:
                await asyncio.gather(*(self._write(db) for _ in range(WRITES_AT_ONCE)))

    async def _write(self, db: Client) -> None:
        key = b"c-cut:%d" % len(self.told)
        self.told[key] = FlareDBError("it was acknowledged without a majority")
        try:
            await db.put(key, b"cut")
        except FlareDBError as error:
            self.told[key] = error

    async def check(self, db: Client) -> None:
        """Every refusal says what is wrong and what to do; what surely failed is not there.

        Who has asked a store that is cut off cannot know whether it will hear the question yet.
        """
        sure = (UnavailableError, TimeoutError)
        kinds = {type(error) for error in self.told.values()}
        assert kinds and kinds <= {*sure, UndeterminedError}, self.told
        assert all(error.hint for error in self.told.values())
        found = await db.get_many(self.told)
        failed = [key for key, error in self.told.items() if isinstance(error, sure)]
        assert all(found.get(key) is None for key in failed), "a refused write took effect"


MAJORITIES: Final[dict[str, Callable[[Moving], tuple[StoreId, ...]]]] = {
    "who leads is left": lambda here: (here.follower, here.source),
    "who goes is left": lambda here: (here.leader, here.follower),
}


@pytest.mark.parametrize("who", MAJORITIES)
async def test_two_of_three_stores_are_cut_off(
    who: str, tmp_path: Path, repeat: int, measured: Measured
) -> None:
    refusals = Refusals()

    def cut(here: Moving) -> None:
        for wire in here.wires_of(*MAJORITIES[who](here)):
            wire.cut()

    async def meanwhile(here: Moving) -> None:
        await refusals.collect(here)
        here.mend()
        await here.load.go_on(1.0, writes=10)
        await refusals.check(here.db)

    figures = await cut_amid_a_move(tmp_path, repeat, cut, meanwhile)
    measured(
        "a majority cut off amid a move", who=who, writes_refused=len(refusals.told), **figures
    )


async def test_pd_is_cut_off(tmp_path: Path, repeat: int, measured: Measured) -> None:
    loads: list[Load] = []

    def cut(here: Moving) -> None:
        loads.append(here.load)
        here.wires["pd"].cut()

    figures = await cut_amid_a_move(tmp_path, repeat, cut)
    measured("PD cut off amid a move", **figures)
    assert figures["move"] == "done"
    assert loads[0].refused == loads[0].unknown == 0, loads[0].troubles
