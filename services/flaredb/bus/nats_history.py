"""JetStream: streams verified, appended to with a fence, and read by position.

Reading keeps nothing on the server, no consumer that could be lost or stall: each batch is one
question, "so many messages from this sequence on" (JetStream's batched direct get), and every
message in the answer names the sequence before it, so that a missing one is noticed.
"""

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final, Protocol

import msgspec
import nats.js.errors
from nats.js import JetStreamContext, api

from flaredb.bus.bus import (
    Appended,
    AppendResult,
    AppendUnknown,
    BusError,
    StreamConfig,
    StreamRecord,
    StreamState,
    WrongSequence,
)
from flaredb.bus.checks import check_payload, check_subject, drift
from flaredb.bus.nats_line import NO_SERVER, STATUS, LineHandler, PlainLine

WRONG_LAST_SEQUENCE: Final = 10071
"""JetStream's code for an append whose expected sequence is not the last one."""

API_SECONDS: Final = 5.0
MAX_BATCH_BYTES: Final = 8 * 1024 * 1024
FIRST_PAUSE: Final = 0.01
LONGEST_PAUSE: Final = 0.2
"""Seconds between two looks at a stream that has nothing new; they double from the first."""

_ADDED: Final = frozenset(
    f"Nats-{word}"
    for word in ("Stream", "Subject", "Sequence", "Time-Stamp", "Num-Pending", "Last-Sequence")
)
_END_OF_BATCH: Final = "204"
_NOT_FOUND: Final = "404"


class Connection(Protocol):
    """What a history needs of the connection that it uses; see `NatsBus`."""

    @property
    def line(self) -> PlainLine: ...

    @property
    def max_payload(self) -> int: ...

    @property
    def inbox_root(self) -> str: ...

    def new_inbox(self) -> str: ...

    def send(self, subject: str, payload: bytes, reply: str = "") -> bool: ...

    async def listen(self, subject: str, handler: LineHandler) -> object: ...

    def on_connection(self, handler: Callable[[bool], None]) -> None: ...


class _Batch:
    """The answer to one batched get, as it comes in.

    Invariant: `records` is gapless so far: each record's message named its predecessor.
    """

    def __init__(self, after: int) -> None:
        self.records: Final[list[StreamRecord]] = []
        self.done: Final[asyncio.Future[str]] = asyncio.get_running_loop().create_future()
        """The status that ended the batch."""
        self._last = after

    def received(
        self, subject: str, reply: str, headers: Mapping[str, str] | None, payload: bytes
    ) -> None:
        """Take one message of the answer."""
        if self.done.done():
            return
        if headers is None:
            self.done.set_exception(BusError(f"{subject}: an answer that is no stream record"))
        elif STATUS in headers and "Nats-Sequence" not in headers:
            self.done.set_result(headers[STATUS])
        else:
            self._add(headers, payload)

    def _add(self, headers: Mapping[str, str], payload: bytes) -> None:
        before = int(headers["Nats-Last-Sequence"])
        if self.records and before != self._last:
            self.done.set_exception(BusError(f"a record between {self._last} and {before} is lost"))
            return
        self._last = int(headers["Nats-Sequence"])
        own = {name: value for name, value in headers.items() if name not in _ADDED}
        when = datetime.fromisoformat(headers["Nats-Time-Stamp"])
        self.records.append(
            StreamRecord(self._last, headers["Nats-Subject"], payload, own, milliseconds(when))
        )


