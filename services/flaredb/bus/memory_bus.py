"""The port within one process: deterministic, and moved by nobody but its driver.

A send puts one envelope per receiver into the hub's list; the driver (a simulator, a test) chooses
which envelope arrives next, or is lost. What streams do happens at once. Only `request` and a
waiting `read` touch asyncio, for the future that they wait on.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

from msgspec import Struct

from flaredb.bus.bus import (
    AppendResult,
    AppendUnknown,
    BusError,
    Handler,
    Message,
    StreamConfig,
    StreamRecord,
    StreamState,
)
from flaredb.bus.checks import MAX_PAYLOAD, check_payload, check_subject, drift
from flaredb.bus.memory_streams import MemoryStream, matches
from flaredb.runtime.clock import Clock


class MemorySubscription:
    """One handler's wish for one pattern; it outlives a lost connection."""

    __slots__ = ("_owner", "handler", "pattern")

    def __init__(self, owner: "MemoryBus", pattern: str, handler: Handler) -> None:
        self._owner: Final = owner
        self.pattern: Final = pattern
        self.handler: Final = handler

    async def stop(self) -> None:
        self._owner.forget(self)


class Envelope(Struct, frozen=True, eq=False):
    """A message on its way to one subscription of one connection."""

    sender: str
    receiver: "MemoryBus"
    subscription: MemorySubscription
    message: Message


class MemoryHub:
    """What a NATS server is to its connections, with delivery in the driver's hands.

    Invariant: an envelope is on its way only to a connection that stands and still subscribes.
    """

    __slots__ = ("clock", "connections", "history_works", "on_the_way", "streams", "waiting")

    def __init__(self, clock: Clock) -> None:
        self.clock: Final = clock
        self.connections: list[MemoryBus] = []
        self.on_the_way: list[Envelope] = []
        self.streams: dict[str, MemoryStream] = {}
        self.history_works = True
        """Set to False and streams answer nothing, while plain messages go on."""
        self.waiting: list[asyncio.Future[None]] = []

    def connect(self, name: str, inbox_prefix: str = "_INBOX") -> "MemoryBus":
        """A new connection; `name` is what envelopes call its sender."""
        bus = MemoryBus(self, name, f"{inbox_prefix}.{name}")
        self.connections.append(bus)
        return bus

    @property
    def pending(self) -> int:
        """How many envelopes are on their way."""
        return len(self.on_the_way)

    def deliver_next(self, place: int = 0) -> bool:
        """Hand over the envelope at `place`, the oldest by default; False if none is left."""
        if not self.on_the_way:
            return False
        envelope = self.on_the_way.pop(place)
        assert envelope.receiver.connected, "an envelope for a lost connection was kept"
        envelope.subscription.handler(envelope.message)
        return True

    def deliver_all(self, limit: int = 100_000) -> int:
        """Deliver until nothing is on its way; `limit` guards against two that echo for ever."""
        count = 0
        while self.deliver_next():
            count += 1
            assert count < limit, "messages breed messages without end"
        return count

    def drop(self, place: int = 0) -> Envelope:
        """Lose the envelope at `place`."""
        return self.on_the_way.pop(place)

    def publish(self, sender: "MemoryBus", subject: str, payload: bytes, reply: str) -> None:
        """Put one envelope per receiver on the way, and keep the message if a stream wants it."""
        self._capture(subject, payload, {})
        heard = self._post(sender.name, Message(subject, payload, reply))
        if reply and not heard:
            self._post(sender.name, Message(reply, b"", "", no_responders=True))

    def append(
        self, subject: str, payload: bytes, headers: Mapping[str, str], expected: int | None
    ) -> AppendResult:
        """Append to the stream that captures `subject`; plain subscribers hear it too."""
        for stream in self.streams.values():
            if self.history_works and stream.captures(subject):
                now = self.clock.wall()
                result = stream.append(subject, payload, headers, expected, now)
                self._wake()
                self._post("", Message(subject, payload))
                return result
        return AppendUnknown(f"no stream answers on {subject}")

    def lose_stream(self, name: str) -> None:
        """The stream is gone with all it held, as after `rm -rf` of the server's folder."""
        del self.streams[name]

    def _capture(self, subject: str, payload: bytes, headers: Mapping[str, str]) -> None:
        for stream in self.streams.values():
            if self.history_works and stream.captures(subject):
                stream.append(subject, payload, headers, None, self.clock.wall())
                self._wake()

    def _post(self, sender: str, message: Message) -> bool:
        envelopes = [
            Envelope(sender, bus, subscription, message)
            for bus in self.connections
            if bus.connected
            for subscription in bus.subscriptions
            if matches(subscription.pattern, message.subject)
        ]
        self.on_the_way += envelopes
        return bool(envelopes)

    def _wake(self) -> None:
        for waiter in self.waiting:
            if not waiter.done():
                waiter.set_result(None)
        self.waiting.clear()


