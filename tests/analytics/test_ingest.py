"""Streams into the warehouse: once each, in order, and never a silent jump."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from flaredb.bus.bus import StreamConfig
from flaredb.bus.memory_bus import MemoryBus
from flaredb_analytics import ingest as ingest_module
from flaredb_analytics.ingest import Ingest
from flaredb_analytics.warehouse import Warehouse, WarehouseBroken
from tests.analytics.facts import (
    EVENTS,
    HEARTBEATS,
    JOURNAL,
    MEMORY,
    STREAMS,
    SteppingClock,
    ask,
    elected,
    fact,
    heartbeat,
    hub_with_streams,
    publish,
    region_report,
)

pytestmark = pytest.mark.anyio

COUNT = "SELECT count(*) FROM events"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks follow each other fast, so that tests do not wait."""
    for name in ("PACE", "WAIT", "RETRY"):
        monkeypatch.setattr(ingest_module, name, 0.01)


@asynccontextmanager
async def ingesting(warehouse: Warehouse, bus: MemoryBus) -> AsyncIterator[Ingest]:
    """Ingestion under way, at the time of the facts: old heartbeats would be pruned."""
    ingest = Ingest(warehouse, bus.history, STREAMS, SteppingClock())
    task = asyncio.create_task(ingest.run())
    yield ingest
    task.cancel()
    await asyncio.wait([task])
    if not task.cancelled() and (error := task.exception()) is not None:
        raise error


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 (any condition, not only an event)
            await asyncio.sleep(0.005)


async def becomes(warehouse: Warehouse, query: str, *expected: tuple[Any, ...]) -> None:
    """Wait until `query` has this answer."""
    found: list[tuple[Any, ...]] = []
    try:
        async with asyncio.timeout(10):
            while found != list(expected):
                await asyncio.sleep(0.005)
                found = ask(warehouse, query)
    except TimeoutError:
        pytest.fail(f"{query}: {found}, expected {list(expected)}")


async def test_all_three_streams_arrive(warehouse: Warehouse) -> None:
    _, bus = await hub_with_streams()
    async with ingesting(warehouse, bus) as ingest:
        await publish(bus, elected(region=1), elected(region=2))
        await bus.history.append("flaredb.evt.pd.x.1.pd", fact("pd.took_over", 1), {})
        beat = msgspec.json.encode(heartbeat(1, 1, region_report(1)))
        assert bus.send("flaredb.hb.store.1", beat)

        await becomes(warehouse, COUNT, (3,))
        await becomes(warehouse, "SELECT region FROM region_heartbeats", (1,))
        await until(lambda: ingest.caught_up_once)

        assert {status.stream: status.seq for status in ingest.status()} == {
            EVENTS: 2,
            JOURNAL: 1,
            HEARTBEATS: 1,
        }
        assert ask(warehouse, "SELECT count(*) FROM gaps") == [(0,)]


async def test_the_position_outlives_the_process(tmp_path: Path) -> None:
    _, bus = await hub_with_streams()
    await publish(bus, elected(region=1))
    first = Warehouse(tmp_path, MEMORY)
    async with ingesting(first, bus):
        await becomes(first, COUNT, (1,))
    first.close()

    await publish(bus, elected(region=2))
    second = Warehouse(tmp_path, MEMORY)
    async with ingesting(second, bus):
        await becomes(second, "SELECT region FROM events ORDER BY number", (1,), (2,))
    assert second.cursors()[EVENTS].seq == 2
    second.close()


async def test_an_event_that_is_delivered_twice_is_there_once(warehouse: Warehouse) -> None:
    hub, bus = await hub_with_streams()
    async with ingesting(warehouse, bus):
        await publish(bus, elected(region=1))
        hub.streams[EVENTS].remembered.clear()  # the stream's window is over
        await publish(bus, elected(region=1), elected(region=2))

        await becomes(warehouse, "SELECT region, seq FROM events ORDER BY 1", (1, 1), (2, 3))
    assert warehouse.cursors()[EVENTS].seq == 3


async def test_a_stream_that_is_not_there_yet_is_waited_for(warehouse: Warehouse) -> None:
    hub, bus = await hub_with_streams()
    hub.lose_stream(JOURNAL)
    async with ingesting(warehouse, bus) as ingest:
        await until(lambda: ingest.caught_up_once)
        assert [status.exists for status in ingest.status()] == [True, False, True]

        await bus.history.ensure(StreamConfig(JOURNAL, ("flaredb.evt.pd.>",)))
        await bus.history.append("flaredb.evt.pd.x.1.pd", fact("pd.took_over", 1), {})

        await becomes(warehouse, "SELECT type FROM events", ("pd.took_over",))
    assert ask(warehouse, "SELECT count(*) FROM gaps") == [(0,)]


async def test_what_retention_takes_while_we_are_away_is_a_gap(warehouse: Warehouse) -> None:
    hub, bus = await hub_with_streams()
    await publish(bus, *(elected(region=n) for n in range(1, 4)))
    async with ingesting(warehouse, bus):
        await becomes(warehouse, COUNT, (3,))

    await publish(bus, *(elected(region=n) for n in range(4, 10)))
    hub.streams[EVENTS].expire_before(8)
    async with ingesting(warehouse, bus):
        await becomes(warehouse, COUNT, (5,))

    assert ask(warehouse, "SELECT stream, after_seq, before_seq, reason FROM gaps") == [
        (EVENTS, 3, 8, "retention")
    ]


