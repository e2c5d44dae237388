"""Neighbours on different stores are merged, wished for by a client, with PDs that come and go."""

import asyncio
from pathlib import Path

import pytest

from flaredb.client.errors import InvalidArgumentError, UnavailableError
from flaredb.client.placement import PlacementReader
from flaredb_schemas.ids import RegionId
from flaredb_schemas.pd_answers import MergeRow
from tests.bus.worlds import eventually
from tests.pd.fake_region import FakeRegion
from tests.pd.test_moves import a_region, both, end_of, four_stores, voters
from tests.pd.town import Town, town


def the_other(here: Town) -> FakeRegion:
    return list(here.ground.regions.values())[1]


async def apart(here: Town) -> PlacementReader:
    """Four stores, and two neighbours that do not stand on the same three of them."""
    placement, region = await four_stores(here), a_region(here)
    follower = next(one for one in region.region.stores if one != region.store)
    moved = await placement.move(region.region.id, follower, here.stores[3].id)
    assert (await end_of(placement, moved)).state == "done"
    assert voters(region) != voters(the_other(here))
    return placement


async def begin(here: Town, placement: PlacementReader) -> MergeRow:
    """The one is to become a part of the other; what PD says of it at once."""
    source, target = a_region(here).region.id, the_other(here).region.id
    done = await placement.begin_merge(source, target)
    assert done.region == target and done.begun is not None
    assert (done.begun.source, done.begun.target, done.begun.state) == (source, target, "running")
    assert f"region {source} is first moved next to region {target}" in done.begun.doing
    return done.begun


async def learns(region: FakeRegion) -> None:
    """Wait until a replica is on its way, and lags behind."""
    await eventually(lambda: bool(region.lag))


@both
def test_neighbours_on_different_stores_become_one(kind: str, tmp_path: Path) -> None:
    async def story() -> None:
        async with town(kind, tmp_path) as here:
            await here.pd("a")
            placement = await apart(here)
            source, target = a_region(here).region.id, the_other(here)
            there = voters(target)
            row = await placement.merge(source)
            assert (row.id, row.start_b64, row.end_b64) == (target.region.id, b"", b"")
            assert list(here.ground.regions.values()) == [target] and voters(target) == there
            moved = (await placement.operators())[-1]
            assert (moved.trigger, moved.state, moved.region) == ("merge", "done", source)
            assert moved.reason == f"to be merged with region {target.region.id}"

    asyncio.run(story())


def test_whoever_waits_sees_what_goes_on(tmp_path: Path) -> None:
    async def story() -> None:
        async with town("memory", tmp_path) as here:
            await here.pd("a")
            placement = await apart(here)
            seen = [row async for row in placement.watch_merge(await begin(here, placement))]
            moved = (await placement.operators())[-1]
            assert [row.state for row in seen[:-1]] == ["running"] * (len(seen) - 1)
            assert (seen[-1].state, seen[-1].operator) == ("done", moved.id)

    asyncio.run(story())


def test_who_cancels_the_move_gives_up_the_merge(tmp_path: Path) -> None:
    async def story() -> None:
        async with town("memory", tmp_path) as here:
            await here.pd("a")
            placement = await apart(here)
            region, before = a_region(here), voters(a_region(here))
            region.new_lag = 5_000
            begun = await begin(here, placement)
            await learns(region)
            other = the_other(here)
            with pytest.raises(UnavailableError, match="is to be merged"):
                await placement.move(other.region.id, other.store, here.stores[3].id)
            await placement.cancel((await placement.operators())[-1].id)
            with pytest.raises(UnavailableError, match="was not finished: cancelled") as raised:
                async for _ in placement.watch_merge(begun):
                    pass
            assert raised.value.hint and len(here.ground.regions) == 2
            await eventually(lambda: voters(region) == before)

    asyncio.run(story())


def test_another_pd_says_that_nobody_goes_on_and_takes_the_wish_up_again(tmp_path: Path) -> None:
    async def story() -> None:
        async with town("memory", tmp_path) as here:
            first, second = await here.pd("a"), await here.pd("b")
            placement = await apart(here)
            region, target = a_region(here), the_other(here)
            source, region.new_lag = region.region.id, 5_000
            begun = await begin(here, placement)
            await learns(region)
            await (first if first.service.core.leading else second).kill()
            with pytest.raises(UnavailableError, match="another PD leads now") as raised:
                async for _ in placement.watch_merge(begun):
                    pass
            assert f"flaredb region merge {source} --into {target.region.id}" in raised.value.hint
            await here.ready()
            region.lag.clear()
            assert (await placement.merge(source, target.region.id)).id == target.region.id

    asyncio.run(story())


def test_another_pd_tells_of_what_is_done(tmp_path: Path) -> None:
    async def story() -> None:
        async with town("memory", tmp_path) as here:
            first, second = await here.pd("a"), await here.pd("b")
            placement = await apart(here)
            begun = await begin(here, placement)
            await eventually(lambda: len(here.ground.regions) == 1)
            await (first if first.service.core.leading else second).kill()
            seen = [row.state async for row in placement.watch_merge(begun)]
            assert seen[-1] == "done"
            assert (await placement.merged(begun.source, begun.target)).id == begun.target

    asyncio.run(story())


def test_what_cannot_be_brought_together_says_why(tmp_path: Path) -> None:
    async def story() -> None:
        async with town("memory", tmp_path) as here:
            await here.pd("a", disconnected_after=1.0)
            placement = await apart(here)
            source, target = a_region(here).region, the_other(here).region
            (missed,) = set(target.stores) - set(source.stores)
            await here.ground.stores[missed].stop()
            health = ["disconnected" if one.id == missed else "up" for one in here.stores]
            await here.states(until=health)
            with pytest.raises(UnavailableError, match=f"store {missed} is not up") as raised:
                await placement.merge(source.id, target.id)
            assert "start it again" in raised.value.hint
            with pytest.raises(InvalidArgumentError, match="no region 99"):
                await placement.merge(RegionId(99))

    asyncio.run(story())
