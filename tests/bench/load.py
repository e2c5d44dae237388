"""What callers do, and how it is timed: the same for everything that is measured."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from enum import Enum
from typing import Final

from msgspec import Struct

VALUE: Final = random.Random(256).randbytes(256)
"""What every put stores: 256 bytes that do not compress."""

KEYS: Final = 100_000
STRIDE: Final = 7_919
"""A prime that does not divide KEYS: in steps of it every key comes once before any comes again."""


class Kind(Enum):
    """What the callers call."""

    PUT = "put"
    GET = "get"


class Measurement(Struct, frozen=True):
    """One figure: so many callers, each calling again when it is answered."""

    kind: Kind
    in_flight: int

    @property
    def name(self) -> str:
        """As the report calls it: `put_64`."""
        return f"{self.kind.value}_{self.in_flight}"


class Sample(Struct, frozen=True):
    """What one measurement found: rates per second, times in milliseconds.

    `driver_cores` is how many cores' worth of time the driver itself used.
    """

    per_second: float
    p50_ms: float
    p99_ms: float
    driver_cores: float


class KeyOrder:
    """Which key comes next: puts walk over all keys, gets draw from those that were put."""

    def __init__(self) -> None:
        self._put = 0
        self._dice = random.Random(1)

    def next(self, kind: Kind) -> str:
        """The next key for such a call."""
        if kind is Kind.PUT:
            self._put += 1
            return _key(self._put - 1)
        assert self._put, "gets come after puts"
        return _key(self._dice.randrange(min(self._put, KEYS)))


def _key(place: int) -> str:
    return f"bench/{place * STRIDE % KEYS:08d}"


class Stopwatch:
    """Times calls after a warm-up, for so many seconds; it starts when it is made."""

    def __init__(
        self, warm_up: float, seconds: float, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._clock = clock
        self._made = (clock(), time.process_time())
        self._begin = self._made[0] + warm_up
        self._end = self._begin + seconds
        self._seconds = seconds
        self._times: list[float] = []

    def now(self) -> float:
        """The moment, in seconds."""
        return self._clock()

    def answered(self, called: float) -> bool:
        """Count a call that began at `called` and is answered now; whether to call again."""
        now = self._clock()
        if self._begin <= now < self._end:
            self._times.append(now - called)
        return now < self._end

    def sample(self) -> Sample:
        """What was found; to be asked at once when it is over.

        ValueError: nothing was answered in time.
        """
        if not self._times:
            raise ValueError("not one call was answered")
        times = sorted(self._times)
        made, used = self._made
        return Sample(
            len(times) / self._seconds,
            times[len(times) // 2] * 1_000,
            times[len(times) * 99 // 100] * 1_000,
            (time.process_time() - used) / (self._clock() - made),
        )


async def closed_loop(
    call: Callable[[], Awaitable[object]], in_flight: int, stopwatch: Stopwatch
) -> None:
    """So many tasks that each call again when they are answered, until the time is over."""

    async def caller() -> None:
        going = True
        while going:
            called = stopwatch.now()
            await call()
            going = stopwatch.answered(called)

    async with asyncio.TaskGroup() as callers:
        for _ in range(in_flight):
            callers.create_task(caller())
