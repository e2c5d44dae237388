"""What the port promises, asked of every adapter: messages, requests, connections."""

import asyncio

import pytest

from flaredb.bus.bus import BusError, Message
from flaredb.bus.checks import MAX_PAYLOAD
from tests.bus.worlds import World, eventually

pytestmark = pytest.mark.anyio


async def test_a_message_reaches_every_matching_subscription(world: World) -> None:
    here, there = await world.connect("here"), await world.connect("there")
    got: dict[str, list[Message]] = {p: [] for p in ("a.1.b", "a.*.b", "a.>", "a.*", "z")}
    for pattern, messages in got.items():
        await there.subscribe(pattern, messages.append)

    for subject in ("a.1.b", "a.2.b", "a.3", "a", "z"):
        assert here.send(subject, b"x")

    await eventually(lambda: bool(got["z"]))
    assert {pattern: [m.subject for m in messages] for pattern, messages in got.items()} == {
        "a.1.b": ["a.1.b"],
        "a.*.b": ["a.1.b", "a.2.b"],
        "a.>": ["a.1.b", "a.2.b", "a.3"],
        "a.*": ["a.3"],
        "z": ["z"],
    }


async def test_payloads_of_all_sizes_arrive_unchanged_and_in_order(world: World) -> None:
    here, there = await world.connect("here"), await world.connect("there")
    got: list[Message] = []
    await there.subscribe("sizes", got.append)
    sizes = [0, 1, 200, 65_536, 0, MAX_PAYLOAD, 3] * 3
    sent = [bytes([number]) * size for number, size in enumerate(sizes)]

    assert [here.send("sizes", payload, "back") for payload in sent] == [True] * len(sent)

    await eventually(lambda: len(got) == len(sent))
    assert [message.payload for message in got] == sent
    assert {message.reply for message in got} == {"back"}


async def test_payload_that_looks_like_protocol_is_only_payload(world: World) -> None:
    here, there = await world.connect("here"), await world.connect("there")
    got: list[bytes] = []
    await there.subscribe("odd", lambda message: got.append(message.payload))
    odd = [b"\r\n", b"PING\r\n", b"MSG odd 1 5\r\nhello\r\n", b"-ERR 'x'\r\n", b"\x00\xff" * 9]

    assert [here.send("odd", payload) for payload in odd] == [True] * len(odd)

    await eventually(lambda: len(got) == len(odd))
    assert got == odd


async def test_a_sender_hears_itself_when_it_subscribes(world: World) -> None:
    bus = await world.connect("alone")
    got: list[Message] = []
    await bus.subscribe("mirror", got.append)

    assert bus.send("mirror", b"me")

    await eventually(lambda: len(got) == 1)


async def test_nothing_is_delivered_after_stop(world: World) -> None:
    here, there = await world.connect("here"), await world.connect("there")
    stopped: list[Message] = []
    kept: list[Message] = []
    subscription = await there.subscribe("s", stopped.append)
    await there.subscribe("s", kept.append)
    assert here.send("s", b"1")
    await eventually(lambda: len(stopped) == 1)

    await subscription.stop()
    assert here.send("s", b"2")

    await eventually(lambda: len(kept) == 2)
    assert len(stopped) == 1


async def test_a_request_is_answered(world: World) -> None:
    here, there = await world.connect("here"), await world.connect("there")
    await there.subscribe("ask", lambda m: _answer(there.send(m.reply, b"re:" + m.payload)))

    answers = await asyncio.gather(*(here.request("ask", b"%d" % n, 5) for n in range(20)))

    assert answers == [b"re:%d" % n for n in range(20)]


async def test_a_request_that_nobody_hears_ends_at_once(world: World) -> None:
    bus = await world.connect("alone")

    async with asyncio.timeout(5):
        assert await bus.request("nobody", b"?", 60) is None


async def test_a_request_that_is_ignored_ends_at_its_timeout(world: World) -> None:
    here, there = await world.connect("here"), await world.connect("there")
    await there.subscribe("ignored", lambda message: None)

    assert await here.request("ignored", b"?", 0.1) is None


