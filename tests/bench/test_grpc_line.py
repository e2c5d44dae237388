"""The HTTP/2 driver: frames, windows and refusals, against a server in this process."""

import asyncio
import struct
from collections.abc import Callable
from functools import partial

import pytest

from tests.bench import http2
from tests.bench.grpc_line import CallFailed, GrpcLine, Method
from tests.bench.http2 import Frame, Frames, FrameType
from tests.bench.load import Stopwatch

MESSAGE = bytes(300)
BODY_BYTES = len(MESSAGE) + 5


class Server(asyncio.Protocol):
    """Answers each call, with a message or only with trailers, and keeps its window small.

    It gives the window back only when a client would overrun it, so a client that ignores windows
    is caught.
    """

    def __init__(self, refuses: bool = False) -> None:
        self.refuses = refuses
        self.window = http2.DEFAULT_WINDOW
        self.greeting = len(http2.PREFACE)
        self.frames = Frames()
        self.calls = 0
        self.acknowledged: set[int] = set()
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say hello, and ask for a sign of life."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(http2.settings([(http2.SETTING_MAX_STREAMS, 1_000)]))
        transport.write(http2.encode(FrameType.PING, 0, 0, b"12345678"))

    def data_received(self, data: bytes) -> None:
        """Cut off the preface, then handle frames."""
        greeting, data = data[: self.greeting], data[self.greeting :]
        self.greeting -= len(greeting)
        for frame in self.frames.feed(data):
            self.handle(frame)

    def handle(self, frame: Frame) -> None:
        """Answer a call when its message is there."""
        assert self.transport is not None
        if frame.flags & http2.ACK and frame.type in (FrameType.PING, FrameType.SETTINGS):
            self.acknowledged.add(frame.type)
        if frame.type == FrameType.DATA:
            self.calls += 1
            self.window -= len(frame.payload)
            assert self.window >= 0, "the client overran the window"
            self.transport.write(self.answer(frame.stream))
            if self.window < BODY_BYTES:
                self.transport.write(http2.window_update(0, http2.DEFAULT_WINDOW - self.window))
                self.window = http2.DEFAULT_WINDOW

    def answer(self, stream: int) -> bytes:
        """Headers, message, trailers; a refusal is trailers alone."""
        trailers = http2.encode(
            FrameType.HEADERS, http2.END_STREAM | http2.END_HEADERS, stream, b""
        )
        if self.refuses:
            return trailers
        headers = http2.encode(FrameType.HEADERS, http2.END_HEADERS, stream, b"")
        return headers + http2.encode(FrameType.DATA, 0, stream, b"answer") + trailers


def calls_then_stop(count: int) -> Stopwatch:
    """A stopwatch whose clock moves with each look, so that it stops after some `count` calls."""
    moments = iter(range(1_000_000))
    return Stopwatch(0, 2 * count, lambda: float(next(moments)))


async def call(server: Server, stopwatch: Stopwatch, in_flight: int) -> None:
    """Run the driver against the server until the stopwatch is done."""
    loop = asyncio.get_running_loop()
    listener = await loop.create_server(lambda: server, "127.0.0.1", 0)
    host, port = listener.sockets[0].getsockname()
    make_line: Callable[[], GrpcLine] = partial(GrpcLine, f"{host}:{port}")
    _, line = await loop.create_connection(make_line, host, port)
    try:
        await line.run(Method("/some/Method", lambda: MESSAGE, 1), in_flight, stopwatch)
    finally:
        line.close()
        listener.close()
        await listener.wait_closed()


def test_calls_are_kept_within_the_window() -> None:
    """512 calls in flight are far more bytes than the window holds."""
    server, stopwatch = Server(), calls_then_stop(5_000)
    asyncio.run(asyncio.wait_for(call(server, stopwatch, 512), 30))
    assert server.calls >= 5_000
    assert stopwatch.sample().per_second > 0
    assert server.acknowledged == {FrameType.PING, FrameType.SETTINGS}


def test_a_refused_call_ends_the_run() -> None:
    with pytest.raises(CallFailed, match="/some/Method was refused"):
        asyncio.run(asyncio.wait_for(call(Server(refuses=True), calls_then_stop(10), 1), 30))


def test_a_closed_connection_ends_the_run() -> None:
    class Closing(Server):
        def handle(self, frame: Frame) -> None:
            assert self.transport is not None
            self.transport.close()

    with pytest.raises(CallFailed, match="closed"):
        asyncio.run(asyncio.wait_for(call(Closing(), calls_then_stop(10), 1), 30))


def test_a_going_server_ends_the_run() -> None:
    class Going(Server):
        def answer(self, stream: int) -> bytes:
            return http2.encode(FrameType.GOAWAY, 0, 0, struct.pack(">II", 0, 0))

    with pytest.raises(CallFailed, match="GOAWAY"):
        asyncio.run(asyncio.wait_for(call(Going(), calls_then_stop(10), 1), 30))


def test_a_reset_after_the_answer_is_no_failure() -> None:
    class Resetting(Server):
        def answer(self, stream: int) -> bytes:
            return super().answer(stream) + http2.encode(FrameType.RST_STREAM, 0, stream, bytes(4))

    server = Resetting()
    asyncio.run(asyncio.wait_for(call(server, calls_then_stop(10), 1), 30))
    assert server.calls >= 10


def test_a_reset_before_the_answer_ends_the_run() -> None:
    class Resetting(Server):
        def answer(self, stream: int) -> bytes:
            return http2.encode(FrameType.RST_STREAM, 0, stream, bytes(4))

    with pytest.raises(CallFailed, match="RST_STREAM"):
        asyncio.run(asyncio.wait_for(call(Resetting(), calls_then_stop(10), 1), 30))


def test_frames_are_found_however_the_stream_is_cut() -> None:
    sent = [Frame(0, 1, 3, b"abc"), Frame(4, 0, 0, b""), Frame(1, 5, 2**31 - 1, bytes(500))]
    stream = b"".join(
        http2.encode(FrameType(frame.type), frame.flags, frame.stream, frame.payload)
        for frame in sent
    )
    for step in (1, 7, 100, len(stream)):
        frames = Frames()
        pieces = (stream[at : at + step] for at in range(0, len(stream), step))
        assert [frame for piece in pieces for frame in frames.feed(piece)] == sent


def test_known_bytes() -> None:
    """A PING and a header as RFC 9113 and RFC 7541 (C.2.2, without its index) write them."""
    ping = http2.encode(FrameType.PING, http2.ACK, 0, b"12345678")
    assert ping == bytes.fromhex("000008 06 01 00000000") + b"12345678"
    assert http2.header_block([(":path", "/x")]) == b"\x00\x05:path\x02/x"
    assert http2.read_settings(http2.settings([(1, 0), (4, 9)])[9:]) == {1: 0, 4: 9}
