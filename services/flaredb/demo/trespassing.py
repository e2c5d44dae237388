"""SC-002: reads and writes outside a region's range are refused, and leave nothing behind.

The client would never send such requests, so they are made by hand and sent to the region's leader.
"""

from functools import partial
from typing import Final

from msgspec import Struct

from flaredb.client.client import Client
from flaredb.client.inspect import MakeRequest
from flaredb_schemas.commands import BATCHES, Batch, Delete, DeleteRange, Lane, Op, Put
from flaredb_schemas.regions import Route
from flaredb_schemas.requests import GetRequest, Refused, ScanRequest, WriteRequest

PROBES_PER_REGION: Final = 50
PROBE_SECONDS: Final = 5.0
MARK: Final = b"\0trespass"
"""How a key ends that must never be stored."""


class Trespass(Struct, frozen=True):
    """How often something was asked of the wrong region, and how often that was refused."""

    tried: int
    refused: int


async def trespass(db: Client, keys: list[bytes]) -> Trespass:
    """Ask the leader of every region for some of `keys` that are another region's.

    Raises `UnavailableError` where the regions cannot be known.
    """
    tried = refused = 0
    for route in await db.inspector.routes():
        foreign = [key for key in keys if not route.region.keys.contains(key)]
        step = max(1, len(foreign) // PROBES_PER_REGION)
        for number, key in enumerate(foreign[::step][:PROBES_PER_REGION]):
            for attempt in _attempts(route, key, number):
                answer = await db.inspector.ask(route.store, attempt, PROBE_SECONDS)
                tried += 1
                refused += isinstance(answer, Refused)
    return Trespass(tried, refused)


def _attempts(route: Route, key: bytes, number: int) -> list[MakeRequest]:
    """Every kind of access to a key that is not the region's."""
    region, version = route.region.id, route.region.epoch.version
    ops: list[Op] = [
        Put(0, key + MARK, b"stray"),
        Delete(0, key),
        DeleteRange(0, key, key + b"\0"),
    ]
    writes: list[MakeRequest] = []
    for kind, op in enumerate(ops):
        # Each batch has a lane of its own, so that no answer can come from an earlier one.
        lane = Lane(1, route.time, number * len(ops) + kind)
        batch = BATCHES.encode(Batch(lane, 0, 0, (op,)))
        writes.append(partial(WriteRequest, region=region, version=version, batch=batch))
    get = partial(GetRequest, region=region, version=version, keys=(key,))
    scan = partial(
        ScanRequest, region=region, version=version, start=key, end=key + b"\0", limit=10
    )
    return [*writes, get, scan]