class NatsHistory:
    """The streams behind one bus connection."""

    def __init__(self, bus: Connection) -> None:
        self._bus: Final = bus
        self._line: PlainLine | None = None
        self._context: JetStreamContext | None = None
        self._batches: dict[str, _Batch] = {}
        self._hears_batches = False

    async def ensure(self, config: StreamConfig) -> tuple[str, ...]:
        found = await self._find(config.name)
        if found is None:
            await self._ask(self._jetstream().add_stream(_to_nats(config)), config.name)
            return ()
        direct = () if found.config.allow_direct else (f"{config.name}.allow_direct is off",)
        return drift(config, _from_nats(found.config)) + direct

    async def append(
        self,
        subject: str,
        payload: bytes,
        headers: Mapping[str, str],
        expected_last: int | None = None,
        timeout: float = 2.0,
    ) -> AppendResult:
        check_subject(subject)
        size = sum(len(name) + len(value) + 4 for name, value in headers.items())
        check_payload(payload, self._bus.max_payload - size - 64)
        sent = dict(headers)
        if expected_last is not None:
            sent["Nats-Expected-Last-Sequence"] = str(expected_last)
        try:
            ack = await self._jetstream().publish(subject, payload, timeout, headers=sent)
        except nats.js.errors.APIError as error:
            if error.err_code == WRONG_LAST_SEQUENCE:
                return WrongSequence(int(str(error.description).rpartition(":")[2]))
            return AppendUnknown(f"{subject}: {error.description}")
        except (*NO_SERVER, BusError) as error:
            return AppendUnknown(f"{subject}: {str(error) or type(error).__name__}")
        return Appended(ack.seq, bool(ack.duplicate))

    async def state(self, stream: str) -> StreamState | None:
        found = await self._find(stream)
        if found is None:
            return None
        assert found.created is not None, "JetStream tells when a stream was made"
        held = found.state
        return StreamState(held.first_seq, held.last_seq, milliseconds(found.created))

    async def read(
        self, stream: str, after: int, limit: int = 500, timeout: float = 1.0
    ) -> list[StreamRecord]:
        assert after >= 0 and limit > 0, "positions are not negative, and a read is for something"
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        pause = FIRST_PAUSE
        while True:
            records = await self._read_batch(stream, after, limit)
            left = deadline - loop.time()
            if records or left <= 0:
                return records
            await asyncio.sleep(min(pause, left))
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _read_batch(self, stream: str, after: int, limit: int) -> list[StreamRecord]:
        """What the stream holds above `after` now; BusError unless that is known in full."""
        await self._hear_batches()
        inbox = f"{self._bus.new_inbox()}.h"
        batch = self._batches[inbox] = _Batch(after)
        question = {"seq": after + 1, "batch": limit, "max_bytes": MAX_BATCH_BYTES}
        try:
            subject = f"$JS.API.DIRECT.GET.{stream}"
            if not self._bus.send(subject, msgspec.json.encode(question), inbox):
                raise BusError("not connected to NATS")
            async with asyncio.timeout(API_SECONDS):
                status = await batch.done
        except TimeoutError:
            raise BusError(f"stream {stream} gave no answer in {API_SECONDS} s") from None
        finally:
            del self._batches[inbox]
        if status not in (_END_OF_BATCH, _NOT_FOUND):
            raise BusError(
                f"stream {stream} cannot be read ({status}): it is missing, JetStream "
                "does not run, or the stream does not allow direct gets"
            )
        return batch.records

    async def _hear_batches(self) -> None:
        if not self._hears_batches:
            self._hears_batches = True
            self._bus.on_connection(self._connection_changed)
            await self._bus.listen(f"{self._bus.inbox_root}.*.h", self._batch_received)

    def _batch_received(
        self, subject: str, reply: str, headers: Mapping[str, str] | None, payload: bytes
    ) -> None:
        batch = self._batches.get(subject)
        if batch is not None:
            batch.received(subject, reply, headers, payload)

    def _connection_changed(self, connected: bool) -> None:
        for batch in self._batches.values():
            if not batch.done.done():
                batch.done.set_exception(BusError("the connection was lost during a read"))

    async def _find(self, stream: str) -> api.StreamInfo | None:
        try:
            return await self._ask(self._jetstream().stream_info(stream), stream)
        except nats.js.errors.NotFoundError:
            return None

    async def _ask(self, question: Any, stream: str) -> api.StreamInfo:
        try:
            answer: api.StreamInfo = await question
        except nats.js.errors.NotFoundError:
            raise
        except NO_SERVER as error:
            text = str(error) or type(error).__name__
            raise BusError(f"JetStream does not tell about stream {stream}: {text}") from error
        return answer

    def _jetstream(self) -> JetStreamContext:
        line = self._bus.line
        if self._context is None or self._line is not line:
            self._line = line
            self._context = line.client.jetstream(timeout=API_SECONDS)
        return self._context


def milliseconds(when: datetime) -> int:
    """`when` as milliseconds since 1970."""
    return int(when.timestamp() * 1_000)


def _to_nats(config: StreamConfig) -> api.StreamConfig:
    return api.StreamConfig(
        name=config.name,
        subjects=list(config.subjects),
        max_age=config.max_age,
        max_bytes=config.max_bytes or -1,
        duplicate_window=config.duplicate_window,
        num_replicas=config.replicas,
        deny_delete=config.deny_delete,
        deny_purge=config.deny_purge,
        allow_direct=True,
    )


def _from_nats(found: api.StreamConfig) -> StreamConfig:
    return StreamConfig(
        name=found.name or "",
        subjects=tuple(found.subjects or ()),
        max_age=found.max_age or 0,
        max_bytes=max(found.max_bytes or 0, 0),
        duplicate_window=found.duplicate_window or 0,
        replicas=found.num_replicas or 1,
        deny_delete=bool(found.deny_delete),
        deny_purge=bool(found.deny_purge),
    )
