"""Rows for regions that move, and whether what moved has come to stay."""

import asyncio
import random
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Final

from flaredb.client.client import Client
from flaredb_schemas.ids import RegionId, StoreId
from flaredb_schemas.pd_answers import OperatorRow, RegionRow, StoreRow

KIB: Final = 1024
MIB: Final = 1024 * KIB
AT_ONCE: Final = 16
VALUE_BYTES: Final = 64 * KIB

UNSPLIT: Final = {"split_bytes": "1 GiB", "merge_bytes": "0"}
"""Settings with which regions stay what they are."""


def first_key(row: RegionRow) -> bytes:
    """A key in the region, and a prefix of others in it."""
    return row.start_b64 or b"A"


async def fill_regions(db: Client, size: int, value_bytes: int = VALUE_BYTES) -> None:
    """Put so many bytes into each region."""
    value = random.Random(1).randbytes(value_bytes)
    for row in await db.placement.regions():
        keys = [first_key(row) + b"-%06d" % number for number in range(size // value_bytes)]
        for at in range(0, len(keys), AT_ONCE):
            await asyncio.gather(*(db.put(key, value) for key in keys[at : at + AT_ONCE]))


async def store_row(db: Client, store: StoreId) -> StoreRow:
    """A store as PD tells of it."""
    return next(row for row in await db.placement.stores() if row.id == store)


def came_back(rows: Iterable[OperatorRow], led: Mapping[RegionId, StoreId]) -> list[RegionId]:
    """The regions whose replica, or whose leadership, was brought back to a store that it had left.

    `led` says who led each at first.
    """
    leaders = {region: [store] for region, store in led.items()}
    left: dict[RegionId, set[StoreId]] = {}
    found: list[RegionId] = []
    for row in sorted(rows, key=lambda row: row.id):
        if row.state != "done":
            continue
        if row.kind == "transfer":
            leaders.setdefault(row.region, []).append(row.to_store)
        else:
            found += [row.region] * (row.to_store in left.get(row.region, ()))
            left.setdefault(row.region, set()).add(row.from_store)
    for region, stores in leaders.items():
        changes = [after for before, after in pairwise(stores) if before != after]
        found += [region] * (len({stores[0], *changes}) <= len(changes))
    return found
