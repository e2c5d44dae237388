"""The store's side of a child process: start it, exchange frames, learn that it ended.

Nothing here blocks the loop: what the socket does not take at once waits in the transport's buffer.
The child gets a process group of its own, so that an interrupt from the terminal reaches the store
alone, which then ends its children in order.
"""

import asyncio
import socket
import subprocess
import sys
from collections.abc import Callable
from typing import Final

import msgspec

from flaredb.disk.child_messages import FRAME_HEAD

_END_SECONDS: Final = 5.0
_encoder: Final = msgspec.msgpack.Encoder()

_RUN: Final = "import sys; sys.modules['typing_extensions'] = None; import {0}; {0}.main()"
"""msgspec loads that library where it finds it, and needs nothing of it here: 4 MiB, 80 ms."""


def encode_frame(message: msgspec.Struct) -> bytearray:
    """One message as it goes over the link: its length, then its bytes."""
    frame = bytearray(FRAME_HEAD.size)
    _encoder.encode_into(message, frame, FRAME_HEAD.size)
    FRAME_HEAD.pack_into(frame, 0, len(frame) - FRAME_HEAD.size)
    return frame


OnFrame = Callable[[bytes], None]
OnEnd = Callable[[str], None]


class ChildProcess(asyncio.Protocol):
    """A child process that runs a module's `main`.

    Invariant: `on_end` is called exactly once, after the last `on_frame`, when the link is down;
    it says how the process ended.
    """

    def __init__(self, process: subprocess.Popen[bytes], on_frame: OnFrame, on_end: OnEnd) -> None:
        self._process: Final = process
        self._on_frame, self._on_end = on_frame, on_end
        self._received = bytearray()
        self._transport: asyncio.Transport | None = None
        self._finishing = False
        self._ended: Final = asyncio.get_running_loop().create_future()

    @classmethod
    async def start(
        cls, module: str, on_frame: OnFrame, on_end: OnEnd, shared: tuple[int, ...] = ()
    ) -> "ChildProcess":
        """Start the process, which gets the `shared` descriptors, too; then send it something."""
        ours, theirs = socket.socketpair()
        with theirs:
            process = subprocess.Popen(  # noqa: ASYNC220  (a few milliseconds, at start alone)
                [sys.executable, "-P", "-c", _RUN.format(module)],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                process_group=0,
                pass_fds=shared,
            )
        ours.setblocking(False)
        child = cls(process, on_frame, on_end)
        await asyncio.get_running_loop().create_unix_connection(lambda: child, sock=ours)
        return child

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    def send(self, message: msgspec.Struct) -> None:
        """Hand over one message; returns at once.

        Goes nowhere if the child has ended, or was told to by `finish`.
        """
        self.send_frame(encode_frame(message))

    def send_frame(self, frame: bytearray) -> None:
        """Hand over one message that is encoded; `frame` must not change any more."""
        assert self._transport is not None, "the link is up once the child has started"
        if not self._finishing and not self._transport.is_closing():
            self._transport.write(memoryview(frame))

    def kill(self) -> None:
        """End it now; `on_end` follows."""
        self._process.kill()

    async def finish(self) -> None:
        """Let it do what it was asked so far, and wait until it has ended; may be called again."""
        assert self._transport is not None, "the link is up once the child has started"
        self._finishing = True
        if not self._transport.is_closing():
            self._transport.write_eof()
        try:
            async with asyncio.timeout(_END_SECONDS):
                await asyncio.shield(self._ended)
        except TimeoutError:
            self.kill()
            await self._ended

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport), "a socket's transport reads and writes"
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        received, offset = self._received, 0
        while len(received) >= offset + FRAME_HEAD.size:
            start = offset + FRAME_HEAD.size
            end = start + FRAME_HEAD.unpack_from(received, offset)[0]
            if len(received) < end:
                break
            offset = end
            self._on_frame(bytes(received[start:end]))
        del received[:offset]

    def connection_lost(self, error: Exception | None) -> None:
        # The kernel closes a dying process's sockets just before the process can be waited for.
        self._process.kill()
        code = self._process.wait()
        self._on_end(f"ended by signal {-code}" if code < 0 else f"ended with code {code}")
        self._ended.set_result(None)
