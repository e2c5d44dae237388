"""One TCP connection to a NATS server: opened once, lost once, then replaced by another.

nats-py does the protocol: connecting, TLS, logins, subscriptions, pings, JetStream. `FastLine`
takes over two things, only for the versions in `KNOWN`: bytes that arrive are handed to handlers in
the call that received them, and what is sent within one turn of the loop leaves in one write.
`PlainLine` does it by the public interface of nats-py; that costs three times the CPU per message.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final

import nats.errors
from nats.aio.client import Client, __version__
from nats.aio.msg import Msg

from flaredb.bus.nats_client import SecureClient

KNOWN: Final = ("2.16.",)
"""Versions of nats-py whose inner names `FastLine` was tested with."""

STATUS: Final = "Status"
"""The key under which a server's own notice carries its code, for example 503."""

LineHandler = Callable[[str, str, Mapping[str, str] | None, bytes], None]
"""Called with subject, reply subject, headers if there are any, and payload."""

Ender = Callable[[], Coroutine[Any, Any, None]]
"""Called and awaited to end a subscription on one line."""

NO_SERVER: Final = (OSError, nats.errors.Error, TimeoutError)
"""How an attempt to connect may fail."""


class PlainLine:
    """A connection by the public interface of nats-py.

    Invariant: once `up` is False it never becomes True again.
    """

    def __init__(self, client: Client | None = None) -> None:
        self.client: Final = client or SecureClient()
        self.errors = 0
        self.last_error = ""
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self, servers: list[str], options: Mapping[str, Any]) -> None:
        """Connect to the first server that answers; raises one of `NO_SERVER`."""
        await self.client.connect(
            servers,
            allow_reconnect=False,
            max_reconnect_attempts=1,
            reconnect_time_wait=0,
            ping_interval=1,
            max_outstanding_pings=2,
            pending_size=0,
            error_cb=self._note,
            **options,
        )

    @property
    def up(self) -> bool:
        """Whether frames may leave."""
        return self.client.is_connected

    @property
    def waiting(self) -> int:
        """Bytes that have not left this process."""
        return self.client.pending_data_size

    async def gone(self) -> None:
        """Return when the connection is lost."""
        while self.client.is_connected:  # noqa: ASYNC110 (nats-py tells only after cleaning up)
            await asyncio.sleep(0.25)

    def post(self, subject: str, reply: str, payload: bytes) -> None:
        """Have one message leave soon, in the order of the calls."""
        task = asyncio.get_running_loop().create_task(self._publish(subject, reply, payload))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def push(self) -> None:
        """Write what was posted now, where that can be done."""

    async def listen(self, subject: str, handler: LineHandler) -> Ender:
        """Subscribe; the value returned ends it."""

        async def received(message: Msg) -> None:
            handler(message.subject, message.reply, message.headers, message.data)

        subscription = await self.client.subscribe(subject, cb=received)
        return subscription.unsubscribe

    async def flush(self) -> None:
        """Return when the server has seen all that was sent and subscribed before."""
        # nats-py writes its ping ahead of commands that still wait in its own queue; these have
        # left when the first answer is here, so the second ping follows them.
        await asyncio.gather(*self._tasks)
        await self.client.flush()
        await self.client.flush()

    async def abandon(self) -> None:
        """Give the connection up; what has not left is dropped."""
        for task in self._tasks:
            task.cancel()
        try:
            await asyncio.wait_for(self.client.close(), 1.0)
        except NO_SERVER as error:
            await self._note(error)

    async def _publish(self, subject: str, reply: str, payload: bytes) -> None:
        try:
            await self.client.publish(subject, payload, reply)
        except nats.errors.Error as error:
            await self._note(error)

    async def _note(self, error: Exception) -> None:
        self.errors += 1
        self.last_error = str(error) or type(error).__name__


