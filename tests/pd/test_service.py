"""PD's asyncio edge with stores that speak the messages: in memory and on a real nats-server."""

import asyncio
from pathlib import Path

import msgspec
import pytest

from flaredb.bus.bus import Message
from flaredb_pd.fresh_ids import LOSS_MARGIN
from flaredb_pd.streams import all_streams
from flaredb_schemas.envelope import Codec, Malformed
from flaredb_schemas.journal import Bootstrapped, RebuildStarted
from flaredb_schemas.pd_answers import SplitQuery
from flaredb_schemas.placement import Heartbeat, RoutesAnswer, RoutesQuery
from tests.bus.worlds import eventually
from tests.pd.fake_store import SUBJECTS, FakeStore
from tests.pd.town import town

both = pytest.mark.parametrize("kind", ["memory", "nats"])


@both
def test_a_cluster_is_born(kind: str, tmp_path: Path) -> None:
    async def story() -> None:
        async with town(kind, tmp_path) as here:
            await here.pd("a")
            stores = await here.three_stores()
            assert [store.created for store in stores] == [1, 1, 1]
            status = await here.ready()
            assert (status["stores"], status["regions"], status["sequence"] >= 6) == (3, 2, True)
            assert await here.states(until=["up"] * 3)
            regions = (await here.get("regions"))["regions"]
            assert [(row["start"], row["end"]) for row in regions] == [("", "m"), ("m", "")]
            assert status["leaders_elected_s"] < 5

    asyncio.run(story())


@both
def test_routes_are_told_in_frames(kind: str, tmp_path: Path) -> None:
    async def story() -> None:
        async with town(kind, tmp_path) as here:
            await here.pd("a")
            stores = await here.three_stores()
            question = Codec[RoutesQuery](RoutesQuery).encode(RoutesQuery(b"q"))
            subject = SUBJECTS.pd_get("routes")
            payload = await stores[0].bus.request(subject, question, timeout=2)
            answer = Codec[RoutesAnswer](RoutesAnswer).decode(payload or b"")
            assert not isinstance(answer, Malformed)
            [route] = answer.routes
            assert answer.ready and route.region.keys.start == b"m" and route.store != 0

    asyncio.run(story())


@both
def test_no_answer_goes_where_only_pd_may_write(kind: str, tmp_path: Path) -> None:
    """Else anyone who may ask could have PD spoil its own journal."""

    async def story() -> None:
        async with town(kind, tmp_path) as here:
            await here.pd("a")
            stores = await here.three_stores()
            spoilt = SUBJECTS.event("pd.took_over", 1, "x")
            heard: list[Message] = []
            await stores[1].bus.subscribe(spoilt, heard.append)
            assert stores[0].bus.send(SUBJECTS.pd_get("status"), b"", reply=spoilt)
            assert await here.ready(), "who asks rightly is answered, after that"
            await here.journal()
            assert not heard

    asyncio.run(story())


@both
def test_a_split_at_what_is_no_key_is_refused(kind: str, tmp_path: Path) -> None:
    """Its record was too large for the journal, and that stopped PD."""

    async def story() -> None:
        async with town(kind, tmp_path) as here:
            await here.pd("a")
            stores = await here.three_stores()
            region = (await here.get("regions"))["regions"][0]["id"]
            asked = msgspec.json.encode(SplitQuery(region, b"k" * 786_000))
            subject = SUBJECTS.pd_admin("split")
            payload = await stores[0].bus.request(subject, asked, timeout=2)
            refused = msgspec.json.decode(payload or b"{}")
            assert refused["code"] == "malformed" and "400" in refused["message"]
            assert await here.ready()

    asyncio.run(story())


@both
def test_another_pd_takes_over(kind: str, tmp_path: Path) -> None:
    async def story() -> None:
        async with town(kind, tmp_path) as here:
            first, second = await here.pd("a"), await here.pd("b")
            stores = await here.three_stores()
            leader, follower = (first, second) if first.service.core.leading else (second, first)
            before = await here.ready()
            await leader.kill()
            await eventually(lambda: follower.service.core.leading, 5)
            after = await here.ready()
            assert after["pd_epoch"] > before["pd_epoch"]
            assert after["cluster"] == before["cluster"]
            late = await here.store("d")
            await eventually(late.joined.is_set)
            assert late.id == before["highest_id"] + 1
            assert [store.created for store in stores] == [1, 1, 1]

    asyncio.run(story())


