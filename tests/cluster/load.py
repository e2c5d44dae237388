"""Clients that write and read while something is harmed, and the history of what they were told.

Every client makes one call after the other: gets, puts, deletes and swaps on a few hundred shared
keys, and now and then a put to a key of its own, written once. A write whose outcome nobody knows
stays in the history without answer; one that surely had no effect is left out.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from flaredb.client.client import Client
from flaredb.client.errors import FlareDBError, UndeterminedError
from flaredb.playground.supervisor import LocalCluster
from tests.cluster.gaps import Gaps
from tests.linearizability import (
    Answer,
    Call,
    CompareAndSet,
    Delete,
    Done,
    Get,
    Got,
    Operation,
    Put,
    Swapped,
)

CLIENTS: Final = 8
SHARED_KEYS: Final = 300
OWN_SHARE: Final = 0.25
"""The share of calls that write a new key."""

CALL_SECONDS: Final = 15.0
PATIENCE: Final = 30.0
PAUSE_SECONDS: Final = 0.001


class Load:
    """What some clients do to a cluster until they are told to stop.

    Invariant: a call stands in `history` at most once, and only after it has ended.
    """

    def __init__(self, cluster: LocalCluster, seed: int = 1) -> None:
        self._cluster: Final = cluster
        self._dice: Final = random.Random(seed)
        self._stopped = False
        self._begun = self._last_write = 0.0
        self._gaps: Final = Gaps()
        self.history: Final[list[Operation]] = []
        self.written_once: Final[dict[bytes, bytes]] = {}
        """What was acknowledged of the keys that are written only once."""
        self.writes = 0
        """Acknowledged writes."""
        self.refused = 0
        """Calls that surely had no effect."""
        self.unknown = 0
        """Calls whose outcome is not known."""
        self.troubles: Final[list[str]] = []
        """The errors that clients saw, and when, in seconds since they began."""
        self.longest_gap = 0.0
        """Seconds without an acknowledged write in any part of the keys where one was tried."""

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Load"]:
        """The clients call within the block, and have their last answers when it ends."""
        self._begun = self._last_write = time.monotonic()
        async with asyncio.TaskGroup() as clients:
            for number in range(CLIENTS):
                clients.create_task(self._client(number))
            try:
                yield self
            finally:
                self._stopped = True
        now = time.monotonic()
        self._note_gap(max(now - self._last_write, self._gaps.longest_open(now)))

    async def go_on(self, seconds: float, writes: int = 1) -> None:
        """Return when so long has passed and so many writes more were acknowledged."""
        enough, at_least = self.writes + writes, time.monotonic() + seconds
        deadline = at_least + PATIENCE
        while time.monotonic() < at_least or self.writes < enough:
            assert time.monotonic() < deadline, "no write is acknowledged any more"
            await asyncio.sleep(0.01)

    async def seconds_to_next_write(self) -> float:
        """How long it takes from now until a write that begins from now on is acknowledged."""
        begun = time.monotonic()
        async with self._cluster.client(timeout=PATIENCE) as db:
            await asyncio.gather(*(db.put(b"%c-next" % first, b"") for first in b"az"))
        return time.monotonic() - begun

    async def read_all(self) -> None:
        """Read every shared key, as one more client."""
        async with self._cluster.client(timeout=PATIENCE) as db:
            for number in range(SHARED_KEYS):
                await self._do(db, CLIENTS, _shared_key(number), Get())

    async def lost(self) -> list[bytes]:
        """The keys, written once and acknowledged, that do not hold what was written."""
        async with self._cluster.client(timeout=PATIENCE) as db:
            found = await db.get_many(self.written_once)
        return [key for key, value in self.written_once.items() if found.get(key) != value]

    def held(self) -> set[bytes]:
        """The keys that hold something, when `read_all` was the last to call."""
        last = {one.key: one.answer for one in self.history}
        shared = map(_shared_key, range(SHARED_KEYS))
        return {key for key in shared if last[key] != Got(None)} | set(self.written_once)

    async def _client(self, number: int) -> None:
        dice = random.Random(self._dice.random())
        seen: dict[bytes, bytes | None] = {}
        count = 0
        async with self._cluster.client(timeout=CALL_SECONDS) as db:
            while not self._stopped:
                count += 1
                value = b"%d.%d" % (number, count)
                if dice.random() < OWN_SHARE:
                    key = b"%c-own:%s" % (dice.choice(b"az"), value)
                    if await self._do(db, number, key, Put(value)) is not None:
                        self.written_once[key] = value
                else:
                    key = _shared_key(dice.randrange(SHARED_KEYS))
                    call = _draw(dice, seen.get(key), value)
                    seen[key] = _seen(call, await self._do(db, number, key, call))
                await asyncio.sleep(PAUSE_SECONDS)

    async def _do(self, db: Client, process: int, key: bytes, call: Call) -> Answer | None:
        """Make one call and record it; None if nothing is known of it."""
        invoked, part = time.monotonic_ns(), None if isinstance(call, Get) else _part(key)
        if part is not None:
            self._gaps.tried(part, time.monotonic())
        try:
            answer = await _make(db, key, call)
        except UndeterminedError as error:
            self._note_trouble(error, part)
            self.unknown += 1
            self.history.append(Operation(process, key, call, None, invoked, None))
            return None
        except FlareDBError as error:
            self._note_trouble(error, part)
            self.refused += 1
            return None
        self.history.append(Operation(process, key, call, answer, invoked, time.monotonic_ns()))
        if part is not None:
            self._note_answer(part, _has_written(answer))
        return answer

    def _note_trouble(self, error: FlareDBError, part: bytes | None) -> None:
        self.troubles.append(f"{time.monotonic() - self._begun:.2f}: {error!r}")
        if part is not None:
            self._gaps.failed(part)

    def _note_answer(self, part: bytes, has_written: bool) -> None:
        if not has_written:
            self._gaps.refrained(part)
            return
        now = time.monotonic()
        self._note_gap(max(now - self._last_write, self._gaps.acknowledged(part, now)))
        self._last_write = now
        self.writes += 1

    def _note_gap(self, seconds: float) -> None:
        self.longest_gap = max(self.longest_gap, seconds)


async def _make(db: Client, key: bytes, call: Call) -> Answer:
    match call:
        case Get():
            return Got(await db.get(key))
        case Put(bytes(value)):
            await db.put(key, value)
            return Done()
        case Delete():
            await db.delete(key)
            return Done()
        case CompareAndSet(bytes() | None as expected, bytes() | None as value):
            return Swapped(*await db.compare_and_swap(key, expected, value))
        case _:
            raise AssertionError(f"no call of this load: {call}")


def _has_written(answer: Answer) -> bool:
    return answer.ok if isinstance(answer, Swapped) else isinstance(answer, Done)


def _shared_key(number: int) -> bytes:
    """Half of them in each of the two first regions."""
    return b"%c-shared:%d" % (b"az"[number % 2], number)


def _part(key: bytes) -> bytes:
    """Some neighbours of `key`, so few that even a small region holds all of some part."""
    return key[: key.index(b":") + 2]


def _draw(dice: random.Random, seen: bytes | None, value: bytes) -> Call:
    """A call; what the client saw last makes a swap likely to succeed."""
    kind = dice.choices(("get", "put", "swap", "delete"), (5, 4, 4, 1))[0]
    match kind:
        case "get":
            return Get()
        case "put":
            return Put(value)
        case "swap":
            return CompareAndSet(seen, value)
        case _:
            return Delete()


def _seen(call: Call, answer: Answer | None) -> bytes | None:
    """What the key holds after this answer, as far as this client knows."""
    held: object = None
    match call, answer:
        case _, Got(value) | Swapped(False, value):
            held = value
        case Put(value) | CompareAndSet(_, value), Done() | Swapped():
            held = value
    return held if isinstance(held, bytes) else None
