"""One more store joins, and regions and leaders spread onto it until it bears its share."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Final

import anyio.to_thread
from msgspec import Struct

from flaredb.client.client import Client
from flaredb.playground.supervisor import LocalCluster
from flaredb_schemas.ids import StoreId
from flaredb_schemas.pd_answers import RegionRow

LOOK_SECONDS: Final = 0.25

PATIENCE_SECONDS: Final = 60.0
"""After which the demonstration goes on, even or not."""

TOLERANCE: Final = 0.25
"""Even enough is a count within this share of the mean, or within one of it: what PD evens out are
bytes and load, and these regions are few."""


class Share(Struct, frozen=True):
    """What a store bears: how many replicas, how many of which lead, and bytes."""

    store: StoreId
    replicas: int
    leaders: int
    bytes: int


Show = Callable[[Sequence[Share]], None]
"""To be told what all stores bear now."""

Board = Callable[[str], AbstractContextManager[Show]]
"""Begins to show what stores bear, under a title."""


class Spread(Struct, frozen=True):
    """How long it took from the start of the store `joined`, and what all bear then."""

    joined: StoreId
    seconds: float
    is_even: bool
    shares: tuple[Share, ...]


async def spread(cluster: LocalCluster, db: Client, board: Board) -> Spread:
    """Start one more store, and show how it gets its share of all regions."""
    before = {store.id for store in await db.placement.stores()}
    begun = time.monotonic()
    number = await anyio.to_thread.run_sync(cluster.add_store)
    joined = next(one.id for one in await db.placement.stores() if one.id not in before)
    with board(f"store-{number} has joined as store {joined}") as show:
        while True:
            rows, shares = await look(db)
            show(shares)
            even, seconds = is_settled(rows) and is_even(shares), time.monotonic() - begun
            if even or seconds > PATIENCE_SECONDS:
                return Spread(joined, seconds, even, shares)
            await asyncio.sleep(LOOK_SECONDS)


async def look(db: Client) -> tuple[list[RegionRow], tuple[Share, ...]]:
    """All regions, and what the stores bear of them."""
    rows = await db.placement.regions()
    return rows, bear(rows, [store.id for store in await db.placement.stores()])


def bear(rows: Sequence[RegionRow], stores: Sequence[StoreId]) -> tuple[Share, ...]:
    """What each store bears of these regions."""
    replicas, leaders, size = Counter[StoreId](), Counter[StoreId](), Counter[StoreId]()
    for row in rows:
        leaders[row.leader_store] += 1
        for peer in row.peers:
            replicas[peer.store] += 1
            size[peer.store] += row.bytes
    return tuple(Share(one, replicas[one], leaders[one], size[one]) for one in stores)


def is_settled(rows: Sequence[RegionRow]) -> bool:
    """Whether no replica is on its way."""
    return all(peer.role == "voter" for row in rows for peer in row.peers)


def is_even(shares: Sequence[Share]) -> bool:
    """Whether replicas and leaders are spread evenly enough."""
    counts = [one.replicas for one in shares], [one.leaders for one in shares]
    return all(map(_is_even, counts))


def _is_even(counts: Sequence[int]) -> bool:
    even = sum(counts) / len(counts)
    return all(abs(one - even) <= max(1.0, TOLERANCE * even) for one in counts)
