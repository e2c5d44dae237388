"""A wire does what its states say, so that a test that cuts one has cut something."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import pytest

from flaredb.bus.nats_bus import NatsBus
from tests.bus.worlds import eventually
from tests.cluster.wires import Way, Wire
from tests.nats_server import NatsServer

pytestmark = [pytest.mark.cluster, pytest.mark.anyio]

MISSED_PINGS_SECONDS: Final = 4.5
"""Longer than it takes a connection to notice that pings are not answered."""


class Talk:
    """Somebody behind a wire and somebody who is not, each with what it has heard."""

    def __init__(self, wire: Wire, near: NatsBus, far: NatsBus) -> None:
        self.wire = wire
        self.near = near
        self.far = far
        self.by_near: list[bytes] = []
        self.by_far: list[bytes] = []

    async def begin(self) -> None:
        await self.near.subscribe("to.near", lambda message: self.by_near.append(message.payload))
        await self.far.subscribe("to.far.>", lambda message: self.by_far.append(message.payload))

    async def both_ways(self, word: bytes) -> None:
        """Say a word in each direction, and wait until both have come."""
        self.near.send("to.far.a", word)
        self.far.send("to.near", word)
        await eventually(lambda: self.by_far[-1:] == [word] and self.by_near[-1:] == [word])


@asynccontextmanager
async def talking(server: NatsServer) -> AsyncIterator[Talk]:
    wire = await Wire.open(server.url)
    near = await NatsBus.connect(wire.url, name="near")
    far = await NatsBus.connect(server.url, name="far")
    talk = Talk(wire, near, far)
    try:
        await talk.begin()
        await talk.both_ways(b"hello")
        yield talk
    finally:
        await near.close()
        await far.close()
        await wire.close()


async def test_what_is_held_comes_late_and_the_silence_is_noticed(nats_server: NatsServer) -> None:
    async with talking(nats_server) as talk:
        talk.wire.cut()
        talk.near.send("to.far.a", b"late")
        await eventually(lambda: not talk.near.connected)
        assert talk.by_far == [b"hello"]
        talk.wire.mend()
        await eventually(lambda: talk.near.connected and b"late" in talk.by_far)
        await talk.both_ways(b"again")


@pytest.mark.parametrize("lost", ["out", "into"])
async def test_messages_are_lost_and_nobody_notices(nats_server: NatsServer, lost: str) -> None:
    async with talking(nats_server) as talk:
        ways = (Way.LOSING, Way.OPEN) if lost == "out" else (Way.OPEN, Way.LOSING)
        talk.wire.cut(*ways)
        heard = talk.by_near if lost == "out" else talk.by_far
        lines, until = talk.near.counters.lines_lost, time.monotonic() + MISSED_PINGS_SECONDS
        while time.monotonic() < until:
            talk.near.send("to.far.a", b"%d" % len(heard))
            talk.far.send("to.near", b"%d" % len(heard))
            await asyncio.sleep(0.1)
        talk.wire.mend()
        await talk.both_ways(b"again")
        other = talk.by_far if lost == "out" else talk.by_near
        assert len(heard) > 10 and other == [b"hello", b"again"]
        assert talk.near.counters.lines_lost == lines


async def test_connections_are_refused(nats_server: NatsServer) -> None:
    async with talking(nats_server) as talk:
        talk.wire.refuse()
        await eventually(lambda: not talk.near.connected)
        talk.wire.mend()
        await eventually(lambda: talk.near.connected)
        await talk.both_ways(b"again")


async def test_some_messages_wait_aside_and_others_do_not(nats_server: NatsServer) -> None:
    async with talking(nats_server) as talk:
        talk.wire.set_aside("to.far.b")
        talk.near.send("to.far.b", b"first")
        talk.near.send("to.far.b", b"second")
        await talk.both_ways(b"other")
        assert talk.wire.aside == 2 and talk.by_far == [b"hello", b"other"]
        talk.wire.release()
        await eventually(lambda: talk.by_far == [b"hello", b"other", b"first", b"second"])