async def test_a_stream_made_anew_is_read_from_its_beginning(warehouse: Warehouse) -> None:
    hub, bus = await hub_with_streams()
    await publish(bus, *(elected(region=n) for n in range(1, 4)))
    async with ingesting(warehouse, bus):
        await becomes(warehouse, COUNT, (3,))

        config = hub.streams[EVENTS].config
        hub.lose_stream(EVENTS)
        await bus.history.ensure(config)
        await publish(bus, *(elected(region=n) for n in range(3, 9)))

        await becomes(warehouse, COUNT, (8,))
    assert ask(warehouse, "SELECT after_seq, before_seq, reason FROM gaps") == [(3, 4, "recreated")]


async def test_a_rewound_stream_is_read_again_and_told(warehouse: Warehouse) -> None:
    hub, bus = await hub_with_streams()
    await publish(bus, *(elected(region=n) for n in range(1, 6)))
    async with ingesting(warehouse, bus):
        await becomes(warehouse, COUNT, (5,))

        hub.streams[EVENTS].rewind(2)
        await publish(bus, elected(region=77))

        await becomes(warehouse, COUNT, (6,))
    assert ask(warehouse, "SELECT reason FROM gaps") == [("rewound",)]


async def test_a_stream_rewound_while_we_are_away_is_noticed(warehouse: Warehouse) -> None:
    hub, bus = await hub_with_streams()
    await publish(bus, *(elected(region=n) for n in range(1, 6)))
    async with ingesting(warehouse, bus):
        await becomes(warehouse, COUNT, (5,))

    hub.streams[EVENTS].rewind(2)
    await publish(bus, *(elected(region=n) for n in range(11, 21)))
    async with ingesting(warehouse, bus):
        await becomes(warehouse, COUNT, (15,))

    assert ask(warehouse, "SELECT after_seq, before_seq, reason FROM gaps") == [(4, 6, "rewound")]


async def test_lost_connections_and_silent_streams_are_waited_out(warehouse: Warehouse) -> None:
    hub, bus = await hub_with_streams()
    sender = hub.connect("store")
    async with ingesting(warehouse, bus) as ingest:
        await until(lambda: ingest.caught_up_once)
        bus.disconnect()
        await publish(sender, elected(region=1))
        await until(lambda: "not connected" in ingest.status()[0].trouble)
        bus.reconnect()
        await becomes(warehouse, COUNT, (1,))

        hub.history_works = False
        await until(lambda: "does not answer" in ingest.status()[0].trouble)
        hub.history_works = True
        await publish(sender, elected(region=2))
        await becomes(warehouse, COUNT, (2,))
        await until(lambda: ingest.status()[0].trouble == "")
    assert ask(warehouse, "SELECT count(*) FROM gaps") == [(0,)]


@pytest.mark.parametrize(
    "odd",
    [
        b'{"type": "x", "id": "far", "at": 9223372036854775807}',
        b'{"type": "store.heartbeat", "id": "h", "store": {"store": "one"}, "regions": [1]}',
    ],
)
async def test_a_record_that_no_table_takes_is_kept_apart_from_the_rest(
    warehouse: Warehouse, odd: bytes
) -> None:
    _, bus = await hub_with_streams()
    await publish(bus, elected(region=1))
    await bus.history.append("flaredb.evt.store.x.1.1", odd, {})
    await publish(bus, elected(region=2))

    async with ingesting(warehouse, bus):
        await becomes(warehouse, "SELECT region FROM events ORDER BY seq", (1,), (None,), (2,))

    ((kind, payload),) = ask(warehouse, "SELECT type, payload ->> '$' FROM events WHERE seq = 2")
    assert (kind, payload.encode()) == ("unreadable", odd)
    assert warehouse.cursors()[EVENTS].seq == 3


async def test_more_than_a_batch_arrives_in_order(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest_module, "BATCH", 7)
    _, bus = await hub_with_streams()
    await publish(bus, *(elected(region=n) for n in range(1, 101)))
    async with ingesting(warehouse, bus):
        await becomes(warehouse, COUNT, (100,))

    numbers = ask(warehouse, "SELECT number, seq, region FROM events ORDER BY number")
    assert numbers == [(n, n, n) for n in range(1, 101)]


async def test_a_broken_warehouse_ends_ingestion_loudly(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, bus = await hub_with_streams()
    await publish(bus, elected())

    def broken(*_: object) -> None:
        raise WarehouseBroken("a block's checksum does not match")

    monkeypatch.setattr(warehouse, "write", broken)
    ingest = Ingest(warehouse, bus.history, STREAMS, SteppingClock())

    with pytest.raises(ExceptionGroup) as raised:
        await asyncio.wait_for(ingest.run(), 10)
    assert raised.group_contains(WarehouseBroken, match="checksum")
