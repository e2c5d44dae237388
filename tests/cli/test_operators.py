"""Regions that move, and merge after a move; operators: a real PD, and stores that only speak."""

import asyncio
import json
import threading
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from flaredb.cli.app import make_app
from flaredb.client.placement import PlacementReader
from flaredb_schemas.ids import StoreId
from tests.bus.worlds import NatsWorld, eventually
from tests.pd.fake_region import FakeRegion
from tests.pd.fake_store import SUBJECTS
from tests.pd.town import Town, town

Run = Callable[..., Any]
LEDGER = ("decision", "steps_done", "outcome")


class Elsewhere:
    """A town of one PD and four stores, on an event loop in a thread of its own."""

    town: Town
    _loop: asyncio.AbstractEventLoop
    _over: asyncio.Event

    def __init__(self, folder: Path) -> None:
        self._open = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._live(folder)))
        self._thread.start()
        assert self._open.wait(30), "the town does not get ready"

    @property
    def url(self) -> str:
        assert isinstance(self.town.world, NatsWorld)
        return self.town.world.server.url

    @property
    def region(self) -> FakeRegion:
        return next(iter(self.town.ground.regions.values()))

    @property
    def placement(self) -> PlacementReader:
        return PlacementReader(self.town.stores[0].bus, SUBJECTS, timeout=1.0)

    def begin(self, what: Coroutine[Any, Any, object]) -> None:
        """Have something done there, and do not wait for it."""
        asyncio.run_coroutine_threadsafe(what, self._loop)

    def do(self, what: Coroutine[Any, Any, object]) -> None:
        """Have something done there."""
        asyncio.run_coroutine_threadsafe(what, self._loop).result(30)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join()

    async def _live(self, folder: Path) -> None:
        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        async with town("nats", folder) as self.town:
            await self.town.pd("a")
            await self.town.three_stores()
            late = await self.town.store("d")
            await eventually(late.joined.is_set)
            await self.town.states(until=["up"] * 4)
            self._open.set()
            await self._over.wait()


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Elsewhere]:
    opened = Elsewhere(tmp_path)
    yield opened
    opened.close()


@pytest.fixture
def run(elsewhere: Elsewhere) -> Run:
    """Run a command; returns its JSON, or what it says on standard error if it fails as told."""

    def invoke(*arguments: str, code: int = 0) -> Any:
        at = ["--nats", elsewhere.url, "-o", "json"]
        result = CliRunner().invoke(make_app(), [*arguments, *at])
        assert result.exit_code == code, result.output
        return json.loads(result.stdout) if code == 0 else result.stderr

    return invoke


def test_a_move_is_waited_for(run: Run, elsewhere: Elsewhere) -> None:
    region = elsewhere.region
    number, source = str(region.region.id), str(region.store)
    done = run("region", "move", number, source, "12")
    assert (done["state"], done["from_store"], done["to_store"]) == ("done", int(source), 12)
    assert done["steps"] == ["learner_added", "leader_moved", "voters_changed"]
    assert 12 in [peer["store"] for peer in run("region", "show", number)["peers"]]
    moved = run("region", "transfer", number, "12")
    assert (moved["kind"], moved["state"], moved["to_store"]) == ("transfer", "done", 12)
    listed = run("operator", "list")
    assert [one["id"] for one in listed] == [done["id"], moved["id"]]
    shown = run("operator", "show", str(done["id"]))
    assert shown == {**listed[0], **{name: shown[name] for name in LEDGER}}
    assert shown["decision"]["policy"] == "manual" and shown["decision"]["seen"]["heartbeats"]
    assert [one["step"] for one in shown["steps_done"]] == done["steps"]
    figures = {(one["figure"], one["store"]): one for one in shown["outcome"]["figures"]}
    came = figures["replicas", 12]
    assert came["predicted"] == came["realised"] == came["before"] + 1
    show = ["operator", "show", str(done["id"]), "--nats", elsewhere.url]
    told = CliRunner().invoke(make_app(), show).stdout
    assert "Decision" in told and "learner_added" in told and "realised" in told
    table = CliRunner().invoke(make_app(), ["operator", "list", "--nats", elsewhere.url]).stdout
    assert "learner_added, leader_moved" in table