class _FastClient(SecureClient):
    """nats-py's client that reports a loss instead of handling it, and writes once per turn.

    Invariant: `_pending` is empty or a flush is scheduled, as long as the connection stands.
    """

    def __init__(self) -> None:
        super().__init__()
        self.lost: Final = asyncio.Event()
        self.handlers: Final[dict[bytes, LineHandler]] = {}
        self.denied = 0
        self._flush_scheduled = False

    @property
    def wire(self) -> asyncio.WriteTransport:
        """The socket below nats-py's own transport."""
        connected: Any = self._transport
        wire: asyncio.WriteTransport = connected._io_writer.transport
        return wire

    def post(self, line: bytes, payload: bytes) -> None:
        """Queue one command with its payload."""
        self._pending += (line, payload, b"\r\n")
        self._pending_data_size += len(line) + len(payload) + 2
        if not self._flush_scheduled:
            self._flush_scheduled = True
            asyncio.get_running_loop().call_soon(self._flush_now)

    def _flush_now(self) -> None:
        self._flush_scheduled = False
        self.write_now()

    def write_now(self) -> None:
        """Hand what waits to the socket."""
        if self._pending and not self.lost.is_set():
            self.wire.writelines(self._pending)
            self._pending = []
            self._pending_data_size = 0

    async def _send_ping(self, future: asyncio.Future[bool] | None = None) -> None:
        # nats-py writes a ping ahead of commands that wait, so its answer would prove nothing.
        self._pongs.append(future or asyncio.get_running_loop().create_future())
        self.post(b"PING", b"")

    async def _process_pong(self) -> None:
        # nats-py sets the result of a future even if the flush that waited for it has given up.
        self._pings_outstanding = 0
        if self._pongs:
            waiting = self._pongs.pop(0)
            if not waiting.done():
                waiting.set_result(True)

    async def _process_op_err(self, e: Exception) -> None:
        self.give_up(e)

    async def _process_err(self, err_msg: str) -> None:
        error = nats.errors.Error(f"nats: {err_msg}")
        if "permissions violation" in err_msg:
            self.denied += 1
            await self._error_cb(error)
        else:
            self.give_up(error)

    def give_up(self, error: Exception | None = None) -> None:
        """Cut the socket at once, unsent bytes included, and wake all who wait for an answer."""
        if self.lost.is_set():
            return
        self.lost.set()
        self._err = error
        self._status = Client.CLOSED
        self._pending = []
        self._pending_data_size = 0
        for future in (*self._resp_map.values(), *self._pongs):
            if not future.done():
                future.set_exception(nats.errors.ConnectionClosedError())
                future.exception()  # nobody waits for nats-py's own pings: that is no fault to log
        for task in (self._reading_task, self._ping_interval_task, self._flusher_task):
            if task is not None and task is not asyncio.current_task():
                task.cancel()
        if self._transport:
            self.wire.abort()


