"""events: what happened to regions and stores, as the stream keeps it, and as it happens."""

import json
import time
from collections import deque
from collections.abc import AsyncIterator
from typing import Annotated, Any

import typer

from flaredb.bus.bus import BusError, History, StreamRecord
from flaredb.cli.commands import cluster_command
from flaredb.cli.moments import parse_moment, show_moment
from flaredb.cli.output import Format, as_json
from flaredb.cli.session import Session
from flaredb.client.errors import UnavailableError

PAGE = 500


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
    """Print events of regions and stores, oldest first; without -f, those of the past."""
    moment = parse_moment(since, _now()) if since else None
    db = await session.db()
    reader = EventReader(db.bus.history, db.subjects.event_stream)
    try:
        past = await reader.past(moment, last)
        collected = session.printer.form is Format.JSON and not follow
        if collected:
            session.printer.records([event_record(record) for record in past])
            return
        for record in past:
            _print(session, record)
        if follow:
            async for record in reader.follow():
                _print(session, record)
    except BusError as fault:
        raise UnavailableError(
            f"the stream of events cannot be read: {fault}", hint="see whether PD runs"
        ) from fault


class EventReader:
    """Reads one stream. Invariant: `_after` is the last sequence that was read."""

    def __init__(self, history: History, stream: str) -> None:
        self._history = history
        self._stream = stream
        self._after = 0

    async def past(self, since_ms: int | None, last: int) -> list[StreamRecord]:
        """What the stream holds: all since a moment, or the last so many."""
        state = await self._history.state(self._stream)
        if state is None or not state.last:
            return []
        if since_ms is None:
            self._after = max(state.first - 1, state.last - last)
        else:
            self._after = await self._before(since_ms, state.first, state.last)
        found: deque[StreamRecord] = deque(maxlen=None if since_ms is not None else last)
        while self._after < state.last:
            page = await self._read(timeout=0.5)
            if not page:
                break
            found.extend(page)
        return list(found)

    async def follow(self) -> AsyncIterator[StreamRecord]:
        """What comes after that, for ever."""
        while True:
            for record in await self._read(timeout=1.0):
                yield record

    async def _read(self, timeout: float) -> list[StreamRecord]:
        page = await self._history.read(self._stream, self._after, PAGE, timeout)
        if page:
            self._after = page[-1].sequence
        return page

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


def event_record(record: StreamRecord) -> dict[str, Any]:
    """An event as JSON: what it says itself, and where it stands in the stream."""
    try:
        payload = json.loads(record.payload)
    except (ValueError, RecursionError):
        payload = {"payload": record.payload.decode(errors="replace")}
    body = payload if isinstance(payload, dict) else {"payload": payload}
    return {"seq": record.sequence, "time": show_moment(record.time), **body}


def _print(session: Session, record: StreamRecord) -> None:
    event = event_record(record)
    if session.printer.form is not Format.TABLE:
        session.printer.line(as_json(event), at_once=True)
        return
    shown = {
        name: value
        for name, value in event.items()
        if name not in _SHOWN_APART and f"{name}_text" not in event
    }
    words = " ".join(f"{name}={_brief(value)}" for name, value in shown.items())
    kind = str(event.get("type", "?"))
    session.printer.line(f"{event['time']}  {kind:26} {words}", at_once=True)


def _brief(value: Any) -> Any:
    """Things with ids are named by these alone; `-o jsonl` tells the rest of them."""
    if isinstance(value, list) and all(isinstance(one, dict) and "id" in one for one in value):
        return ",".join(str(one["id"]) for one in value)
    return value


_SHOWN_APART = ("seq", "time", "type", "id", "at")


def _now() -> int:
    return time.time_ns() // 1_000_000
