"""What only a real server does: it dies under traffic, freezes, complains, and is fed garbage."""

import asyncio
import gc
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from flaredb.bus import nats_bus
from flaredb.bus.bus import BusError, Message
from flaredb.bus.nats_bus import Login, NatsBus
from flaredb.bus.nats_line import FastLine, PlainLine, new_line, parse_headers
from flaredb.playground.ports import free_port
from tests.bus.worlds import NatsWorld, eventually

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def traffic(bus: NatsBus, sent: list[int]) -> AsyncIterator[None]:
    """Numbers sent without pause; `sent` holds those that were accepted."""

    async def send_for_ever() -> None:
        number = 0
        while True:
            for _ in range(20):
                number += 1
                if bus.send("numbers", b"%d" % number):
                    sent.append(number)
            await asyncio.sleep(0.001)

    task = asyncio.create_task(send_for_ever())
    yield
    task.cancel()


async def one_outage(world: NatsWorld, sender: NatsBus, sent: list[int], got: list[int]) -> None:
    """Kill the server under traffic, have sends dropped, and have it back."""
    seen = len(got)
    await eventually(lambda: len(got) > seen + 1_000)
    await world.cut()
    dropped, last = sender.counters.dropped, sent[-1]
    await eventually(lambda: sender.counters.dropped > dropped + 100)
    await world.mend()
    await eventually(lambda: got[-1] > last)


async def test_a_killed_server_loses_messages_but_repeats_and_delays_none(
    nats_world: NatsWorld,
) -> None:
    here, there = await nats_world.connect("here"), await nats_world.connect("there")
    got: list[int] = []
    sent: list[int] = []
    heard: list[bool] = []
    here.on_connection(heard.append)
    await there.subscribe("numbers", lambda message: got.append(int(message.payload)))

    async with traffic(here, sent):
        for _ in range(3):
            await one_outage(nats_world, here, sent, got)

    assert heard == [False, True] * 3
    assert got == sorted(set(got)), "messages were repeated or overtook each other"
    assert set(got) <= set(sent), "a message that was refused arrived"
    assert here.counters.lines_lost == 3


