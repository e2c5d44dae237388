"""The port on NATS: a connection that is replaced whenever it is lost, and never catches up.

A line (`nats_line`) lives for one TCP connection. When it is lost, for whatever reason (the server
is gone or frozen, it said -ERR, pings went unanswered), what had not left is dropped, and a new
line is opened and subscribed as the old one was; that goes on until `close`. So nothing that was
sent before an outage arrives after it.
"""

import asyncio
import logging
import secrets
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from msgspec import Struct

from flaredb.bus.bus import BusError, Handler, Message
from flaredb.bus.checks import check_payload, check_subject, is_subject
from flaredb.bus.nats_client import check_address, explained
from flaredb.bus.nats_history import NatsHistory
from flaredb.bus.nats_line import NO_SERVER, STATUS, Ender, LineHandler, PlainLine, new_line

log: Final = logging.getLogger(__name__)

NO_RESPONDERS: Final = "503"
RECONNECT_SECONDS: Final = 0.2
CONNECT_SECONDS: Final = 2.0
"""How long one attempt to connect may take before the next begins."""
FLUSH_SECONDS: Final = 2.0
MAX_WAITING: Final = 16 * 1024 * 1024
"""Bytes that may wait to leave before further sends are dropped."""


class Login(Struct, frozen=True):
    """Who a connection is for the server; empty fields are not sent."""

    user: str = ""
    password: str = ""
    token: str = ""
    credentials: str = ""
    """Path of a `.creds` file (needs the package `nkeys`)."""
    tls: ssl.SSLContext | None = None


class Counters(Struct):
    """What a connection lost and met since it was made; for metrics."""

    dropped: int = 0
    """Sends refused: not connected, too large, or too much waiting."""
    lines_lost: int = 0
    errors: int = 0


class NatsSubscription:
    """One handler on one pattern, on whatever line there is."""

    __slots__ = ("_bus", "end", "handler", "line", "pattern", "stopped")

    def __init__(self, bus: "NatsBus", pattern: str, handler: LineHandler) -> None:
        self._bus: Final = bus
        self.pattern: Final = pattern
        self.handler: Final = handler
        self.stopped = False
        self.line: PlainLine | None = None
        self.end: Ender | None = None

    async def put_on(self, line: PlainLine) -> None:
        """Subscribe on `line`; raises one of `NO_SERVER` when that is lost."""
        self.line = line
        self.end = await line.listen(self.pattern, self.handler)
        if self.stopped:
            await self.end()

    async def stop(self) -> None:
        self.stopped = True
        await self._bus.forget(self)