async def test_a_send_with_a_reply_subject_learns_that_nobody_listens(world: World) -> None:
    bus = await world.connect("alone")
    got: list[Message] = []
    inbox = bus.new_inbox()
    await bus.subscribe(inbox, got.append)

    assert bus.send("nobody", b"x", inbox)

    await eventually(lambda: len(got) == 1)
    assert got[0].no_responders
    assert got[0].subject == inbox
    assert got[0].payload == b""


async def test_inboxes_differ(world: World) -> None:
    here, there = await world.connect("here"), await world.connect("there")

    inboxes = {bus.new_inbox() for bus in (here, there) for _ in range(100)}

    assert len(inboxes) == 200


async def test_while_the_connection_is_down_sends_are_dropped_for_good(world: World) -> None:
    here, there = await world.connect("here"), await world.connect("there")
    got: list[bytes] = []
    await there.subscribe("s", lambda message: got.append(message.payload))
    assert here.send("s", b"before")
    await eventually(lambda: got == [b"before"])

    await world.cut()
    assert not here.connected
    assert not here.send("s", b"during")
    assert await here.request("s", b"during", 1) is None
    await world.mend()

    assert here.send("s", b"after")
    await eventually(lambda: b"after" in got)
    assert got == [b"before", b"after"]


async def test_listeners_hear_of_both_ways(world: World) -> None:
    bus = await world.connect("one")
    heard: list[bool] = []
    bus.on_connection(heard.append)

    await world.cut()
    await world.mend()
    await eventually(lambda: len(heard) == 2)
    await world.cut()
    await world.mend()

    await eventually(lambda: len(heard) == 4)
    assert heard == [False, True, False, True]


async def test_a_subscription_made_while_down_works_when_back(world: World) -> None:
    here, there = await world.connect("here"), await world.connect("there")
    got: list[Message] = []
    await world.cut()
    await there.subscribe("late", got.append)
    stopped = await there.subscribe("late", lambda message: pytest.fail("it was stopped"))
    await stopped.stop()

    await world.mend()
    assert here.send("late", b"x")

    await eventually(lambda: len(got) == 1)


async def test_requests_work_again_after_a_cut(world: World) -> None:
    here, there = await world.connect("here"), await world.connect("there")
    await there.subscribe("ask", lambda m: _answer(there.send(m.reply, m.payload)))
    assert await here.request("ask", b"1", 5) == b"1"

    await world.cut()
    await world.mend()

    assert await here.request("ask", b"2", 5) == b"2"


async def test_oversized_payloads_are_refused_here(world: World) -> None:
    bus = await world.connect("one")
    too_large = bytes(MAX_PAYLOAD + 1)

    assert not bus.send("s", too_large)
    with pytest.raises(BusError, match="exceeds the limit"):
        await bus.request("s", too_large, 1)
    with pytest.raises(BusError, match="exceeds the limit"):
        await bus.history.append("s", too_large, {})
    assert bus.connected


@pytest.mark.parametrize("subject", ["", "a b", "a\r\nPUB evil 1", "a\tb", "a\x00"])
async def test_malformed_subjects_are_refused_here(world: World, subject: str) -> None:
    bus = await world.connect("one")

    with pytest.raises(ValueError, match="is not a subject"):
        bus.send(subject, b"")
    with pytest.raises(ValueError, match="is not a subject"):
        await bus.subscribe(subject, lambda message: None)
    with pytest.raises(ValueError, match="is not a subject"):
        await bus.history.append(subject, b"", {})
    assert bus.connected


async def test_what_waits_leaves_before_a_close(world: World) -> None:
    here, there = await world.connect("here"), await world.connect("there")
    got: list[Message] = []
    await there.subscribe("bye", got.append)

    assert [here.send("bye", bytes(10_000)) for _ in range(50)] == [True] * 50
    await here.close()

    await eventually(lambda: len(got) == 50)
    assert not here.connected
    assert not here.send("bye", b"too late")


def _answer(sent: bool) -> None:
    assert sent
