"""One connection to a gRPC server that keeps a number of unary calls in flight.

All calls of a run go to one method. The call is counted as answered when its stream ends; a stream
that ends without a message of the least size, or is reset, ends the run with `CallFailed`.
"""

import asyncio
import struct
from collections import deque
from collections.abc import Callable
from typing import Final

from msgspec import Struct

from tests.bench import http2
from tests.bench.http2 import Frame, FrameType
from tests.bench.load import Stopwatch

CREDIT_STEP: Final = 1 << 20
"""Received bytes are given back to the server's window in steps of this."""


class CallFailed(Exception):
    """The server refused a call or closed the connection."""


class Method(Struct, frozen=True):
    """What is called: the path, what makes the next request, the least bytes of a right answer."""

    path: str
    next_message: Callable[[], bytes]
    least_answer: int


class _Call(Struct):
    """A call under way."""

    called: float
    received: int = 0


class _Run(Struct):
    """Calls that are kept in flight; `done` is set when the last one is answered."""

    method: Method
    headers: bytes
    stopwatch: Stopwatch
    done: asyncio.Future[None]


class GrpcLine(asyncio.Protocol):
    """The connection.

    Invariants: `_window` is what the server still takes on the connection, never below zero;
    `_calls` are the streams that were opened and not ended; `_waiting` is empty unless the window
    is too small for its first request.
    """

    def __init__(self, authority: str) -> None:
        self._authority = authority
        self._frames = http2.Frames()
        self._transport: asyncio.Transport | None = None
        self._next_stream = 1
        self._window = http2.DEFAULT_WINDOW
        self._unreturned = 0
        self._calls: dict[int, _Call] = {}
        self._waiting: deque[tuple[float, bytes]] = deque()
        self._out = bytearray()
        self._run: _Run | None = None

    async def run(self, method: Method, in_flight: int, stopwatch: Stopwatch) -> None:
        """Keep so many calls in flight until the stopwatch is done and all are answered."""
        assert self._run is None and not self._calls, "one run at a time"
        done = asyncio.get_running_loop().create_future()
        self._run = _Run(method, self._header_block(method.path), stopwatch, done)
        for _ in range(in_flight):
            self._call()
        self._flush()
        try:
            await done
        finally:
            self._run = None

    def close(self) -> None:
        """Close the connection."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet, and open the windows as wide as they go."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._out += http2.PREFACE + http2.settings(
            [
                (http2.SETTING_HEADER_TABLE_SIZE, 0),
                (http2.SETTING_INITIAL_WINDOW, http2.LARGEST_WINDOW),
            ]
        )
        self._out += http2.window_update(0, http2.LARGEST_WINDOW - http2.DEFAULT_WINDOW)
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        """A run under way cannot end well any more."""
        self._fail(f"the connection is closed: {exc}")

    def data_received(self, data: bytes) -> None:
        """Handle every frame, then send all that came of it at once."""
        for frame in self._frames.feed(data):
            self._handle(frame)
        self._flush()

    def _handle(self, frame: Frame) -> None:
        match frame.type:
            case FrameType.DATA:
                self._received(frame)
            case FrameType.HEADERS if frame.flags & http2.END_STREAM:
                self._ended(frame.stream)
            case FrameType.WINDOW_UPDATE if frame.stream == 0:
                self._window += struct.unpack(">I", frame.payload)[0]
                self._send_waiting()
            case FrameType.SETTINGS if not frame.flags & http2.ACK:
                self._out += http2.encode(FrameType.SETTINGS, http2.ACK, 0, b"")
            case FrameType.PING if not frame.flags & http2.ACK:
                self._out += http2.encode(FrameType.PING, http2.ACK, 0, frame.payload)
            case FrameType.RST_STREAM if frame.stream not in self._calls:
                pass  # grpc-go may answer before it has looked at the end of the request
            case FrameType.RST_STREAM | FrameType.GOAWAY:
                self._fail(f"the server sent {FrameType(frame.type).name}: {frame.payload!r}")

    def _received(self, frame: Frame) -> None:
        self._calls[frame.stream].received += len(frame.payload)
        self._unreturned += len(frame.payload)
        if self._unreturned >= CREDIT_STEP:
            self._out += http2.window_update(0, self._unreturned)
            self._unreturned = 0

    def _ended(self, stream: int) -> None:
        call = self._calls.pop(stream)
        run = self._run
        if run is None:
            return
        if call.received < run.method.least_answer:
            self._fail(f"{run.method.path} was refused")
        elif run.stopwatch.answered(call.called):
            self._call()
        elif not self._calls and not self._waiting and not run.done.done():
            run.done.set_result(None)

    def _call(self) -> None:
        """Make one more call; it waits while the server's window has no room for it."""
        assert self._run is not None
        message = self._run.method.next_message()
        body = b"\x00" + struct.pack(">I", len(message)) + message
        self._waiting.append((self._run.stopwatch.now(), body))
        self._send_waiting()

    def _send_waiting(self) -> None:
        while self._run and self._waiting and len(self._waiting[0][1]) <= self._window:
            called, body = self._waiting.popleft()
            stream, self._next_stream = self._next_stream, self._next_stream + 2
            self._calls[stream] = _Call(called)
            self._window -= len(body)
            self._out += http2.encode(
                FrameType.HEADERS, http2.END_HEADERS, stream, self._run.headers
            )
            self._out += http2.encode(FrameType.DATA, http2.END_STREAM, stream, body)

    def _header_block(self, path: str) -> bytes:
        return http2.header_block(
            [
                (":method", "POST"),
                (":scheme", "http"),
                (":path", path),
                (":authority", self._authority),
                ("content-type", "application/grpc"),
                ("te", "trailers"),
            ]
        )

    def _flush(self) -> None:
        if self._out and self._transport is not None:
            self._transport.write(bytes(self._out))
            self._out.clear()

    def _fail(self, reason: str) -> None:
        if self._run is not None and not self._run.done.done():
            self._run.done.set_exception(CallFailed(reason))
