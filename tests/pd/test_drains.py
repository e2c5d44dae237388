"""Stores are drained and removed, wished for by a client, with PDs and stores that come and go."""

import asyncio
from pathlib import Path

import pytest

from flaredb.client.errors import InvalidArgumentError, UnavailableError
from flaredb.client.placement import PlacementReader
from flaredb_pd.ops import figures
from flaredb_schemas.ids import StoreId
from flaredb_schemas.journal import StoreDraining, StoreRemoved
from flaredb_schemas.pd_answers import StoreRow
from tests.bus.worlds import eventually
from tests.pd.fake_region import FakeRegion
from tests.pd.fake_store import SUBJECTS, FakeStore
from tests.pd.test_moves import both, four_stores, voters
from tests.pd.town import Town, town


def regions(here: Town) -> list[FakeRegion]:
    return list(here.ground.regions.values())


def holds(here: Town, store: FakeStore) -> bool:
    """Whether a region has anything on the store."""
    told = [(*one.region.peers, *one.region.removed) for one in regions(here)]
    return any(peer.store == store.id for peers in told for peer in peers)


async def emptied(placement: PlacementReader, store: StoreId) -> StoreRow:
    """The store at the end of its drain."""
    row = None
    async with asyncio.timeout(20):
        async for seen in placement.watch_drain(store):
            row = seen
    assert row is not None
    return row


async def nobody_is_missed(here: Town, placement: PlacementReader) -> None:
    """Wait until all leaders have told that they hear all of their peers."""
    here.ground.report()
    async with asyncio.timeout(10):
        while True:
            if not any(row.down_peers for row in await placement.regions()):
                return
            await asyncio.sleep(0.02)


async def row_of(placement: PlacementReader, store: StoreId) -> StoreRow:
    rows = await placement.stores(removed=True)
    return next(row for row in rows if row.id == store)


@both
def test_a_store_is_emptied_and_removed_for_ever(kind: str, tmp_path: Path) -> None:
    async def story() -> None:
        async with town(kind, tmp_path) as here:
            pd = await here.pd("a")
            placement = await four_stores(here)
            await nobody_is_missed(here, placement)
            gone = here.ground.stores[regions(here)[0].store]
            begun = await placement.drain(gone.id)
            assert (begun.state, begun.health, begun.life) == ("draining", "up", "draining")
            row = await emptied(placement, gone.id)
            assert row.drain is not None and row.drain.is_empty and not holds(here, gone)
            assert all(len(voters(one)) == 3 for one in regions(here))
            counted = figures(pd.service.core)
            kinds = [one.kind for one in await placement.operators()]
            assert counted["pd_operators_done_total"] == len(kinds)
            assert counted["pd_operators_expired_total"] == counted["pd_operators_running"] == 0
            assert counted["pd_stores_draining"] == 1
            assert kinds[0] == "transfer" and set(kinds[1:]) <= {"transfer", "move"}
            assert (await placement.remove(gone.id)).life == "removed"
            assert gone.id not in [one.id for one in await placement.stores()]
            assert (await row_of(placement, gone.id)).state == "removed"
            await gone.stop()
            await gone.start()
            await eventually(lambda: "was removed" in gone.refused)
            journal = await here.journal()
            assert sum(isinstance(fact, StoreDraining) for fact in journal) == 1
            assert sum(isinstance(fact, StoreRemoved) for fact in journal) == 1

    asyncio.run(story())


def test_another_pd_goes_on_with_a_drain(tmp_path: Path) -> None:
    async def story() -> None:
        async with town("memory", tmp_path) as here:
            first, second = await here.pd("a"), await here.pd("b")
            placement, gone = await four_stores(here), here.stores[1]
            for region in regions(here):
                region.new_lag = 5_000
            await placement.drain(gone.id)
            await eventually(lambda: any(region.lag for region in regions(here)))
            leader = first if first.service.core.leading else second
            await leader.kill()
            for region in regions(here):
                region.lag.clear()
                region.new_lag = 0
            assert (await emptied(placement, gone.id)).life == "draining"
            assert not holds(here, gone) and all(len(voters(one)) == 3 for one in regions(here))

    asyncio.run(story())


def test_on_three_stores_a_fourth_is_needed(tmp_path: Path) -> None:
    async def story() -> None:
        async with town("memory", tmp_path) as here:
            await here.pd("a")
            await here.three_stores()
            await here.states(until=["up"] * 3)
            placement, gone = PlacementReader(here.stores[0].bus, SUBJECTS, 1.0), here.stores[2]
            await placement.drain(gone.id)
            with pytest.raises(UnavailableError, match="one more store is needed"):
                async for _ in placement.watch_drain(gone.id, patience=0.5):
                    pass
            with pytest.raises(UnavailableError, match="still has 2 replicas"):
                await placement.remove(gone.id)
            assert all(len(voters(one)) == 3 for one in regions(here))
            assert gone.id not in [one.store for one in regions(here)]
            await here.store("d")
            await emptied(placement, gone.id)
            assert not holds(here, gone) and all(len(voters(one)) == 3 for one in regions(here))

    asyncio.run(story())


def test_a_drain_that_is_cancelled_leaves_the_regions_whole(tmp_path: Path) -> None:
    async def story() -> None:
        async with town("memory", tmp_path) as here:
            await here.pd("a")
            placement, kept = await four_stores(here), here.stores[1]
            before = [voters(one) for one in regions(here)]
            for region in regions(here):
                region.new_lag = 5_000
            await placement.drain(kept.id)
            await eventually(lambda: any(region.lag for region in regions(here)))
            row = await placement.keep(kept.id)
            assert (row.life, row.drain) == ("serving", None)
            await eventually(lambda: [voters(one) for one in regions(here)] == before)
            await eventually(lambda: not any(one.region.removed for one in regions(here)))
            assert (await emptied(placement, kept.id)).drain is None

    asyncio.run(story())


def test_a_dead_store_is_drained_and_not_removed_before_it_counts_as_down(tmp_path: Path) -> None:
    async def story() -> None:
        async with town("memory", tmp_path) as here:
            await here.pd("a", disconnected_after=0.5)
            placement, dead = await four_stores(here), here.stores[0]
            await dead.stop()
            await here.states(until=["disconnected", "up", "up", "up"])
            placement = PlacementReader(here.stores[1].bus, SUBJECTS, timeout=1.0)
            with pytest.raises(UnavailableError, match="still has"):
                await placement.remove(dead.id)
            await placement.drain(dead.id)
            await eventually(
                lambda: all(dead.id not in one.region.stores for one in regions(here)), seconds=30.0
            )
            with pytest.raises(UnavailableError, match="has not cleaned up"):
                await placement.remove(dead.id)

    asyncio.run(story())


def test_what_is_refused_says_what_to_do(tmp_path: Path) -> None:
    async def story() -> None:
        async with town("memory", tmp_path) as here:
            await here.pd("a")
            placement, region = await four_stores(here), regions(here)[0]
            spare = here.stores[3].id
            for call in (placement.drain, placement.keep, placement.remove):
                with pytest.raises(InvalidArgumentError, match="no store 99") as raised:
                    await call(StoreId(99))
                assert raised.value.hint
            await placement.drain(spare)
            with pytest.raises(UnavailableError, match="is being drained"):
                await placement.move(region.region.id, region.store, spare)
            assert (await placement.remove(spare)).life == "removed"
            with pytest.raises(InvalidArgumentError, match="no store"):
                await placement.move(region.region.id, region.store, spare)

    asyncio.run(story())
