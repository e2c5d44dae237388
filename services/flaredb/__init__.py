"""FlareDB: an ordered, range-sharded, replicated key-value store on NATS.

    import flaredb

    with flaredb.connect("nats://127.0.0.1:4222") as db:
        db.put(b"user:1", b"Ada")
        db.get(b"user:1")                              # b"Ada", or None
        for key, value in db.scan(prefix=b"user:"):
            ...

    async with flaredb.AsyncClient("nats://127.0.0.1:4222") as db:
        await db.put(b"user:1", b"Ada")

What is offered is loaded when it is first used: stores import this package too, and need no client.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flaredb.api import AsyncClient, connect
    from flaredb.client.batch import WriteBatch
    from flaredb.client.client import CasResult
    from flaredb.client.errors import (
        BusyError,
        ClosedError,
        ConflictError,
        DiskFullError,
        FlareDBError,
        InvalidArgumentError,
        ResourceExhaustedError,
        SeveralRegionsError,
        TimeoutError,
        UnavailableError,
        UndeterminedError,
    )
    from flaredb.client.sync import BlockingClient

__version__ = "0.1.0"

_HOMES = {
    "AsyncClient": "flaredb.api",
    "BlockingClient": "flaredb.client.sync",
    "BusyError": "flaredb.client.errors",
    "CasResult": "flaredb.client.client",
    "ClosedError": "flaredb.client.errors",
    "ConflictError": "flaredb.client.errors",
    "DiskFullError": "flaredb.client.errors",
    "FlareDBError": "flaredb.client.errors",
    "InvalidArgumentError": "flaredb.client.errors",
    "ResourceExhaustedError": "flaredb.client.errors",
    "SeveralRegionsError": "flaredb.client.errors",
    "TimeoutError": "flaredb.client.errors",
    "UnavailableError": "flaredb.client.errors",
    "UndeterminedError": "flaredb.client.errors",
    "WriteBatch": "flaredb.client.batch",
    "connect": "flaredb.api",
}

__all__ = [
    "AsyncClient",
    "BlockingClient",
    "BusyError",
    "CasResult",
    "ClosedError",
    "ConflictError",
    "DiskFullError",
    "FlareDBError",
    "InvalidArgumentError",
    "ResourceExhaustedError",
    "SeveralRegionsError",
    "TimeoutError",
    "UnavailableError",
    "UndeterminedError",
    "WriteBatch",
    "connect",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'flaredb' has no attribute {name!r}")
    return getattr(import_module(home), name)
