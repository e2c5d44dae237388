"""The splits of a cluster: told as they happen, and how long each took, as history has it.

A split begins when its trigger was noticed (`triggered` of the event `region.split`) and has ended
when PD has journaled the last of its new regions (`pd.region_registered`).
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from statistics import median
from typing import Any, Final

from msgspec import Struct

from flaredb.bus.bus import Message
from flaredb.client.client import Client

REGISTER_SECONDS: Final = 10.0
"""How long to wait for PD to have heard of the last new region."""

_PAGE: Final = 500


class SplitFigures(Struct, frozen=True):
    """What became of all splits: `seconds` of each that PD knows, and how many it does not."""

    seconds: tuple[float, ...]
    new_regions: int
    unregistered: int

    @property
    def median(self) -> float:
        """0 where there was none."""
        return round(median(self.seconds), 3) if self.seconds else 0.0

    @property
    def worst(self) -> float:
        """0 where there was none."""
        return round(max(self.seconds, default=0.0), 3)


@asynccontextmanager
async def announced(db: Client, say: Callable[[str], None]) -> AsyncIterator[None]:
    """Within the block each split is said when its event comes."""

    def heard(message: Message) -> None:
        event = json.loads(message.payload)
        parts = [part["id"] for part in event["parts"]]
        begins = ", ".join(part["start_text"] for part in event["parts"][1:])
        say(f"region {parts[0]} split ({event['trigger']}): {parts[1:]} begin at {begins}")

    subject = db.subjects.event("region.split", "*", "*")
    subscription = await db.bus.subscribe(subject, heard)
    try:
        yield
    finally:
        await subscription.stop()


async def read_splits(db: Client) -> SplitFigures:
    """What the streams tell of splits, once PD knows of all new regions or has had time to."""
    deadline = time.monotonic() + REGISTER_SECONDS
    while True:
        figures = await _read(db)
        if not figures.unregistered or time.monotonic() >= deadline:
            return figures
        await asyncio.sleep(0.1)


async def _read(db: Client) -> SplitFigures:
    splits = await _records(db, db.subjects.event_stream, "region.split")
    facts = await _records(db, db.subjects.journal_stream, "pd.region_registered")
    registered = {fact["region"]["id"]: fact["at"] for fact in facts}
    seconds: list[float] = []
    new_regions = unregistered = 0
    for split in splits:
        children = [part["id"] for part in split["parts"][1:]]
        new_regions += len(children)
        if all(child in registered for child in children):
            last = max(registered[child] for child in children)
            seconds.append((last - split["triggered"]) / 1_000)
        else:
            unregistered += 1
    return SplitFigures(tuple(seconds), new_regions, unregistered)


async def _records(db: Client, stream: str, kind: str) -> list[dict[str, Any]]:
    """All records of one type in a stream, each once."""
    found: dict[str, dict[str, Any]] = {}
    state, after = await db.bus.history.state(stream), 0
    last = state.last if state else 0
    while after < last:
        page = await db.bus.history.read(stream, after, _PAGE)
        if not page:
            break
        after = page[-1].sequence
        for record in page:
            event = json.loads(record.payload)
            if event.get("type") == kind:
                found[event["id"]] = event
    return list(found.values())
