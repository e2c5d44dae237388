"""events: what happened to regions and stores, and what PD decided, past and as it happens."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Sequence
from heapq import merge
from typing import Annotated, Final

import typer

from flaredb.bus.bus import Bus, BusError, StreamRecord
from flaredb.cli.commands import cluster_command
from flaredb.cli.event_lines import event_line, event_record
from flaredb.cli.moments import parse_moment
from flaredb.cli.output import Format, as_json
from flaredb.cli.session import Session
from flaredb.client.errors import UnavailableError

PAGE: Final = 500
PATIENCE_SECONDS: Final = 5.0
"""How long a stream may not be there although NATS is, before following it ends."""
PAUSE_SECONDS: Final = 0.5

Told = tuple[str, StreamRecord]
"""A record, and the stream that has it."""


def add_event_commands(app: typer.Typer) -> None:
    """Put `events` into `app`."""
    cluster_command(app, "events", "flaredb events --since 10m", "flaredb events -f -o jsonl")(
        events
    )


async def events(
    session: Session,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as they happen.")] = False,
    since: Annotated[
        str | None, typer.Option("--since", help="90s, 10m, 2h, 1d ago, or a date and time.")
    ] = None,
    last: Annotated[
        int, typer.Option("--last", min=1, help="Without --since: at most so many of the past.")
    ] = 50,
) -> None:
    """Print what happened to regions and stores, and what PD decided, oldest first.

    Without -f, that of the past.
    """
    moment = parse_moment(since, _now()) if since else None
    db = await session.db()
    streams = db.subjects.event_stream, db.subjects.journal_stream
    reader = EventReader(db.bus, streams)
    try:
        past = await reader.past(moment, last)
        collected = session.printer.form is Format.JSON and not follow
        if collected:
            session.printer.records([event_record(*told) for told in past])
            return
        for told in past:
            _print(session, told)
        if follow:
            async for told in reader.follow():
                _print(session, told)
    except BusError as fault:
        raise UnavailableError(
            f"the streams of events cannot be read: {fault}", hint="see whether PD runs"
        ) from fault


class EventReader:
    """Reads several streams as one, in the order of the times at which they were stored."""

    def __init__(self, bus: Bus, streams: Sequence[str]) -> None:
        self._streams: Final = [StreamReader(bus, stream) for stream in streams]

    async def past(self, since_ms: int | None, last: int) -> list[Told]:
        """What the streams hold: all since a moment, or the last so many."""
        found = [await stream.past(since_ms, last) for stream in self._streams]
        told = list(merge(*found, key=lambda one: one[1].time))
        return told if since_ms is not None else told[-last:]

    async def follow(self) -> AsyncIterator[Told]:
        """What comes after that, for ever."""
        coming: asyncio.Queue[list[Told] | BusError] = asyncio.Queue(1)
        readers = [asyncio.create_task(stream.feed(coming)) for stream in self._streams]
        try:
            while True:
                page = await coming.get()
                if isinstance(page, BusError):
                    raise page
                for told in page:
                    yield told
        finally:
            for task in readers:
                task.cancel()


class StreamReader:
    """Reads one stream. Invariant: `_after` is the last sequence that was read."""

    def __init__(self, bus: Bus, stream: str) -> None:
        self._bus: Final = bus
        self._history: Final = bus.history
        self._stream: Final = stream
        self._after = 0

    async def past(self, since_ms: int | None, last: int) -> list[Told]:
        """What the stream holds: all since a moment, or the last so many."""
        state = await self._history.state(self._stream)
        if state is None or not state.last:
            return []
        if since_ms is None:
            self._after = max(state.first - 1, state.last - last)
        else:
            self._after = await self._before(since_ms, state.first, state.last)
        found: deque[Told] = deque(maxlen=None if since_ms is not None else last)
        while self._after < state.last:
            page = await self._read(timeout=0.5)
            if not page:
                break
            found.extend(page)
        return list(found)

    async def feed(self, coming: "asyncio.Queue[list[Told] | BusError]") -> None:
        """Hand over what comes, for ever; at last why it cannot be read.

        A lost connection is waited for: whoever follows wants to hear of what that brought about.
        """
        failing_since: float | None = None
        while True:
            try:
                page = await self._read(timeout=1.0)
            except BusError as fault:
                now = time.monotonic()
                if not self._bus.connected:
                    failing_since = None
                elif failing_since is None:
                    failing_since = now
                elif now - failing_since > PATIENCE_SECONDS:
                    return await coming.put(fault)
                await asyncio.sleep(PAUSE_SECONDS)
            else:
                failing_since = None
                if page:
                    await coming.put(page)

    async def _read(self, timeout: float) -> list[Told]:
        page = await self._history.read(self._stream, self._after, PAGE, timeout)
        if page:
            self._after = page[-1].sequence
        return [(self._stream, record) for record in page]

    async def _before(self, since_ms: int, first: int, last: int) -> int:
        """The last sequence before a moment, found by halving."""
        low, high = first - 1, last
        while low < high:
            middle = (low + high) // 2
            found = await self._history.read(self._stream, middle, 1, 0.5)
            if not found or found[0].time >= since_ms:
                high = middle
            else:
                low = found[0].sequence
        return low


def _print(session: Session, told: Told) -> None:
    event = event_record(*told)
    as_table = session.printer.form is Format.TABLE
    session.printer.line(event_line(event) if as_table else as_json(event), at_once=True)


def _now() -> int:
    return time.time_ns() // 1_000_000