def test_a_move_is_cancelled(run: Run, elsewhere: Elsewhere) -> None:
    region = elsewhere.region
    region.new_lag = 5_000
    number, source = str(region.region.id), str(region.store)
    begun = run("region", "move", number, source, "12", "--no-wait")
    assert begun["state"] == "running"
    assert "is under way" in run("region", "move", number, source, "12", code=5)
    operator = str(begun["id"])
    assert run("operator", "cancel", operator)["state"] == "cancelled"
    assert "has ended already" in run("operator", "cancel", operator, code=2)


def test_a_move_that_is_cancelled_while_it_is_waited_for(run: Run, elsewhere: Elsewhere) -> None:
    region = elsewhere.region
    region.new_lag = 5_000

    async def cancel() -> None:
        await eventually(lambda: bool(region.lag))
        [running] = await elsewhere.placement.operators()
        await elsewhere.placement.cancel(running.id)

    elsewhere.begin(cancel())
    said = run("region", "move", str(region.region.id), str(region.store), "12", code=1)
    assert "was not finished: cancelled" in said


def apart(run: Run, elsewhere: Elsewhere) -> tuple[str, str]:
    """Two neighbours that stand on different stores: the second one has no replica on store 12."""
    one, other = (str(number) for number in elsewhere.town.ground.regions)
    row = run("region", "show", one)
    follower = next(peer for peer in row["peers"] if peer["store"] != row["leader_store"])
    run("region", "move", one, str(follower["store"]), "12")
    return one, other


def test_a_merge_of_neighbours_on_different_stores(run: Run, elsewhere: Elsewhere) -> None:
    one, other = apart(run, elsewhere)
    at = ["--nats", elsewhere.url, "-o", "json"]
    result = CliRunner().invoke(make_app(), ["region", "merge", one, "--into", other, *at])
    assert result.exit_code == 0, result.output
    [merged] = json.loads(result.stdout)
    assert (str(merged["id"]), merged["start"], merged["end"]) == (other, "", "")
    moved = run("operator", "list")[-1]
    assert (moved["trigger"], moved["state"]) == ("merge", "done")
    assert f"region {one} is first moved next to region {other}" in result.stderr


def test_a_merge_that_is_not_waited_for(run: Run, elsewhere: Elsewhere) -> None:
    one, other = apart(run, elsewhere)
    begun = run("region", "merge", one, "--into", other, "--no-wait")
    assert (begun["source"], begun["target"], begun["state"]) == (int(one), int(other), "running")
    elsewhere.do(eventually(lambda: len(elsewhere.town.ground.regions) == 1))
    assert "no region 99" in run("region", "merge", other, "--into", "99", code=3)


def test_a_merge_whose_move_is_cancelled(run: Run, elsewhere: Elsewhere) -> None:
    one, other = apart(run, elsewhere)
    region = elsewhere.region
    region.new_lag = 5_000

    async def cancel() -> None:
        await eventually(lambda: bool(region.lag))
        await elsewhere.placement.cancel((await elsewhere.placement.operators())[-1].id)

    elsewhere.begin(cancel())
    said = run("region", "merge", one, "--into", other, code=5)
    assert f"moved region {one} for it, was not finished: cancelled" in said


def test_a_merge_for_which_a_store_is_missed(run: Run, elsewhere: Elsewhere) -> None:
    one, other = apart(run, elsewhere)
    held = {peer["store"] for peer in run("region", "show", one)["peers"]}
    missed = next(s for s in (1, 2, 3) if s not in held)
    elsewhere.do(elsewhere.town.ground.stores[StoreId(missed)].stop())
    health = ["disconnected" if store == missed else "up" for store in (1, 2, 3, 12)]
    elsewhere.do(elsewhere.town.states(until=health))
    said = run("region", "merge", one, "--into", other, code=5)
    assert f"store {missed} is not up" in said and "start it again" in said


def test_what_is_not_there_is_not_found(run: Run, elsewhere: Elsewhere) -> None:
    number = str(elsewhere.region.region.id)
    assert "no region 99" in run("region", "move", "99", "1", "12", code=3)
    assert "no store 99" in run("region", "move", number, "1", "99", code=3)
    assert "no store 99" in run("region", "transfer", number, "99", code=3)
    assert "no operator 99" in run("operator", "show", "99", code=3)
    assert "no operator 99" in run("operator", "cancel", "99", code=3)
    assert "has no replica" in run("region", "transfer", number, "12", code=2)
    assert run("operator", "list") == []