@both
def test_a_store_restarts_and_its_copy_is_refused(kind: str, tmp_path: Path) -> None:
    async def story() -> None:
        async with town(kind, tmp_path) as here:
            await here.pd("a")
            store = (await here.three_stores())[0]
            copy = FakeStore(await here.world.connect("copy"), store.letter)
            here.stores.append(copy)
            copy.id, copy.cluster, copy.boot = store.id, store.cluster, store.boot
            await store.stop()
            await store.start()
            await eventually(store.joined.is_set)
            await copy.start()
            await eventually(lambda: bool(copy.refused))
            assert "copy or an old state" in copy.refused and not copy.joined.is_set()

    asyncio.run(story())


@both
@pytest.mark.parametrize("pd_survives", [True, False], ids=["pd lives on", "pd is new"])
def test_a_lost_journal_is_rebuilt(kind: str, pd_survives: bool, tmp_path: Path) -> None:
    async def story() -> None:
        async with town(kind, tmp_path) as here:
            running = await here.pd("a")
            stores = await here.three_stores()
            before = await here.ready()
            if not pd_survives:
                await running.kill()
                here.pds.remove(running)
            await here.world.lose_stream(SUBJECTS.journal_stream)
            if not pd_survives:
                running = await here.pd("b")
            await eventually(lambda: running.service.core.state.lost_id > 0)
            after = await here.ready()
            assert after["cluster"] == before["cluster"]
            assert after["pd_epoch"] > before["pd_epoch"]
            late = await here.store("d")
            await eventually(late.joined.is_set)
            assert late.id > before["highest_id"] + LOSS_MARGIN - 1
            assert [store.created for store in stores] == [1, 1, 1]
            facts = await here.journal()
            assert not any(isinstance(fact, Bootstrapped) for fact in facts)
            assert sum(isinstance(fact, RebuildStarted) for fact in facts) >= 1
            rows = (await here.get("stores"))["stores"]
            assert [row["id"] for row in rows] == [1, 2, 3, late.id]

    asyncio.run(story())


@both
def test_lost_streams_are_made_anew(kind: str, tmp_path: Path) -> None:
    async def story() -> None:
        async with town(kind, tmp_path) as here:
            await here.pd("a")
            [store, *_] = await here.three_stores()
            for config in all_streams(SUBJECTS):
                await here.world.lose_stream(config.name)
            async with asyncio.timeout(20):
                for config in all_streams(SUBJECTS):
                    while await store.bus.history.state(config.name) is None:  # noqa: ASYNC110
                        await asyncio.sleep(0.05)
            await here.ready()

    asyncio.run(story())


@both
def test_the_bus_is_cut_and_mended(kind: str, tmp_path: Path) -> None:
    async def story() -> None:
        async with town(kind, tmp_path) as here:
            await here.pd("a")
            await here.three_stores()
            before = await here.ready()
            await here.world.cut()
            await here.world.mend()
            after = await here.ready()
            assert after["cluster"] == before["cluster"]
            late = await here.store("d")
            await eventually(late.joined.is_set)
            assert late.id == before["highest_id"] + 1

    asyncio.run(story())


def test_what_breaks_inside_stops_the_process(tmp_path: Path) -> None:
    async def story() -> None:
        async with town("memory", tmp_path) as here:
            running = await here.pd("a")
            await eventually(lambda: running.service.core.leading)

            def broken(message: Message, now: object) -> list[object]:
                raise AssertionError("an invariant is broken")

            running.service.core.on_message = broken  # type: ignore[method-assign, assignment]
            running.bus.send(SUBJECTS.pd_get("status"), b"")
            with pytest.raises(AssertionError, match="an invariant is broken"):
                await asyncio.wait_for(running.task, 5)

    asyncio.run(story())


def test_streams_are_made_once_and_drift_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def story() -> None:
        async with town("nats", tmp_path) as here:
            operator = await here.world.connect("somebody")
            wanted = all_streams(SUBJECTS)[0]
            other = msgspec.structs.replace(wanted, max_age=3_600.0)
            await operator.history.ensure(other)
            running = await here.pd("a")
            await eventually(lambda: running.service.core.leading)
            for config in all_streams(SUBJECTS):
                assert await operator.history.state(config.name) is not None
            assert await operator.history.ensure(other) == ()
            beat = Heartbeat.__struct_config__.tag
            operator.send(SUBJECTS.heartbeats.replace(">", "store.1"), str(beat).encode())
            records = await operator.history.read(SUBJECTS.heartbeat_stream, after=0, timeout=5)
            assert len(records) == 1

    with caplog.at_level("WARNING"):
        asyncio.run(story())
    assert "stream drifts" in caplog.text
