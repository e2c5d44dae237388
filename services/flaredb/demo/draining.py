"""A store is emptied while clients write: its leaders and replicas go to the others."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager

from msgspec import Struct

from flaredb.client.client import Client
from flaredb.client.errors import UnavailableError
from flaredb.demo.spreading import look
from flaredb_schemas.ids import StoreId
from flaredb_schemas.pd_answers import StoreRow

Progress = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]


class Drained(Struct, frozen=True):
    """Which store of so many replicas was to be emptied, and from the wish, at `begun` of the
    monotonic clock, how long that took."""

    store: StoreId
    replicas: int
    begun: float
    seconds: float
    is_empty: bool


async def drain_one(
    db: Client, spare: StoreId, progress: Progress, say: Callable[[str], None]
) -> Drained:
    """Empty the store that leads most regions, but not `spare`."""
    _, shares = await look(db)
    chosen = max(
        (one for one in shares if one.store != spare), key=lambda one: (one.leaders, -one.store)
    )
    say(
        f"store {chosen.store} is to be emptied of {chosen.replicas} replicas, "
        f"{chosen.leaders} of which lead"
    )
    begun = time.monotonic()
    row = await db.placement.drain(chosen.store)
    try:
        with progress(f"draining store {chosen.store}", chosen.replicas) as advance:
            left = chosen.replicas
            async for seen in db.placement.watch_drain(chosen.store):
                row = seen
                advance(left - min(left, _left(row)))
                left = min(left, _left(row))
    except UnavailableError as stuck:
        say(str(stuck))
    is_empty = row.drain is not None and row.drain.is_empty
    return Drained(chosen.store, chosen.replicas, begun, time.monotonic() - begun, is_empty)


def _left(row: StoreRow) -> int:
    """How many replicas are there still, or have not been cleaned away."""
    return row.drain.replicas + row.drain.cleaning if row.drain is not None else 0
