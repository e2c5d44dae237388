"""Writes rows with many writers at once, tells how that went, and reads them back."""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from flaredb.client.client import Client
from flaredb.client.errors import FlareDBError

WRITERS: Final = 16
READ_KEYS: Final = 128
"""Keys per read when everything is read back."""

Advance = Callable[[int], None]


class Load:
    """Rows on their way into the cluster.

    Invariants: a key is in `acknowledged` only after its write was; `longest_gap` is the longest
    time in seconds between two acknowledgements so far.
    """

    def __init__(self, db: Client, rows: Mapping[bytes, bytes], advance: Advance) -> None:
        self._db = db
        self._rows = rows
        self._advance = advance
        self._last = 0.0
        self.acknowledged: set[bytes] = set()
        self.failed: list[FlareDBError] = []
        self.longest_gap = 0.0

    @property
    def progress(self) -> float:
        """The share of the rows that were tried."""
        return (len(self.acknowledged) + len(self.failed)) / max(1, len(self._rows))

    async def run(self) -> None:
        """Write every row once; failures are kept, not raised."""
        self._last = time.monotonic()
        rows = iter(list(self._rows.items()))
        await asyncio.gather(*(self._writer(rows) for _ in range(WRITERS)))

    async def _writer(self, rows: Iterable[tuple[bytes, bytes]]) -> None:
        for key, value in rows:
            try:
                await self._db.put(key, value)
            except FlareDBError as error:
                self.failed.append(error)
            else:
                self._acknowledge(key)
            self._advance(1)

    def _acknowledge(self, key: bytes) -> None:
        now = time.monotonic()
        self.longest_gap = max(self.longest_gap, now - self._last)
        self._last = now
        self.acknowledged.add(key)


async def count_verified(db: Client, held: Mapping[bytes, bytes], advance: Advance) -> int:
    """Read everything in `held` back, and count the keys that hold this value."""
    ordered = sorted(held)
    verified = 0
    for start in range(0, len(ordered), READ_KEYS):
        wanted = ordered[start : start + READ_KEYS]
        found = await db.get_many(wanted)
        verified += sum(found.get(key) == held[key] for key in wanted)
        advance(len(wanted))
    return verified