class NatsBus:
    """One connection to NATS, renewed for ever.

    Invariants: there is one line at a time, and `connected` says whether it stands and carries all
    subscriptions; every listener hears False and True in turns, beginning with False. A send needs
    no more than a line that stands: what arrives on the first subscriptions can be answered.
    """

    def __init__(self, servers: list[str], options: dict[str, Any], fast: bool) -> None:
        self.counters: Final = Counters()
        self.history: Final = NatsHistory(self)
        self._servers: Final = servers
        self._options: Final = options
        self._fast: Final = fast
        self._line: PlainLine = new_line(fast)
        self._connected = False
        self._closing = False
        self._subscriptions: list[NatsSubscription] = []
        self._listeners: list[Callable[[bool], None]] = []
        self._inbox: Final = f"{options['inbox_prefix']}.{secrets.token_hex(6)}"
        self._inboxes = 0
        self._answers: dict[str, asyncio.Future[bytes | None]] = {}
        self._hears_answers = False
        self._keeper: asyncio.Task[None] | None = None

    @classmethod
    async def connect(
        cls,
        url: str,
        *,
        name: str,
        inbox_prefix: str = "_INBOX",
        login: Login = Login(),  # noqa: B008 (frozen)
        timeout: float = 5.0,
        fast: bool = True,
    ) -> "NatsBus":
        """A connection to the first server in `url` (several are joined by commas) that answers.

        `name` is what the server's monitoring shows. Raises `BusError` after `timeout` seconds;
        after that first success the connection is kept up for ever.
        """
        check_subject(inbox_prefix)
        given = {name: getattr(login, name) or None for name in ("user", "password", "token")}
        options: dict[str, Any] = {"name": name, "inbox_prefix": inbox_prefix, **given}
        if login.credentials:
            options["user_credentials"] = login.credentials
        if login.tls:
            options["tls"] = login.tls
        servers = [part.strip() for part in url.split(",")]
        for server in servers:
            check_address(server)
        bus = cls(servers, options, fast)
        try:
            async with asyncio.timeout(timeout):
                await bus._establish()
        except TimeoutError:
            raise explained(url, timeout, bus._line.last_error) from None
        except ImportError as fault:
            raise BusError(
                f"the login {login.credentials or ''} cannot be used: {fault}; a credentials file "
                "needs the package nkeys"
            ) from fault
        bus._keeper = asyncio.create_task(bus._keep())
        bus._keeper.add_done_callback(_keeper_ended)
        return bus

    @property
    def connected(self) -> bool:
        return self._connected and self._line.up

    @property
    def line(self) -> PlainLine:
        """The present line; raises `BusError` where there is none."""
        if not self.connected:
            raise BusError("not connected to NATS")
        return self._line

    @property
    def max_payload(self) -> int:
        """Bytes that the server takes in one message."""
        return self._line.client.max_payload

    def send(self, subject: str, payload: bytes, reply: str = "") -> bool:
        check_subject(subject)
        size = len(payload)
        line = self._line
        if not line.up or size > line.client.max_payload or line.waiting + size > MAX_WAITING:
            self.counters.dropped += 1
            return False
        line.post(subject, reply, payload)
        return True

    def push(self) -> None:
        self._line.push()

    async def request(self, subject: str, payload: bytes, timeout: float) -> bytes | None:
        check_payload(payload, self.max_payload)
        await self._hear_answers()
        self._inboxes += 1
        inbox = f"{self._inbox}.r.{self._inboxes}"
        answer: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()
        self._answers[inbox] = answer
        try:
            if not (self.connected and self.send(subject, payload, inbox)):
                return None
            async with asyncio.timeout(timeout):
                return await answer
        except TimeoutError:
            return None
        finally:
            del self._answers[inbox]

    async def subscribe(self, subject: str, handler: Handler) -> NatsSubscription:
        subscription = await self.listen(subject, _as_messages(handler))
        # The server has seen the subscription when it has answered a ping that follows it.
        await self._flush()
        return subscription

    async def listen(self, subject: str, handler: LineHandler) -> NatsSubscription:
        """Subscribe on this line and those to come, without waiting for the server."""
        check_subject(subject)
        subscription = NatsSubscription(self, subject, handler)
        self._subscriptions.append(subscription)
        if self.connected:
            with self._forgiving():
                await subscription.put_on(self._line)
        return subscription

    async def forget(self, subscription: NatsSubscription) -> None:
        """End a subscription, on the present line and on those to come."""
        if subscription in self._subscriptions:
            self._subscriptions.remove(subscription)
        if subscription.end is not None and subscription.line is self._line:
            with self._forgiving():
                await subscription.end()

    @property
    def inbox_root(self) -> str:
        """What every inbox of this connection begins with."""
        return self._inbox

    def new_inbox(self) -> str:
        self._inboxes += 1
        return f"{self._inbox}.{self._inboxes}"

    def on_connection(self, handler: Callable[[bool], None]) -> None:
        self._listeners.append(handler)

    async def close(self) -> None:
        self._closing = True
        if self._keeper is not None:
            self._keeper.cancel()
        await self._flush()
        self._connected = False
        await self._line.abandon()

    async def _hear_answers(self) -> None:
        if not self._hears_answers:
            self._hears_answers = True
            await self.listen(f"{self._inbox}.r.*", _as_messages(self._answered))

    def _answered(self, message: Message) -> None:
        answer = self._answers.get(message.subject)
        if answer is not None and not answer.done():
            answer.set_result(None if message.no_responders else message.payload)

    async def _flush(self) -> None:
        if self.connected:
            with self._forgiving():
                async with asyncio.timeout(FLUSH_SECONDS):
                    await self._line.flush()

    @contextmanager
    def _forgiving(self) -> Iterator[None]:
        """What fails because the line is being lost will be made good on the next."""
        try:
            yield
        except NO_SERVER:
            self.counters.errors += 1

    async def _keep(self) -> None:
        while True:
            await self._line.gone()
            self._connected = False
            self.counters.lines_lost += 1
            name, why = self._options["name"], self._line.last_error or "no answer"
            log.info("the connection %s to NATS is lost: %s; connecting again", name, why)
            for answer in self._answers.values():
                if not answer.done():
                    answer.set_result(None)
            self._tell(False)
            await self._line.abandon()
            self.counters.errors += self._line.errors
            await self._establish()
            log.info("the connection %s to NATS is back", name)
            self._tell(True)

    async def _establish(self) -> None:
        """Try until a line stands and carries every subscription."""
        while True:
            line = new_line(self._fast)
            try:
                async with asyncio.timeout(CONNECT_SECONDS):
                    await line.open(self._servers, self._options)
                    self._line = line
                    await self._move_to(line)
            except asyncio.CancelledError:  # there is no more time: nothing is left half open
                await line.abandon()
                raise
            except NO_SERVER as error:
                line.last_error = str(error) or line.last_error or type(error).__name__
                await line.abandon()
                self._line = line
                _heed_cancelling()
                await asyncio.sleep(RECONNECT_SECONDS)
                continue
            self._connected = True
            return

    async def _move_to(self, line: PlainLine) -> None:
        """Put every subscription on `line`, those included that come while this waits."""
        while missing := [known for known in self._subscriptions if known.line is not line]:
            for subscription in missing:
                await subscription.put_on(line)
            await line.flush()

    def _tell(self, connected: bool) -> None:
        for listener in self._listeners:
            listener(connected)


def _heed_cancelling() -> None:
    """Raise what nats-py has swallowed: in Python 3.11 `wait_for` does, when both come at once."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def _as_messages(handler: Handler) -> LineHandler:
    """`handler`, called with messages of the port."""

    def received(
        subject: str, reply: str, headers: Mapping[str, str] | None, payload: bytes
    ) -> None:
        if reply and not is_subject(reply):
            return  # nats-server lets such pass, and nobody could be answered
        nobody = headers is not None and not payload and headers.get(STATUS) == NO_RESPONDERS
        handler(Message(subject, payload, reply, nobody))

    return received


def _keeper_ended(keeper: asyncio.Task[None]) -> None:
    if not keeper.cancelled():
        context = {"message": "a NATS connection is kept up no more", "future": keeper}
        keeper.get_loop().call_exception_handler(context | {"exception": keeper.exception()})
