"""That stores are emptied or removed, and how many replicas are wanted, outlives PD's journal."""

import asyncio
from pathlib import Path

import pytest

from flaredb.client.placement import PlacementReader
from flaredb_pd.state import State
from flaredb_schemas.decided import Decided
from flaredb_schemas.ids import StoreId
from tests.bus.worlds import eventually
from tests.pd.fake_store import SUBJECTS, FakeStore
from tests.pd.test_moves import four_stores
from tests.pd.town import Town, town

both = pytest.mark.parametrize("kind", ["memory", "nats"])


async def have_decided(here: Town) -> tuple[PlacementReader, FakeStore, FakeStore]:
    """A cluster that empties the first store, which lasts, and has removed its fifth."""
    placement = await four_stores(here)
    gone = await here.store("e")
    await eventually(gone.joined.is_set)
    await here.states(until=["up"] * 5)
    for region in here.ground.regions.values():
        region.new_lag = 5_000
    await placement.remove(gone.id)
    drained = here.stores[0]
    await placement.drain(drained.id)
    await have_heard(here, draining=(drained.id,), removed={gone.id})
    return placement, drained, gone


async def have_heard(here: Town, draining: tuple[StoreId, ...], removed: set[StoreId]) -> None:
    """Wait until all stores know this of PD's decisions."""

    def knows(decided: Decided) -> bool:
        return decided.draining == draining and decided.removed.keys() == removed

    await eventually(lambda: all(knows(store.decided) for store in here.stores))


async def rebuilt(here: Town, pd_survives: bool) -> State:
    """Lose the journal, and perhaps PD with it; what PD believes after that."""
    running = here.pds[0]
    before = running.service.core.state.lost_epoch if pd_survives else 0
    if not pd_survives:
        await running.kill()
        here.pds.remove(running)
    await here.world.lose_stream(SUBJECTS.journal_stream)
    if not pd_survives:
        running = await here.pd("b")
    await eventually(lambda: running.service.core.state.lost_epoch > before)
    await here.ready()
    return running.service.core.state


@both
@pytest.mark.parametrize("pd_survives", [True, False], ids=["pd lives on", "pd is new"])
def test_a_lost_journal_is_not_what_was_decided(
    kind: str, pd_survives: bool, tmp_path: Path
) -> None:
    async def story() -> None:
        async with town(kind, tmp_path) as here:
            await here.pd("a")
            placement, drained, gone = await have_decided(here)
            state = await rebuilt(here, pd_survives)
            assert state.replicas == 3
            assert state.stores[drained.id].drain is not None
            assert [store for store, one in state.stores.items() if one.drain] == [drained.id]
            assert gone.id in state.removed and gone.id not in state.stores
            await placement.keep(drained.id)
            await have_heard(here, draining=(), removed={gone.id})
            state = await rebuilt(here, pd_survives)
            assert not any(one.drain for one in state.stores.values())
            assert gone.id in state.removed and state.replicas == 3

    asyncio.run(story())


def test_who_was_emptied_and_is_away_is_emptied_when_it_is_back(tmp_path: Path) -> None:
    async def story() -> None:
        async with town("memory", tmp_path) as here:
            await here.pd("a")
            placement = await four_stores(here)
            drained = here.stores[3]
            await placement.drain(drained.id)
            await have_heard(here, draining=(drained.id,), removed=set())
            await drained.stop()
            state = await rebuilt(here, pd_survives=False)
            assert drained.id not in state.stores and state.leaves(StoreId(1)) is False
            await drained.start()
            await eventually(drained.joined.is_set)
            state = here.pds[0].service.core.state
            assert state.stores[drained.id].drain is not None
            rows = {row.id: row for row in await placement.stores()}
            assert rows[drained.id].life == "draining"

    asyncio.run(story())
