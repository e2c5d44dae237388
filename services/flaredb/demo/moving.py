"""SC-004: a replica goes from one store to another while clients write."""

import asyncio
import time
from collections.abc import Callable
from typing import Final

from msgspec import Struct

from flaredb.client.client import Client
from flaredb.client.errors import UnavailableError
from flaredb.demo.spreading import look
from flaredb_schemas.ids import RegionId, StoreId
from flaredb_schemas.pd_answers import OperatorRow

TRY_SECONDS: Final = 30.0
"""How long the wish is repeated while PD has something else to do to the region."""

AGAIN_SECONDS: Final = 0.2


class Moved(Struct, frozen=True):
    """Whose replica went where, from the wish, at `begun` of the monotonic clock, to the end."""

    region: RegionId
    source: StoreId
    target: StoreId
    begun: float
    seconds: float
    outcome: str


class Choice(Struct, frozen=True):
    """What is to move."""

    region: RegionId
    source: StoreId
    target: StoreId


async def move_by_hand(db: Client, say: Callable[[str], None]) -> Moved:
    """Have the largest region that a store leads go from there to one that has nothing of it."""
    choice = await _choose(db)
    say(
        f"region {choice.region} is to move from store {choice.source}, which leads it, "
        f"to store {choice.target}"
    )
    begun = time.monotonic()
    row, told = await _wish(db, choice), 0
    async for seen in db.placement.watch(row.id):
        row = seen
        for step in row.steps[told:]:
            say(f"region {choice.region}: {step.replace('_', ' ')}")
        told = len(row.steps)
    seconds = time.monotonic() - begun
    return Moved(choice.region, choice.source, choice.target, begun, seconds, row.state)


async def _wish(db: Client, choice: Choice) -> OperatorRow:
    deadline = time.monotonic() + TRY_SECONDS
    while True:
        try:
            return await db.placement.move(choice.region, choice.source, choice.target)
        except UnavailableError:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(AGAIN_SECONDS)


async def _choose(db: Client) -> Choice:
    """The largest region, to the store that bears least of those without a replica of it."""
    rows, shares = await look(db)
    row = max((row for row in rows if row.leader_store), key=lambda row: (row.bytes, row.id))
    held = {peer.store for peer in row.peers}
    target = min((one.bytes, one.store) for one in shares if one.store not in held)[1]
    return Choice(row.id, row.leader_store, target)
