"""Replicas and leaders move, wished for by a client, with PDs and stores that come and go."""

import asyncio
from pathlib import Path

import pytest

from flaredb.client.errors import InvalidArgumentError, UnavailableError
from flaredb.client.placement import PlacementReader
from flaredb_schemas.ids import OperatorId, RegionId, StoreId
from flaredb_schemas.pd_answers import OperatorRow
from flaredb_schemas.regions import PeerRole
from tests.bus.worlds import eventually
from tests.pd.fake_region import FakeRegion
from tests.pd.fake_store import SUBJECTS
from tests.pd.town import Town, town

both = pytest.mark.parametrize("kind", ["memory", "nats"])


async def four_stores(here: Town) -> PlacementReader:
    """A cluster with a store to spare, all of them up, and a client's view of PD."""
    await here.three_stores()
    late = await here.store("d")
    await eventually(late.joined.is_set)
    await here.states(until=["up"] * 4)
    return PlacementReader(here.stores[0].bus, SUBJECTS, timeout=1.0)


def a_region(here: Town) -> FakeRegion:
    return next(iter(here.ground.regions.values()))


def voters(region: FakeRegion) -> list[StoreId]:
    """The stores of a region all of whose replicas vote; none where one does not."""
    whole = all(peer.role is PeerRole.VOTER for peer in region.region.peers)
    return sorted(region.region.stores) if whole else []


async def end_of(placement: PlacementReader, row: OperatorRow) -> OperatorRow:
    """The operator when it has ended."""
    async with asyncio.timeout(20):
        async for seen in placement.watch(row.id):
            row = seen
    return row


async def step(placement: PlacementReader, row: OperatorRow, name: str) -> None:
    """Wait until a step of an operator is done."""
    async with asyncio.timeout(10):
        async for seen in placement.watch(row.id):
            if name in seen.steps:
                return


@both
def test_a_replica_moves_and_its_leader_before_it(kind: str, tmp_path: Path) -> None:
    async def story() -> None:
        async with town(kind, tmp_path) as here:
            await here.pd("a")
            placement, region = await four_stores(here), a_region(here)
            source, target = region.store, here.stores[3].id
            row = await placement.move(region.region.id, source, target)
            assert (row.kind, row.state, row.trigger) == ("move", "running", "manual")
            ended = await end_of(placement, row)
            assert ended.state == "done" and ended.seconds < 10
            assert ended.steps == ("learner_added", "leader_moved", "voters_changed")
            assert target in voters(region) and source not in voters(region)
            assert [one.id for one in await placement.operators()] == [row.id]

    asyncio.run(story())


@both
def test_a_leader_moves(kind: str, tmp_path: Path) -> None:
    async def story() -> None:
        async with town(kind, tmp_path) as here:
            await here.pd("a")
            placement, region = await four_stores(here), a_region(here)
            other = next(store for store in region.region.stores if store != region.store)
            row = await placement.transfer(region.region.id, other)
            assert (await end_of(placement, row)).state == "done" and region.store == other
            with pytest.raises(InvalidArgumentError, match="leads region"):
                await placement.transfer(region.region.id, other)

    asyncio.run(story())


def test_another_pd_goes_on_where_the_killed_one_was(tmp_path: Path) -> None:
    async def story() -> None:
        async with town("memory", tmp_path) as here:
            first, second = await here.pd("a"), await here.pd("b")
            placement, region = await four_stores(here), a_region(here)
            region.new_lag = 5_000
            row = await placement.move(region.region.id, region.store, here.stores[3].id)
            await step(placement, row, "learner_added")
            leader = first if first.service.core.leading else second
            await leader.kill()
            region.lag.clear()
            ended = await end_of(placement, row)
            assert ended.state == "done" and here.stores[3].id in voters(region)

    asyncio.run(story())


def test_a_target_that_dies_is_waited_for(tmp_path: Path) -> None:
    async def story() -> None:
        async with town("memory", tmp_path) as here:
            await here.pd("a", disconnected_after=1.0)
            placement, region = await four_stores(here), a_region(here)
            region.new_lag = 5_000
            row = await placement.move(region.region.id, region.store, here.stores[3].id)
            await step(placement, row, "learner_added")
            await here.stores[3].stop()
            await here.states(until=["up"] * 3 + ["disconnected"])
            assert (await placement.operator(row.id)).doing == "for store 12 to be up"
            region.lag.clear()
            await here.stores[3].start()
            await eventually(here.stores[3].joined.is_set)
            here.ground.report()
            assert (await end_of(placement, row)).state == "done"

    asyncio.run(story())


def test_a_cancelled_move_leaves_nothing_behind(tmp_path: Path) -> None:
    async def story() -> None:
        async with town("memory", tmp_path) as here:
            await here.pd("a")
            placement, region = await four_stores(here), a_region(here)
            before = voters(region)
            region.new_lag = 5_000
            row = await placement.move(region.region.id, region.store, here.stores[3].id)
            await step(placement, row, "learner_added")
            assert (await placement.cancel(row.id)).state == "cancelled"
            await eventually(lambda: voters(region) == before and not region.region.removed)
            with pytest.raises(InvalidArgumentError, match="has ended already: cancelled"):
                await placement.cancel(row.id)
            assert [one.kind for one in await placement.operators()] == ["move", "remove"]

    asyncio.run(story())


def test_what_is_refused_says_what_to_do(tmp_path: Path) -> None:
    async def story() -> None:
        async with town("memory", tmp_path) as here:
            await here.pd("a")
            placement, region = await four_stores(here), a_region(here)
            number, spare = region.region.id, here.stores[3].id
            for call, kind, text in (
                (placement.move(RegionId(99), spare, spare), InvalidArgumentError, "no region 99"),
                (placement.move(number, spare, StoreId(99)), InvalidArgumentError, "no store 99"),
                (placement.transfer(number, spare), InvalidArgumentError, "has no replica"),
                (placement.cancel(OperatorId(99)), InvalidArgumentError, "no operator 99"),
                (placement.operator(OperatorId(99)), InvalidArgumentError, "no operator 99"),
            ):
                with pytest.raises(kind, match=text) as raised:
                    await call
                assert raised.value.hint
            region.new_lag = 5_000
            await placement.move(number, region.store, spare)
            with pytest.raises(UnavailableError, match="is under way on region"):
                await placement.move(number, region.store, spare)

    asyncio.run(story())