class MemoryBus:
    """One connection to a hub.

    Invariant: what is dropped is never sent later; `dropped` counts it.
    """

    def __init__(self, hub: MemoryHub, name: str, inbox_prefix: str) -> None:
        self.hub: Final = hub
        self.name: Final = name
        self.history: Final = MemoryHistory(self)
        self.subscriptions: list[MemorySubscription] = []
        self.dropped = 0
        self._inbox_prefix: Final = inbox_prefix
        self._inboxes = 0
        self._connected = True
        self._listeners: list[Callable[[bool], None]] = []

    @property
    def connected(self) -> bool:
        return self._connected

    def push(self) -> None:
        pass

    def send(self, subject: str, payload: bytes, reply: str = "") -> bool:
        check_subject(subject)
        if not self._connected or len(payload) > MAX_PAYLOAD:
            self.dropped += 1
            return False
        self.hub.publish(self, subject, payload, reply)
        return True

    async def request(self, subject: str, payload: bytes, timeout: float) -> bytes | None:
        check_payload(payload, MAX_PAYLOAD)
        inbox = self.new_inbox()
        answer: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()

        def heard(message: Message) -> None:
            if not answer.done():
                answer.set_result(None if message.no_responders else message.payload)

        subscription = await self.subscribe(inbox, heard)
        try:
            if not self.send(subject, payload, inbox):
                return None
            return await asyncio.wait_for(answer, timeout)
        except TimeoutError:
            return None
        finally:
            await subscription.stop()

    async def subscribe(self, subject: str, handler: Handler) -> MemorySubscription:
        check_subject(subject)
        subscription = MemorySubscription(self, subject, handler)
        self.subscriptions.append(subscription)
        return subscription

    def forget(self, subscription: MemorySubscription) -> None:
        """End a subscription; what was on its way to it is lost."""
        if subscription in self.subscriptions:
            self.subscriptions.remove(subscription)
        self._lose(lambda envelope: envelope.subscription is subscription)

    def new_inbox(self) -> str:
        self._inboxes += 1
        return f"{self._inbox_prefix}.{self._inboxes}"

    def on_connection(self, handler: Callable[[bool], None]) -> None:
        self._listeners.append(handler)

    async def close(self) -> None:
        self._connected = False
        self.subscriptions.clear()
        self._lose(lambda envelope: envelope.receiver is self)
        if self in self.hub.connections:
            self.hub.connections.remove(self)

    def disconnect(self) -> None:
        """Lose the connection: what is on its way here is lost, what was sent is not."""
        assert self._connected, "a lost connection cannot be lost again"
        self._connected = False
        self._lose(lambda envelope: envelope.receiver is self)
        for listener in self._listeners:
            listener(False)

    def reconnect(self) -> None:
        """Have the connection back, with all its subscriptions."""
        assert not self._connected, "the connection stands already"
        self._connected = True
        for listener in self._listeners:
            listener(True)

    def _lose(self, chosen: Callable[[Envelope], bool]) -> None:
        self.hub.on_the_way = [kept for kept in self.hub.on_the_way if not chosen(kept)]


class MemoryHistory:
    """The hub's streams, as one connection reaches them."""

    __slots__ = ("_bus",)

    def __init__(self, bus: MemoryBus) -> None:
        self._bus: Final = bus

    async def ensure(self, config: StreamConfig) -> tuple[str, ...]:
        streams = self._streams()
        if config.name not in streams:
            streams[config.name] = MemoryStream(config, self._bus.hub.clock.wall())
            return ()
        return drift(config, streams[config.name].config)

    async def append(
        self,
        subject: str,
        payload: bytes,
        headers: Mapping[str, str],
        expected_last: int | None = None,
        timeout: float = 2.0,
    ) -> AppendResult:
        check_subject(subject)
        check_payload(payload, MAX_PAYLOAD)
        if not self._bus.connected:
            return AppendUnknown("not connected to the bus")
        return self._bus.hub.append(subject, payload, headers, expected_last)

    async def state(self, stream: str) -> StreamState | None:
        found = self._streams().get(stream)
        return found.state() if found else None

    async def read(
        self, stream: str, after: int, limit: int = 500, timeout: float = 1.0
    ) -> list[StreamRecord]:
        assert after >= 0 and limit > 0, "positions are not negative, and a read is for something"
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        while not (found := self._after(stream, after, limit)):
            left = deadline - loop.time()
            if left <= 0:
                break
            waiter: asyncio.Future[None] = loop.create_future()
            self._bus.hub.waiting.append(waiter)
            await asyncio.wait([waiter], timeout=left)
        return found

    def _after(self, stream: str, after: int, limit: int) -> list[StreamRecord]:
        found = self._streams().get(stream)
        if found is None:
            raise BusError(f"there is no stream {stream}")
        return found.after(after, limit)

    def _streams(self) -> dict[str, MemoryStream]:
        if not self._bus.connected:
            raise BusError("not connected to the bus")
        if not self._bus.hub.history_works:
            raise BusError("JetStream does not answer")
        return self._bus.hub.streams
