"""PD is killed or paused at every step of a move: another one goes on, and the move ends once."""

import asyncio
import re
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final, get_args

import pytest
from anyio.to_thread import run_sync

from flaredb.client.client import Client
from flaredb.client.errors import FlareDBError, UnavailableError, UndeterminedError
from flaredb.playground.supervisor import LocalCluster
from flaredb_schemas.ids import OperatorId, PdEpoch, StoreId
from flaredb_schemas.journal import TookOver
from flaredb_schemas.operators import OperatorEnded, OperatorStarted
from flaredb_schemas.pd_answers import OperatorRow, PdStatus, RegionRow
from tests.cluster import harm
from tests.cluster.load import Load
from tests.cluster.overheard import SUBJECTS, Moment, Overheard, facts_of, overhearing
from tests.cluster.test_moves import absent, all_whole, fill, holders, region_of
from tests.cluster.verdict import BUSY, Measured, judge
from tests.cluster.wires import Wire, wired

pytestmark = [pytest.mark.cluster, pytest.mark.anyio, pytest.mark.timeout(400)]

SETTINGS: Final = {"split_bytes": "1 GiB", "merge_bytes": "0", "balance": "false"}
MIB: Final = 8
TAKEOVER_SECONDS: Final = 5.0
"""How soon after a PD is gone another one serves."""
PATIENCE: Final = 60.0
CHANGES_OF_A_MOVE: Final = 4
"""By how much a move raises `conf_ver`: the learner comes, the joint change, its end, one goes."""


@pytest.fixture
def moments(request: pytest.FixtureRequest) -> tuple[Moment, ...]:
    """The steps at which PD is harmed: all of them for the figures, in an ordinary run some."""
    is_figure = request.config.getoption("--figures") is not None
    return get_args(Moment) if is_figure else ("started", "leader_moved", "joint", "removed")


class Pds:
    """A cluster with two PDs, and what is overheard of them."""

    def __init__(self, cluster: LocalCluster, db: Client, quick: Client, heard: Overheard) -> None:
        self.cluster: Final = cluster
        self.db: Final = db
        self.quick: Final = quick
        """A client that does not wait for a PD that is silent."""
        self.heard: Final = heard

    async def status(self, above: PdEpoch = PdEpoch(0)) -> PdStatus:  # noqa: B008 (a number)
        """The leading PD, once one of a later reign than this is ready."""
        async with asyncio.timeout(PATIENCE):
            while True:
                with suppress(FlareDBError):
                    status = await self.quick.placement.status()
                    if status.ready and status.pd_epoch > above:
                        return status
                await asyncio.sleep(0.01)

    async def leader(self) -> tuple[str, PdEpoch]:
        """The name of the process that leads, and its reign."""
        status = await self.status()
        words = f"PD {status.pd} leads with epoch {status.pd_epoch}"
        (name,) = [one for one in self.names() if words in self.log(one)]
        return name, PdEpoch(status.pd_epoch)

    def names(self) -> list[str]:
        return [name for name in self.cluster.children if name.startswith("pd")]

    def log(self, name: str) -> str:
        return self.cluster.children[name].log.read_text(errors="replace")

    async def move(self, row: RegionRow, source: StoreId) -> OperatorId:
        """Have a replica moved to a store without one; PD may be killed before it answers."""
        target = absent(self.cluster, row)
        async with asyncio.timeout(PATIENCE):
            while True:
                try:
                    return (await self.db.placement.move(row.id, source, target)).id
                except UndeterminedError:
                    break
                except UnavailableError:  # a PD that has just taken over has not heard all stores
                    await asyncio.sleep(0.1)
        facts = (fact for fact in self.heard.facts if isinstance(fact, OperatorStarted))
        return next(fact.operator for fact in reversed(list(facts)) if fact.region == row.id)

    async def end_of(self, number: OperatorId) -> OperatorRow:
        """The operator once it has ended."""
        last: OperatorRow | None = None
        async with asyncio.timeout(PATIENCE):
            async for row in self.db.placement.watch(number):
                last = row
        assert last is not None
        return last

    async def check_moved_once(self, number: OperatorId, before: RegionRow) -> None:
        """The move was done by its four changes, and ended by one record."""
        last = await self.end_of(number)
        await all_whole(self.db)
        after = await region_of(self.db, before.id)
        assert last.state == "done", last
        assert holders(after) == (holders(before) - {last.from_store}) | {last.to_store}
        assert after.conf_ver == before.conf_ver + CHANGES_OF_A_MOVE, (before, after)
        facts = await facts_of(self.db.bus.history)
        ends = [fact for fact in facts if isinstance(fact, OperatorEnded)]
        assert [fact.outcome for fact in ends if fact.operator == number] == ["done"]


