"""What only the bus in memory does: delivery in the driver's hands, and streams that misbehave."""

import pytest

from flaredb.bus.bus import Appended, AppendUnknown, BusError, Message
from flaredb.bus.memory_bus import MemoryHub
from tests.bus.worlds import stream

pytestmark = pytest.mark.anyio


class StandingClock:
    """A clock that moves when a test says so."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> int:
        return int(self.now * 1_000)


async def test_nothing_moves_until_the_driver_delivers() -> None:
    hub = MemoryHub(StandingClock())
    here, there = hub.connect("here"), hub.connect("there")
    got: list[Message] = []
    await there.subscribe("s", got.append)

    assert here.send("s", b"1")
    assert here.send("s", b"2")
    assert (hub.pending, got) == (2, [])

    assert hub.deliver_next(place=1)
    assert hub.drop().message.payload == b"1"
    assert not hub.deliver_next()
    assert [message.payload for message in got] == [b"2"]


async def test_an_envelope_tells_between_whom_it_travels() -> None:
    hub = MemoryHub(StandingClock())
    here, there = hub.connect("here"), hub.connect("there")
    await there.subscribe("s", lambda message: None)

    assert here.send("s", b"1")

    (envelope,) = hub.on_the_way
    assert (envelope.sender, envelope.receiver.name) == ("here", "there")


async def test_a_lost_connection_loses_what_was_on_its_way_to_it() -> None:
    hub = MemoryHub(StandingClock())
    here, there = hub.connect("here"), hub.connect("there")
    got: list[Message] = []
    await there.subscribe("s", got.append)
    await here.subscribe("s", got.append)
    assert here.send("s", b"1")

    there.disconnect()

    assert hub.deliver_all() == 1
    there.reconnect()
    assert here.send("s", b"2")
    assert hub.deliver_all() == 2


async def test_a_message_id_is_forgotten_after_the_window() -> None:
    clock = StandingClock()
    bus = MemoryHub(clock).connect("one")
    await bus.history.ensure(stream())
    once = {"Nats-Msg-Id": "c.1"}
    assert await bus.history.append("h.x", b"", once) == Appended(1, duplicate=False)

    clock.now += 119
    assert await bus.history.append("h.x", b"", once) == Appended(1, duplicate=True)
    clock.now += 2
    assert await bus.history.append("h.x", b"", once) == Appended(2, duplicate=False)


async def test_streams_may_fail_while_messages_go_on() -> None:
    hub = MemoryHub(StandingClock())
    bus = hub.connect("one")
    got: list[Message] = []
    await bus.history.ensure(stream())
    await bus.subscribe("h.>", got.append)

    hub.history_works = False
    assert isinstance(await bus.history.append("h.1", b"", {}), AppendUnknown)
    with pytest.raises(BusError, match="JetStream does not answer"):
        await bus.history.read("HISTORY", 0)
    assert bus.send("h.2", b"")
    hub.deliver_all()
    hub.history_works = True

    assert [message.subject for message in got] == ["h.2"]
    assert await bus.history.read("HISTORY", 0, timeout=0) == []


async def test_retention_and_rewinding_show_in_the_state() -> None:
    hub = MemoryHub(StandingClock())
    bus = hub.connect("one")
    await bus.history.ensure(stream())
    for _ in range(5):
        await bus.history.append("h.x", b"", {})
    held = hub.streams["HISTORY"]

    held.expire_before(4)
    assert (held.state().first, held.state().last) == (4, 5)
    assert [record.sequence for record in held.after(0, 10)] == [4, 5]

    held.expire_before(9)
    assert (held.state().first, held.state().last) == (6, 5)

    held.rewind(2)
    assert (held.state().first, held.state().last) == (2, 2)
    assert await bus.history.append("h.x", b"", {}) == Appended(3, duplicate=False)
