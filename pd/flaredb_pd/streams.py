"""The three streams: events, heartbeats, and PD's journal. Made or verified, never destroyed.

A cluster loses no data when it loses a stream (its history ends in a gap), so whoever set one up
differently is told, and obeyed.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from flaredb.bus.bus import BusError, History, StreamConfig
from flaredb_pd.effects import JournalRead
from flaredb_schemas.subjects import EVENT_NOUNS, JOURNAL_NOUNS, Subjects

DAY: Final = 24 * 3600.0
GIB: Final = 1024**3

SMALLER: Final = (1, 4, 16, 64)
"""What a stream's size is divided by where the server has no room for all of it."""


def event_stream(subjects: Subjects) -> StreamConfig:
    """What happened to regions and stores: 30 days of it."""
    return StreamConfig(
        name=subjects.event_stream,
        subjects=tuple(subjects.events_of(noun) for noun in EVENT_NOUNS),
        max_age=30 * DAY,
        max_bytes=10 * GIB,
        duplicate_window=600,
    )


def heartbeat_stream(subjects: Subjects) -> StreamConfig:
    """Heartbeats: one day, so that they can never push events out."""
    return StreamConfig(
        name=subjects.heartbeat_stream,
        subjects=(subjects.heartbeats,),
        max_age=DAY,
        max_bytes=2 * GIB,
        duplicate_window=120,
        deny_delete=False,
    )


def journal_stream(subjects: Subjects) -> StreamConfig:
    """PD's journal: everything for ever, since PD is a fold of it."""
    return StreamConfig(
        name=subjects.journal_stream,
        subjects=tuple(subjects.events_of(noun) for noun in JOURNAL_NOUNS),
        deny_purge=True,
    )


def all_streams(subjects: Subjects) -> tuple[StreamConfig, ...]:
    """Every stream that PD answers for."""
    return event_stream(subjects), heartbeat_stream(subjects), journal_stream(subjects)


async def ensure_streams(history: History, wanted: Sequence[StreamConfig]) -> tuple[str, ...]:
    """Have all streams; returns how they drift. Raises `BusError` if one cannot be had."""
    drifts: list[str] = []
    for config in wanted:
        drifts += await _ensure(history, config)
    return tuple(drifts)


async def make_lost(history: History, wanted: Sequence[StreamConfig]) -> tuple[str, ...]:
    """Make those streams anew that are not there any more, and return their names.

    History goes on in them, behind a gap. Raises `BusError` if that cannot be known or done.
    """
    lost = [config for config in wanted if await history.state(config.name) is None]
    for config in lost:
        await _ensure(history, config)
    return tuple(config.name for config in lost)


async def _ensure(history: History, config: StreamConfig) -> tuple[str, ...]:
    if await history.state(config.name) is not None:
        return await history.ensure(config)
    smallest = SMALLER[-1] if config.max_bytes else 1
    for part in SMALLER:
        size = config.max_bytes // part
        try:
            await history.ensure(msgspec.structs.replace(config, max_bytes=size))
        except BusError as error:
            if part == smallest or "insufficient" not in str(error):
                raise
            continue
        return () if part == 1 else (f"{config.name} holds only {size} bytes: no room for more",)
    raise AssertionError("the last attempt returns or raises")


async def read_journal(history: History, config: StreamConfig, after: int) -> JournalRead | None:
    """The journal's state and its records above `after`; None if that cannot be known now.

    A journal that is not there is made, empty: whoever reads it finds out that it is another one.
    """
    try:
        state = await history.state(config.name)
        if state is None:
            await history.ensure(config)
            state = await history.state(config.name)
        if state is None:
            return None
        expected = state.last > after and state.first <= state.last
        records = await history.read(config.name, after) if expected else []
    except BusError:
        return None
    if expected and not records:
        return None
    return JournalRead(state.created, state.first, state.last, tuple(records))
