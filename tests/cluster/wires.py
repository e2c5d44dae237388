"""Wires between processes and nats-server, which a test cuts and mends, each by itself.

A wire is a TCP proxy in the test's own loop that understands as much of the NATS protocol as it
takes to see where a message begins and ends. Each direction of it, out of the process and into it,
is in one of three states; what is cut is told to nobody, as in a network.
"""

import asyncio
import enum
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

from anyio.to_thread import run_sync

from flaredb.playground.supervisor import LocalCluster

READ_BYTES: Final = 256 * 1024
_MESSAGES: Final = (b"PUB", b"HPUB", b"MSG", b"HMSG")


class Way(enum.Enum):
    """What becomes of what goes in one direction."""

    OPEN = "it arrives"
    HELD = "nothing arrives, pings neither, before the wire is mended: then all of it, late"
    LOSING = "messages are lost; pings arrive, so that the connection stands and nobody knows"


class Commands:
    """One direction of one connection, as whole commands of the protocol.

    Invariants: `_rest` is the beginning of one command that has not come in full, and `_needed` a
    lower bound of its length; `aside` holds messages in their order.
    """

    def __init__(self) -> None:
        self._rest = bytearray()
        self._needed = 0
        self.aside: list[bytes] = []

    def take(self, data: bytes, losing: bool, set_aside: bytes, lost: bytes) -> bytes:
        """What of `data` goes on; messages on subjects that begin with `set_aside` wait, and those
        on `lost` are lost."""
        self._rest += data
        if len(self._rest) < self._needed:
            return b""
        passed: list[bytes] = []
        at = self._needed = 0
        while (end := self._rest.find(b"\r\n", at)) >= 0:
            words = self._rest[at:end].split()
            is_message = bool(words) and bytes(words[0]) in _MESSAGES
            stop = end + 2 + (int(words[-1]) + 2 if is_message else 0)
            if stop > len(self._rest):
                self._needed = stop - at
                break
            command, at = bytes(self._rest[at:stop]), stop
            if is_message and set_aside and words[1].startswith(set_aside):
                self.aside.append(command)
            elif not (is_message and (losing or words[1] == lost)):
                passed.append(command)
        del self._rest[:at]
        return b"".join(passed)

    def take_aside(self) -> bytes:
        """What was set aside, which is not any more."""
        aside, self.aside = self.aside, []
        return b"".join(aside)


class Wire:
    """All connections of one process.

    Invariants: commands of one connection and direction arrive in their order; while `is_refused`
    there is no connection.
    """

    def __init__(self, host: str, port: int) -> None:
        self._upstream: Final = host, port
        self._server: asyncio.Server | None = None
        self._out = self._into = Way.OPEN
        self._changed = asyncio.Event()
        self._set_aside = self._lost = b""
        self._flows: dict[Commands, asyncio.StreamWriter] = {}
        self._connections: set[asyncio.Task[None]] = set()
        self.is_refused = False

    @classmethod
    async def open(cls, upstream: str) -> "Wire":
        """A wire to `nats://host:port`."""
        host, _, port = upstream.removeprefix("nats://").rpartition(":")
        wire = cls(host, int(port))
        wire._server = await asyncio.start_server(wire._accept, "127.0.0.1", 0)
        return wire

    @property
    def url(self) -> str:
        """Where the process is to connect."""
        assert self._server is not None
        return f"nats://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def cut(self, out: Way = Way.HELD, into: Way = Way.HELD) -> None:
        """From this moment on each direction is as given."""
        self._out, self._into = out, into
        self._tell()

    def refuse(self) -> None:
        """Close all connections, and every new one at once."""
        self.is_refused = True
        for connection in self._connections:
            connection.cancel()

    def mend(self) -> None:
        """Everything arrives again, and what was held until now."""
        self.is_refused, self._lost = False, b""
        self.cut(Way.OPEN, Way.OPEN)

    def lose(self, subject: str) -> None:
        """Messages on this subject are lost from now on, in both directions."""
        self._lost = subject.encode()

    def set_aside(self, subjects: str) -> None:
        """Have messages to subjects that begin so wait on their way out."""
        self._set_aside = subjects.encode()

    @property
    def aside(self) -> int:
        """How many messages were set aside."""
        return sum(len(flow.aside) for flow in self._flows)

    def release(self) -> None:
        """What was set aside arrives now, and nothing more is."""
        self._set_aside = b""
        for flow, writer in self._flows.items():
            if flow.aside:
                writer.write(flow.take_aside())

    async def close(self) -> None:
        """End all connections."""
        assert self._server is not None
        self._server.close()
        self.refuse()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.is_refused:
            writer.transport.abort()
            return
        task = asyncio.create_task(self._connect(reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(OSError):
                far_reader, far_writer = await asyncio.open_connection(*self._upstream)
                try:
                    await self._carry(reader, writer, far_reader, far_writer)
                finally:
                    far_writer.transport.abort()
        finally:
            writer.transport.abort()

    async def _carry(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        far_reader: asyncio.StreamReader,
        far_writer: asyncio.StreamWriter,
    ) -> None:
        """Until either side ends."""
        ways = [
            asyncio.create_task(self._pump(reader, far_writer, out=True)),
            asyncio.create_task(self._pump(far_reader, writer, out=False)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, out: bool
    ) -> None:
        flow = Commands()
        self._flows[flow] = writer
        try:
            while data := await reader.read(READ_BYTES):
                while (way := self._out if out else self._into) is Way.HELD:
                    await self._changed.wait()
                aside = self._set_aside if out else b""
                writer.write(flow.take(data, way is Way.LOSING, aside, self._lost))
                await writer.drain()
        finally:
            del self._flows[flow]


@asynccontextmanager
async def wired(
    folder: Path, names: Iterable[str], settings: Mapping[str, str], stores: int = 4
) -> AsyncIterator[tuple[LocalCluster, dict[str, Wire]]]:
    """A cluster of which the processes of these names reach nats-server through a wire each."""
    cluster = LocalCluster(folder, stores=stores, analytics=False, settings=settings)
    wires = {name: await Wire.open(cluster.url) for name in names}
    cluster.urls.update((name, wire.url) for name, wire in wires.items())
    try:
        await run_sync(cluster.start)
        yield cluster, wires
    finally:
        for wire in wires.values():
            wire.mend()
        await run_sync(cluster.close)
        for wire in wires.values():
            await wire.close()