@asynccontextmanager
async def two_pds(cluster: LocalCluster) -> AsyncIterator[Pds]:
    """One more PD than the cluster has, and clients."""
    async with (
        cluster.client(timeout=2.0) as db,
        cluster.client(timeout=0.2) as quick,
        overhearing(cluster.url) as heard,
    ):
        await run_sync(cluster.add_pd)
        yield Pds(cluster, db, quick, heard)


async def killed_at(moment: Moment, pds: Pds) -> float:
    """Kill the leading PD at this moment of a move; seconds until another one serves."""
    row = await harm.first_led(pds.db)
    name, epoch = await pds.leader()
    killed: list[float] = []

    def kill() -> None:
        pds.cluster.children[name].signal(signal.SIGKILL)
        killed.append(time.monotonic())

    done = pds.heard.when(row.id, moment, kill)
    number = await pds.move(row, row.leader_store)
    async with asyncio.timeout(PATIENCE):
        await done.wait()
    await pds.status(above=epoch)
    took = time.monotonic() - killed[0]
    await pds.check_moved_once(number, row)
    await run_sync(pds.cluster.kill, name)  # it is dead; wait for its end
    await harm.start(pds.cluster, name)
    return took


async def test_pd_is_killed_at_every_step_of_a_move(
    moments: tuple[Moment, ...], tmp_path: Path, repeat: int, measured: Measured
) -> None:
    took: dict[Moment, float] = {}
    async with harm.running(tmp_path / "cluster", SETTINGS, stores=4) as cluster:
        load = Load(cluster, repeat)
        async with two_pds(cluster) as pds:
            await fill(pds.db, MIB)
            async with load.running():
                for moment in moments:
                    took[moment] = await killed_at(moment, pds)
        figures = await judge(cluster, load)
    worst = max(took.values())
    measured(
        "PD killed at a step of a move", kills=len(took), takeover_s=round(worst, 3), **figures
    )
    assert worst <= BUSY * TAKEOVER_SECONDS, took
    assert load.refused == load.unknown == 0, load.troubles


async def both_lead_from(moment: Moment, pds: Pds) -> int:
    """Pause the leading PD at this moment, and let it go on when another one leads; how many
    orders of its reign came after that."""
    row = await harm.first_led(pds.db)
    name, epoch = await pds.leader()
    done = pds.heard.when(row.id, moment, lambda: pds.cluster.pause(name))
    number = await pds.move(row, row.leader_store)
    async with asyncio.timeout(PATIENCE):
        await done.wait()
    _, reign = await pds.heard.takeover_after(epoch, PATIENCE)
    pds.cluster.resume(name)
    resumed = time.monotonic()
    await pds.check_moved_once(number, row)
    async with asyncio.timeout(PATIENCE):
        while not re.search(rf"{reign.pd} leads|is of epoch {reign.epoch}", pds.log(name)):
            await asyncio.sleep(0.02)
    assert (await pds.leader())[0] != name
    return len(pds.heard.orders_of(epoch, resumed))


