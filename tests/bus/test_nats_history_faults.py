"""Streams on a real server that dies, freezes, or comes back without what it held."""

import asyncio

import pytest

from flaredb.bus.bus import Appended, AppendUnknown, BusError
from tests.bus.worlds import NatsWorld, eventually, stream

pytestmark = pytest.mark.anyio


async def test_what_was_appended_before_a_kill_is_there_after_it(nats_world: NatsWorld) -> None:
    bus = await nats_world.connect("one")
    await bus.history.ensure(stream())
    for number in range(1, 101):
        result = await bus.history.append("h.x", b"%d" % number, {}, expected_last=number - 1)
        assert result == Appended(number, duplicate=False)
    born = await bus.history.state("HISTORY")

    await nats_world.cut()
    await nats_world.mend()

    assert await bus.history.state("HISTORY") == born
    records = await bus.history.read("HISTORY", 0)
    assert [record.payload for record in records] == [b"%d" % n for n in range(1, 101)]


async def test_an_append_cut_off_by_a_kill_is_unknown_and_settled_by_reading(
    nats_world: NatsWorld,
) -> None:
    bus = await nats_world.connect("one")
    await bus.history.ensure(stream())

    nats_world.server.pause()
    appending = asyncio.create_task(bus.history.append("h.x", b"1", {}, expected_last=0))
    await eventually(lambda: bus.line.waiting == 0)
    nats_world.server.kill()
    result = await appending
    await nats_world.mend()

    assert isinstance(result, AppendUnknown)
    found = await bus.history.read("HISTORY", 0, timeout=0.2)
    assert [record.payload for record in found] in ([], [b"1"])
    repeated = await bus.history.append("h.x", b"2", {}, expected_last=len(found))
    assert repeated == Appended(len(found) + 1, duplicate=False)


async def test_a_server_without_its_folder_is_a_stream_that_is_gone(
    nats_world: NatsWorld,
) -> None:
    bus = await nats_world.connect("one")
    await bus.history.ensure(stream())
    await bus.history.append("h.x", b"1", {})

    await nats_world.cut()
    nats_world.server.lose_data()
    await nats_world.mend()

    assert await bus.history.state("HISTORY") is None
    with pytest.raises(BusError, match="HISTORY cannot be read"):
        await bus.history.read("HISTORY", 0)
    assert isinstance(await bus.history.append("h.x", b"1", {}), AppendUnknown)


async def test_large_records_are_read_in_batches_without_a_gap(nats_world: NatsWorld) -> None:
    bus = await nats_world.connect("one")
    await bus.history.ensure(stream())
    for number in range(30):
        await bus.history.append("h.x", bytes([number]) * 900_000, {})

    sequences: list[int] = []
    while records := await bus.history.read("HISTORY", len(sequences), timeout=0.1):
        sequences += [record.sequence for record in records]

    assert sequences == list(range(1, 31))
