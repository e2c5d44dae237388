"""Small writes all over the key space, which go on while something is done to the cluster."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from itertools import count, pairwise
from typing import Final

from msgspec import Struct

from flaredb.client.client import Client
from flaredb.client.errors import FlareDBError
from flaredb_schemas.keys import MAX_KEY_BYTES

WRITERS: Final = 4
PAUSE_SECONDS: Final = 0.01
"""Between two writes of a writer, so that the machine has time for what is done meanwhile."""

SUFFIX: Final = b"~"
"""What is written are other keys, each next to one that was loaded."""


class Write(Struct, frozen=True):
    """One write: from when until when, in seconds of the monotonic clock, and how it ended."""

    begun: float
    ended: float
    ok: bool


class Tally(Struct, frozen=True):
    """How many writes were tried, and how many of these succeeded."""

    tried: int
    succeeded: int

    @property
    def share(self) -> float:
        """The share that succeeded; 0 where none was tried."""
        return self.succeeded / max(1, self.tried)


class Steady:
    """Writers that go round their keys, one write after the other each.

    Invariants: a key is one writer's; `expected` holds what was acknowledged last of each key, and
    no key whose last write may or may not have taken effect.
    """

    def __init__(self, db: Client, keys: Iterable[bytes]) -> None:
        self._db = db
        beside = (key + SUFFIX for key in sorted(keys))
        self._keys = [key for key in beside if len(key) <= MAX_KEY_BYTES]
        self._stopped = False
        self.expected: dict[bytes, bytes] = {}
        self.writes: list[Write] = []
        self.failed: list[FlareDBError] = []

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """They write within the block, and have their last answers when it ends."""
        async with asyncio.TaskGroup() as writers:
            for number in range(WRITERS):
                writers.create_task(self._write(self._keys[number::WRITERS]))
            try:
                yield
            finally:
                self._stopped = True

    def during(self, begin: float, end: float) -> Tally:
        """The writes that were under way at any time between these moments."""
        found = [one for one in self.writes if one.ended >= begin and one.begun <= end]
        return Tally(len(found), sum(one.ok for one in found))

    @property
    def longest_gap(self) -> float:
        """The longest time in seconds between two acknowledgements in a row."""
        moments = sorted(one.ended for one in self.writes if one.ok)
        return max((later - earlier for earlier, later in pairwise(moments)), default=0.0)

    async def _write(self, keys: list[bytes]) -> None:
        for turn in count(1):
            for key in keys:
                if self._stopped:
                    return
                await self._put(key, b"%d" % turn)
                await asyncio.sleep(PAUSE_SECONDS)
            if not keys:
                return

    async def _put(self, key: bytes, value: bytes) -> None:
        begun, failure = time.monotonic(), None
        try:
            await self._db.put(key, value)
        except FlareDBError as error:
            failure = error
        self.writes.append(Write(begun, time.monotonic(), failure is None))
        if failure is None:
            self.expected[key] = value
        else:
            self.failed.append(failure)
            self.expected.pop(key, None)