async def test_a_lost_connection_and_its_return_are_logged(
    nats_world: NatsWorld, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", nats_bus.__name__)
    bus = await nats_world.connect("one")
    await nats_world.cut()
    await eventually(lambda: not bus.connected, 5)
    await nats_world.mend()
    await eventually(lambda: len(caplog.messages) == 2)
    lost, back = caplog.messages
    assert lost.startswith("the connection one to NATS is lost: ")
    assert back == "the connection one to NATS is back"


async def test_what_arrives_before_all_subscriptions_are_back_is_answered(
    nats_world: NatsWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    asker, answerer = await nats_world.connect("asker"), await nats_world.connect("answerer")
    flush, go_on = FastLine.flush, asyncio.Event()

    def say(message: Message) -> None:
        assert answerer.send(message.reply, b"a")

    async def flush_late(line: FastLine) -> None:
        if line.client.options["name"] == "answerer":
            await go_on.wait()
        await flush(line)

    await answerer.subscribe("q", say)
    await nats_world.cut()
    monkeypatch.setattr(FastLine, "flush", flush_late)
    nats_world.server.start()
    await eventually(lambda: asker.connected)

    async with asyncio.timeout(5):
        while (answer := await asker.request("q", b"", 5.0)) is None:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert answer == b"a" and not answerer.connected
    go_on.set()
    await eventually(lambda: answerer.connected)


async def test_a_frozen_server_is_noticed_and_what_it_held_is_not_sent_again(
    nats_world: NatsWorld,
) -> None:
    here, there = await nats_world.connect("here"), await nats_world.connect("there")
    got: list[bytes] = []
    await there.subscribe("s", lambda message: got.append(message.payload))
    assert here.send("s", b"before")
    await eventually(lambda: got == [b"before"])

    nats_world.server.pause()
    # More than the socket takes, so that most of it waits in this process.
    accepted = [here.send("s", bytes(1_000_000)) for _ in range(40)].count(True)
    await eventually(lambda: not here.connected and not there.connected, 5)
    nats_world.server.resume()
    await eventually(lambda: here.connected and there.connected)
    assert here.send("s", b"after")
    await eventually(lambda: b"after" in got)

    assert accepted == nats_bus.MAX_WAITING // 1_000_000
    assert len(got) - 2 < accepted


async def test_pings_that_a_frozen_server_never_answered_are_no_fault_of_the_process(
    nats_world: NatsWorld,
) -> None:
    bus = await nats_world.connect("one")
    reports: list[str] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: reports.append(str(context)))

    nats_world.server.pause()
    await eventually(lambda: bus.counters.lines_lost == 1, 5)
    nats_world.server.resume()
    await eventually(lambda: bus.connected)
    gc.collect()  # a future that failed unheard is reported when it goes

    loop.set_exception_handler(None)
    assert reports == []


async def test_an_error_that_closes_the_connection_is_survived(nats_world: NatsWorld) -> None:
    bus = await nats_world.connect("one")
    got: list[Message] = []
    heard: list[bool] = []
    bus.on_connection(heard.append)
    await bus.subscribe("s", got.append)

    bus.line.post("s", "", bytes(bus.max_payload + 1))  # past the check: the server says -ERR

    await eventually(lambda: heard == [False, True])
    assert bus.send("s", b"after")
    await eventually(lambda: [message.payload for message in got] == [b"after"])


async def test_a_server_that_limits_connections_is_tried_until_it_lets_us_in(
    nats_world: NatsWorld,
) -> None:
    nats_world.server.stop()
    nats_world.server.extra = "max_connections: 1"
    nats_world.server.start()
    first = await nats_world.connect("first")

    with pytest.raises(BusError, match=r"maximum connections|no NATS server answers"):
        await NatsBus.connect(nats_world.server.url, name="second", timeout=1)
    await first.close()

    second = await nats_world.connect("second")
    assert second.connected


async def test_a_denied_subject_is_counted_and_closes_nothing(nats_world: NatsWorld) -> None:
    nats_world.server.stop()
    nats_world.server.extra = (
        'authorization { users: [ { user: u, password: p, permissions: { publish: "ok.>" } } ] }'
    )
    nats_world.server.start()
    bus = await NatsBus.connect(
        nats_world.server.url, name="u", login=Login(user="u", password="p")
    )

    assert bus.send("forbidden", b"x")
    await eventually(lambda: bus.line.errors == 1)

    assert "permissions violation" in bus.line.last_error
    assert bus.connected
    await bus.close()


async def test_a_wrong_password_is_told(nats_world: NatsWorld) -> None:
    nats_world.server.stop()
    nats_world.server.extra = "authorization { user: u, password: p }"
    nats_world.server.start()

    with pytest.raises(BusError, match=r"(?i)authorization violation"):
        await NatsBus.connect(
            nats_world.server.url, name="u", login=Login(user="u", password="wrong"), timeout=1
        )


async def test_no_server_is_told_with_its_address() -> None:
    url = f"nats://127.0.0.1:{free_port()}"

    with pytest.raises(BusError, match=f"no NATS server answers at {url}"):
        await NatsBus.connect(url, name="one", timeout=0.5)


async def test_the_time_to_connect_is_over_even_where_its_end_meets_a_failure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opened: list[PlainLine] = []

    class Swallowing(PlainLine):
        async def open(self, servers: list[str], options: Mapping[str, Any]) -> None:
            opened.append(self)
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                if len(opened) > 1:
                    raise
            raise OSError("the server's certificate is not signed")

        async def abandon(self) -> None:
            pass

    monkeypatch.setattr("flaredb.bus.nats_bus.new_line", lambda fast: Swallowing())
    async with asyncio.timeout(10):
        with pytest.raises(BusError, match="certificate is not signed"):
            await NatsBus.connect("nats://127.0.0.1:1", name="one", timeout=0.1)


async def test_of_several_servers_the_one_that_answers_is_used(nats_world: NatsWorld) -> None:
    urls = f"nats://127.0.0.1:{free_port()}, {nats_world.server.url}"

    bus = await NatsBus.connect(urls, name="one")
    assert bus.connected
    await nats_world.cut()
    await eventually(lambda: not bus.connected)
    await nats_world.mend()
    await eventually(lambda: bus.connected)
    await bus.close()


async def test_a_slow_handler_stalls_its_own_process_only(nats_world: NatsWorld) -> None:
    here, there = await nats_world.connect("here"), await nats_world.connect("there")
    got: list[int] = []

    def slow(message: Message) -> None:
        threading.Event().wait(0.001)
        got.append(int(message.payload[:8]))

    await there.subscribe("s", slow)
    sent = [n for n in range(2_000) if here.send("s", b"%08d" % n + bytes(4_000))]

    await eventually(lambda: len(got) == len(sent), 60)
    assert got == sent
    assert there.connected


async def test_a_handler_that_raises_is_reported_and_the_rest_goes_on(
    nats_world: NatsWorld,
) -> None:
    bus = await nats_world.connect("one")
    got: list[bytes] = []
    reports: list[str] = []

    def handler(message: Message) -> None:
        assert message.payload != b"2", "a broken invariant"
        got.append(message.payload)

    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: reports.append(str(context["exception"])))
    await bus.subscribe("s", handler)
    for payload in (b"1", b"2", b"3"):
        assert bus.send("s", payload)

    await eventually(lambda: len(got) == 2)
    loop.set_exception_handler(None)
    assert got == [b"1", b"3"]
    assert reports[0].startswith("a broken invariant")


async def test_the_kind_of_line_follows_the_version_of_the_library(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert isinstance(new_line(), FastLine)
    monkeypatch.setattr("flaredb.bus.nats_line.__version__", "99.0.0")
    line = new_line()
    assert type(line) is PlainLine


def test_headers_are_read_as_the_server_writes_them() -> None:
    assert parse_headers(b"NATS/1.0\r\nA: b\r\nC:d: e\r\n\r\n") == {"A": "b", "C": "d: e"}
    assert parse_headers(b"NATS/1.0 503\r\n\r\n") == {"Status": "503"}
    assert parse_headers(b"NATS/1.0 404 Message Not Found\r\n\r\n") == {"Status": "404"}


async def test_a_message_that_nobody_can_answer_is_dropped(nats_world: NatsWorld) -> None:
    """nats-server takes any bytes for where an answer is to go; that must not be tried."""
    bus = await nats_world.connect("here")
    got: list[Message] = []
    await bus.subscribe("questions", got.append)
    await bus.line.flush()
    host, _, port = nats_world.server.url.removeprefix("nats://").rpartition(":")
    _, writer = await asyncio.open_connection(host, int(port))
    for reply in (b"_INBOX.x\x01y", b"_INBOX.\xff\xfe", b"_INBOX.good"):
        writer.write(b"PUB questions %s 1\r\nq\r\n" % reply)
    await writer.drain()
    await eventually(lambda: bool(got))
    writer.close()
    assert [message.reply for message in got] == ["_INBOX.good"]