async def test_a_pd_that_was_paused_believes_that_it_still_leads(
    moments: tuple[Moment, ...], tmp_path: Path, repeat: int, measured: Measured
) -> None:
    orders: list[int] = []
    async with harm.running(tmp_path / "cluster", SETTINGS, stores=4) as cluster:
        load = Load(cluster, repeat)
        async with two_pds(cluster) as pds:
            await fill(pds.db, MIB)
            async with load.running():
                for moment in moments:
                    orders.append(await both_lead_from(moment, pds))
                reigns = [reign for _, reign in pds.heard.reigns]
        figures = await judge(cluster, load)
    measured("two PDs lead", pauses=len(orders), late_orders=sum(orders), **figures)
    check_reigns(reigns)
    assert load.refused == load.unknown == 0, load.troubles


def check_reigns(reigns: list[TookOver]) -> None:
    """No epoch was opened twice."""
    epochs = [reign.epoch for reign in reigns]
    assert len(epochs) > 1 and epochs == sorted(set(epochs)), epochs


async def test_two_pds_that_do_not_hear_each_other_both_lead(
    tmp_path: Path, repeat: int, measured: Measured
) -> None:
    """The old one goes on with its move, which cannot end yet, until it reads the journal."""
    names = ["pd", *(f"store-{number}" for number in range(1, 5))]
    async with wired(tmp_path / "cluster", names, SETTINGS) as (cluster, wires):
        load = Load(cluster, repeat)
        async with two_pds(cluster) as pds:
            await fill(pds.db, MIB)
            async with load.running():
                row = await harm.first_led(pds.db)
                name, epoch = await pds.leader()
                target = f"store-{harm.number_of(cluster, absent(cluster, row))}"

                def part() -> None:
                    wires[target].cut()
                    wires[name].lose(SUBJECTS.pd_alive)

                parted = pds.heard.when(row.id, "learner_added", part)
                number = await pds.move(row, row.leader_store)
                async with asyncio.timeout(PATIENCE):
                    await parted.wait()
                    at, _ = await pds.heard.takeover_after(epoch, PATIENCE)
                    while "follows: record" not in pds.log(name):
                        await asyncio.sleep(0.02)
                for wire in wires.values():
                    wire.mend()
                await pds.check_moved_once(number, row)
                await load.go_on(1.0, writes=50)
                stale = pds.heard.orders_of(epoch, at)
        figures = await judge(cluster, load)
    measured("two PDs lead, deaf to each other", stale_orders=len(stale), **figures)
    assert load.refused == load.unknown == 0, load.troubles


async def test_an_order_that_comes_after_its_reign_has_no_effect(tmp_path: Path) -> None:
    """The orders of a move are held up on their way; when they arrive the move was cancelled, and
    another PD leads. The region is still what they are meant for: only the fence is against it."""
    folder = tmp_path / "cluster"
    async with wired(folder, ["pd"], SETTINGS) as (cluster, wires), two_pds(cluster) as pds:
        row = await harm.first_led(pds.db)
        name, epoch = await pds.leader()
        assert name == "pd", "the one with the wire was there first"
        await hold_up_a_move(pds, wires[name], row)
        cluster.pause(name)
        await pds.status(above=epoch)
        released = time.monotonic()
        wires[name].release()
        number = harm.number_of(cluster, row.leader_store)
        log = cluster.children[f"store-{number}"].log
        async with asyncio.timeout(PATIENCE):
            while f"order of reign {epoch}, obeyed is " not in log.read_text():
                await asyncio.sleep(0.02)
            while not pds.heard.orders_of(epoch, released):
                await asyncio.sleep(0.02)
        cluster.resume(name)
        moved = await pds.move(row, row.leader_store)
        await pds.check_moved_once(moved, row)


async def hold_up_a_move(pds: Pds, wire: Wire, row: RegionRow) -> None:
    """Have a move ordered, but no order arrive, and then cancelled."""
    wire.set_aside(SUBJECTS.pd_order(StoreId(0)).removesuffix("0"))
    number = await pds.move(row, row.leader_store)
    async with asyncio.timeout(PATIENCE):
        while not wire.aside:
            await asyncio.sleep(0.02)
    assert (await pds.db.placement.cancel(number)).state == "cancelled"
    assert (await region_of(pds.db, row.id)).conf_ver == row.conf_ver