class _Receiver(asyncio.Protocol):
    """Takes the place of nats-py's stream reader on a connection that stands.

    Messages on subscriptions of ours go to their handlers; all else goes to nats-py's own parser.
    Invariant: `_held` is the beginning of one command that has not arrived in full, and `_needed`
    a lower bound of its length.
    """

    def __init__(self, client: _FastClient, replaced: asyncio.Protocol) -> None:
        self._client: Final = client
        self._replaced: Final = replaced
        self._held = bytearray()
        self._needed = 0
        self._tasks: set[asyncio.Task[None]] = set()

    def data_received(self, data: bytes) -> None:
        if self._held:
            self._held += data
            if len(self._held) < self._needed:
                return
            data = bytes(self._held)
            self._held.clear()
        taken = self._take(data)
        if taken < len(data):
            self._held += memoryview(data)[taken:]

    def _take(self, data: bytes) -> int:
        """Handle every whole command in `data`; returns where the first unfinished one begins."""
        at = 0
        while (end := data.find(b"\r\n", at)) >= 0:
            if data.startswith((b"MSG ", b"HMSG "), at):
                words = data[at:end].split(b" ")
                stop = end + 4 + int(words[-1])
                if stop > len(data):
                    self._needed = stop - at
                    return at
                handler = self._client.handlers.get(words[2])
                if handler is None:
                    self._pass_on(data[at:stop])
                else:
                    self._deliver(handler, words, data[end + 2 : stop - 2])
                at = stop
            else:
                self._pass_on(data[at : end + 2])
                at = end + 2
        self._needed = 0
        return at

    def _deliver(self, handler: LineHandler, words: list[bytes], body: bytes) -> None:
        """Call `handler` with one message, whose command line is `words`."""
        headers = None
        lengths = 1
        if words[0] == b"HMSG":
            size = int(words[-2])
            headers, body = parse_headers(body[:size]), body[size:]
            lengths = 2
        # Where an answer is to go may be any bytes; what was no text is no subject afterwards.
        reply = words[3].decode(errors="surrogateescape") if len(words) - lengths == 4 else ""
        try:
            handler(words[1].decode(), reply, headers, body)
        except Exception as error:
            context = {"message": f"a handler of {words[1]!r} raised", "exception": error}
            asyncio.get_running_loop().call_exception_handler(context)

    def _pass_on(self, command: bytes) -> None:
        task = asyncio.get_running_loop().create_task(self._client._ps.parse(command))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def pause_writing(self) -> None:
        self._replaced.pause_writing()

    def resume_writing(self) -> None:
        self._replaced.resume_writing()

    def connection_lost(self, error: Exception | None) -> None:
        self._replaced.connection_lost(error)
        self._client.give_up(error or nats.errors.UnexpectedEOF())


class FastLine(PlainLine):
    """A connection with the short cuts that the head of this module describes."""

    def __init__(self) -> None:
        self._fast: Final = _FastClient()
        super().__init__(self._fast)

    async def open(self, servers: list[str], options: Mapping[str, Any]) -> None:
        await super().open(servers, options)
        wire: Any = self._fast.wire
        replaced = wire.get_protocol()
        # nats-py's reading task stays, waiting for a reader that gets no more: without it nats-py
        # takes the connection for dead.
        receiver = _Receiver(self._fast, replaced)
        arrived = bytes(replaced._stream_reader._buffer)
        wire.set_protocol(receiver)
        wire.resume_reading()
        receiver.data_received(arrived)

    @property
    def waiting(self) -> int:
        return self._fast.pending_data_size + self._fast.wire.get_write_buffer_size()

    async def gone(self) -> None:
        await self._fast.lost.wait()

    def post(self, subject: str, reply: str, payload: bytes) -> None:
        line = f"PUB {subject} {reply} {len(payload)}\r\n".encode()
        self._fast.post(line, payload)

    def push(self) -> None:
        self._fast.write_now()

    async def listen(self, subject: str, handler: LineHandler) -> Ender:
        subscription = await self.client.subscribe(subject)
        number = str(subscription._id).encode()
        self._fast.handlers[number] = handler

        async def end() -> None:
            del self._fast.handlers[number]
            await subscription.unsubscribe()

        return end

    async def flush(self) -> None:
        await self._fast.flush()

    async def abandon(self) -> None:
        self._fast.give_up()


def new_line(fast: bool = True) -> PlainLine:
    """A line of the best kind that this version of nats-py is known to bear."""
    return FastLine() if fast and __version__.startswith(KNOWN) else PlainLine()


def parse_headers(raw: bytes) -> dict[str, str]:
    """Headers as they stand on the wire: `NATS/1.0[ status text]`, then `name: value` lines."""
    first, *lines = raw.decode(errors="replace").split("\r\n")
    words = first.split(" ")
    headers = {STATUS: words[1]} if len(words) > 1 and words[1] else {}
    for line in lines:
        name, colon, value = line.partition(":")
        if colon:
            headers[name] = value.strip()
    return headers
