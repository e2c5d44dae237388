"""What the port promises of streams, asked of every adapter."""

import asyncio

import pytest

from flaredb.bus.bus import (
    Appended,
    AppendUnknown,
    Bus,
    BusError,
    Message,
    StreamConfig,
    StreamState,
    WrongSequence,
)
from tests.bus.worlds import World, eventually, stream

pytestmark = pytest.mark.anyio


async def _fill(bus: Bus, count: int) -> None:
    for number in range(1, count + 1):
        result = await bus.history.append(f"h.{number}", b"%d" % number, {})
        assert result == Appended(number, duplicate=False)


async def test_a_stream_is_created_once_and_its_drift_is_told(world: World) -> None:
    history = (await world.connect("one")).history
    assert await history.state("HISTORY") is None

    assert await history.ensure(stream()) == ()
    assert await history.ensure(stream()) == ()

    other = StreamConfig("HISTORY", ("h.>", "i.>"), max_age=60, deny_delete=False)
    assert await history.ensure(other) == (
        "HISTORY.subjects is ('h.>',), expected ('h.>', 'i.>')",
        "HISTORY.max_age is 0, expected 60",
        "HISTORY.deny_delete is True, expected False",
    )
    assert await history.ensure(stream()) == ()


async def test_a_new_stream_is_empty(world: World) -> None:
    history = (await world.connect("one")).history
    await history.ensure(stream())

    state = await history.state("HISTORY")

    assert isinstance(state, StreamState)
    assert (state.first, state.last) == (0, 0)
    assert state.created > 1_600_000_000_000
    assert await history.read("HISTORY", 0, timeout=0.05) == []


async def test_records_come_back_as_appended_in_order(world: World) -> None:
    bus = await world.connect("one")
    await bus.history.ensure(stream())
    headers = {"Nats-Msg-Id": "c.1", "ce-type": "io.flaredb.x", "odd": "a: b"}
    assert await bus.history.append("h.a", b"\x00\r\n\xff", headers) == Appended(1, False)
    assert await bus.history.append("h.b", b"", {}) == Appended(2, False)

    first, second = await bus.history.read("HISTORY", 0)

    assert (first.sequence, first.subject, first.payload) == (1, "h.a", b"\x00\r\n\xff")
    assert dict(first.headers) == headers
    assert (second.sequence, second.subject, second.payload) == (2, "h.b", b"")
    assert dict(second.headers) == {}
    assert 1_600_000_000_000 < first.time <= second.time


async def test_reading_goes_on_after_a_position(world: World) -> None:
    bus = await world.connect("one")
    await bus.history.ensure(stream())
    await _fill(bus, 7)

    read = bus.history.read
    assert [r.sequence for r in await read("HISTORY", 0, limit=3)] == [1, 2, 3]
    assert [r.sequence for r in await read("HISTORY", 3, limit=3)] == [4, 5, 6]
    assert [r.sequence for r in await read("HISTORY", 6, limit=3)] == [7]
    assert await read("HISTORY", 7, timeout=0.05) == []
    assert await read("HISTORY", 99, timeout=0.05) == []


async def test_a_waiting_reader_gets_what_comes(world: World) -> None:
    here, there = await world.connect("here"), await world.connect("there")
    await here.history.ensure(stream())
    reading = asyncio.create_task(here.history.read("HISTORY", 0, timeout=10))
    await asyncio.sleep(0)

    await there.history.append("h.x", b"news", {})

    assert [record.payload for record in await reading] == [b"news"]


async def test_a_plain_send_is_kept_and_an_append_is_heard(world: World) -> None:
    here, there = await world.connect("here"), await world.connect("there")
    await here.history.ensure(stream())
    heard: list[Message] = []
    await there.subscribe("h.>", heard.append)

    assert here.send("h.plain", b"1")
    await eventually(lambda: len(heard) == 1)
    await here.history.append("h.kept", b"2", {"name": "value"})

    await eventually(lambda: len(heard) == 2)
    assert [message.payload for message in heard] == [b"1", b"2"]
    assert [r.subject for r in await here.history.read("HISTORY", 0)] == ["h.plain", "h.kept"]


async def test_a_message_id_is_kept_once(world: World) -> None:
    history = (await world.connect("one")).history
    await history.ensure(stream())
    once = {"Nats-Msg-Id": "c.7"}

    assert await history.append("h.x", b"1", once) == Appended(1, duplicate=False)
    assert await history.append("h.x", b"1", once) == Appended(1, duplicate=True)
    assert await history.append("h.x", b"2", {"Nats-Msg-Id": "c.8"}) == Appended(2, False)


async def test_an_expected_sequence_fences(world: World) -> None:
    history = (await world.connect("one")).history
    await history.ensure(stream())

    assert await history.append("h.x", b"1", {}, expected_last=0) == Appended(1, False)
    assert await history.append("h.x", b"2", {}, expected_last=0) == WrongSequence(1)
    assert await history.append("h.x", b"2", {}, expected_last=5) == WrongSequence(1)
    assert await history.append("h.x", b"2", {}, expected_last=1) == Appended(2, False)


async def test_the_expected_sequence_is_looked_at_before_the_message_id(world: World) -> None:
    history = (await world.connect("one")).history
    await history.ensure(stream())
    once = {"Nats-Msg-Id": "c.7"}

    assert await history.append("h.x", b"1", once, expected_last=0) == Appended(1, False)
    assert await history.append("h.x", b"1", once, expected_last=0) == WrongSequence(1)
    assert await history.append("h.x", b"1", once, expected_last=1) == Appended(1, True)


async def test_of_two_that_race_with_one_expectation_one_wins(world: World) -> None:
    here, there = await world.connect("here"), await world.connect("there")
    await here.history.ensure(stream())

    results = await asyncio.gather(
        *(bus.history.append("h.x", b"", {}, expected_last=0) for bus in (here, there) * 5)
    )

    assert sorted(map(str, results)) == sorted(
        map(str, [Appended(1, False)] + [WrongSequence(1)] * 9)
    )


async def test_an_append_that_no_stream_takes_is_unknown(world: World) -> None:
    history = (await world.connect("one")).history

    assert isinstance(await history.append("nowhere.x", b"", {}), AppendUnknown)


async def test_streams_answer_nothing_while_the_connection_is_down(world: World) -> None:
    bus = await world.connect("one")
    await bus.history.ensure(stream())
    await _fill(bus, 2)

    await world.cut()
    assert isinstance(await bus.history.append("h.3", b"3", {}), AppendUnknown)
    for question in (
        bus.history.read("HISTORY", 0),
        bus.history.state("HISTORY"),
        bus.history.ensure(stream()),
    ):
        with pytest.raises(BusError):
            await question
    await world.mend()

    assert await bus.history.append("h.3", b"3", {}) == Appended(3, False)
    assert [r.sequence for r in await bus.history.read("HISTORY", 0)] == [1, 2, 3]


async def test_a_lost_stream_is_an_error_and_a_new_one_is_empty(world: World) -> None:
    bus = await world.connect("one")
    await bus.history.ensure(stream())
    await _fill(bus, 3)
    before = await bus.history.state("HISTORY")

    await world.lose_stream("HISTORY")
    assert await bus.history.state("HISTORY") is None
    with pytest.raises(BusError):
        await bus.history.read("HISTORY", 0)

    await bus.history.ensure(stream())
    after = await bus.history.state("HISTORY")
    assert before is not None and after is not None
    assert after.created >= before.created
    assert (after.first, after.last) == (0, 0)
