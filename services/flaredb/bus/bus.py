"""What anyone asks of a bus: send, request, subscribe, append to history.

Sending is at most once and never waits: while the bus is not connected a send is dropped, never
kept for later. Messages of one sender on one subject arrive in order or not at all. Handlers are
called on the event loop, must not block and must not raise.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Final, Protocol

from msgspec import Struct

INBOX_PREFIX: Final = "_INBOX"
"""What the subjects begin with at which anyone waits for answers."""


class Message(Struct, frozen=True, gc=False):
    """What a handler gets. `reply` is empty where no answer is expected.

    Whoever sends a message says where its answer is to go. A service that may write where others
    may not must look at that first: see `asks_rightly`.

    `no_responders` marks the bus's own notice that nobody listens on the subject asked.
    """

    subject: str
    payload: bytes
    reply: str = ""
    no_responders: bool = False

    @property
    def asks_rightly(self) -> bool:
        """Whether its answer, if one is wanted, goes to an inbox, and to no subject of ours."""
        return not self.reply or self.reply.startswith(INBOX_PREFIX)


Handler = Callable[[Message], None]


class Subscription(Protocol):
    """A subscription that is under way."""

    async def stop(self) -> None:
        """No message is delivered after this returns."""
        ...


class Appended(Struct, frozen=True, tag=True):
    """The stream holds the message at `sequence`; `duplicate` if it held it before."""

    sequence: int
    duplicate: bool


class WrongSequence(Struct, frozen=True, tag=True):
    """The stream's last sequence is not the expected one; nothing was appended."""

    last: int


class AppendUnknown(Struct, frozen=True, tag=True):
    """No answer in time, or none at all: the message may or may not be in the stream."""

    reason: str


AppendResult = Appended | WrongSequence | AppendUnknown


class StreamRecord(Struct, frozen=True):
    """One message as the stream keeps it. `time` is milliseconds since 1970."""

    sequence: int
    subject: str
    payload: bytes
    headers: Mapping[str, str]
    time: int


class StreamConfig(Struct, frozen=True):
    """A stream as it should be. Ages in seconds, sizes in bytes, 0 for no limit."""

    name: str
    subjects: tuple[str, ...]
    max_age: float = 0
    max_bytes: int = 0
    duplicate_window: float = 120
    replicas: int = 1
    deny_delete: bool = True
    deny_purge: bool = False


class StreamState(Struct, frozen=True):
    """What a stream holds: first and last sequence, 0 and 0 when it never held anything."""

    first: int
    last: int
    created: int
    """When it was made, milliseconds since 1970: another value means another stream."""


class History(Protocol):
    """JetStream, as far as this project uses it."""

    async def ensure(self, config: StreamConfig) -> tuple[str, ...]:
        """Create the stream, or verify it and return how it drifts, one line per difference.

        Never changes or destroys what is there. Raises `BusError` when it cannot be known.
        """
        ...

    async def append(
        self,
        subject: str,
        payload: bytes,
        headers: Mapping[str, str],
        expected_last: int | None = None,
        timeout: float = 2.0,
    ) -> AppendResult:
        """Append one message, at most once per `Nats-Msg-Id` within the stream's window.

        With `expected_last` only if that is the stream's last sequence.
        """
        ...

    async def state(self, stream: str) -> StreamState | None:
        """What the stream holds, or None if there is no such stream."""
        ...

    async def read(
        self, stream: str, after: int, limit: int = 500, timeout: float = 1.0
    ) -> list[StreamRecord]:
        """Records with a sequence above `after`, in order, at most `limit`.

        Waits up to `timeout` for the first; an empty list means that there were none. Raises
        `BusError` when the stream cannot be read.
        """
        ...


class Bus(Protocol):
    """One connection to the bus."""

    @property
    def connected(self) -> bool:
        """Whether the connection stands at this moment."""
        ...

    @property
    def history(self) -> History:
        """The streams."""
        ...

    def send(self, subject: str, payload: bytes, reply: str = "") -> bool:
        """Send, or drop and return False where there is no connection or too much is waiting."""
        ...

    def push(self) -> None:
        """Let what was sent leave now, and not only when the loop comes to it."""
        ...

    async def request(self, subject: str, payload: bytes, timeout: float) -> bytes | None:
        """One answer to one question; None if nobody listens or none came in time."""
        ...

    async def subscribe(self, subject: str, handler: Handler) -> Subscription:
        """Have `handler` called for every message on `subject` (wildcards as in NATS)."""
        ...

    def new_inbox(self) -> str:
        """A subject that nobody else uses, below this connection's own inbox prefix."""
        ...

    def on_connection(self, handler: Callable[[bool], None]) -> None:
        """Have `handler` called when the connection is lost (False) or is back (True)."""
        ...

    async def close(self) -> None:
        """Send what waits, then leave. Further sends are dropped."""
        ...


class BusError(Exception):
    """The bus did not do what was asked; the text says what to look at, `hint` what to do."""

    def __init__(self, text: str, hint: str = "") -> None:
        super().__init__(text)
        self.hint = hint


Answerer = Callable[[Message], Awaitable[bytes | None]]
