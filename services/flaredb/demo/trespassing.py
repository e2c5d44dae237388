"""SC-002: reads and writes outside a region's range are refused, and leave nothing behind.

The client would never send such requests, so they are made by hand and sent to the region's leader.
Only the refusal of its check of the range counts: one that comes before that check says nothing.
"""

import asyncio
from functools import partial
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from flaredb.client.client import Client
from flaredb.client.inspect import MakeRequest
from flaredb_schemas.commands import BATCHES, Batch, Delete, DeleteRange, Lane, Op, Put
from flaredb_schemas.failures import KeyNotInRegion, SessionExpired
from flaredb_schemas.ids import RegionId
from flaredb_schemas.regions import Route
from flaredb_schemas.requests import GetRequest, Refused, ScanRequest, WriteRequest

PROBES_PER_REGION: Final = 50
PROBE_SECONDS: Final = 5.0
PATIENCE_SECONDS: Final = 10.0
"""How long the same is asked again while something else stands in its way."""
PAUSE_SECONDS: Final = 0.05
KINDS: Final = 5
"""Of access: three that write, two that read."""
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
            for kind in range(KINDS):
                told = await _is_refused(db, route, key, number, kind)
                tried += told is not None
                refused += told is True
    return Trespass(tried, refused)


async def _is_refused(db: Client, route: Route, key: bytes, number: int, kind: int) -> bool | None:
    """Whether it was refused for the range; None if the key is not foreign to the region any more.

    A leader that has changed, a new epoch, a lane that is too old, or too much work are no answer:
    it is asked again.
    """
    loop = asyncio.get_running_loop()
    deadline, time = loop.time() + PATIENCE_SECONDS, route.time
    while loop.time() < deadline:
        if route.region.keys.contains(key):
            return None
        attempt = _attempts(replace(route, time=time), key, number)[kind]
        answer = await db.inspector.ask(route.store, attempt, PROBE_SECONDS)
        match answer:
            case Refused(refusal=KeyNotInRegion()):
                return True
            case Refused(refusal=SessionExpired(time=told)):
                time = told  # what routes are told with is not kept in them
            case Refused() | None:
                await asyncio.sleep(PAUSE_SECONDS)
                found = await _route_of(db, route.region.id)
                if found is None:
                    return None
                route = found
            case _:
                return False
    return False


async def _route_of(db: Client, region: RegionId) -> Route | None:
    """The region as PD tells of it now; None if it is no more."""
    routes = await db.inspector.routes()
    return next((one for one in routes if one.region.id == region), None)


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
