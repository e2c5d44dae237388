"""Time and chance as parameters: a clock and a jitter that are handed in, and their real ones.

Nothing in a core reads the time or throws dice; whoever wires a process up hands these in, and the
simulator hands in its own.
"""

import random
import time
from collections.abc import Callable
from typing import Protocol

Jitter = Callable[[int], int]
"""`jitter(n)` is a whole number from 0 to n - 1, each as likely as the other."""


class Clock(Protocol):
    """Two ways to tell the time; only `monotonic` may decide anything."""

    def monotonic(self) -> float:
        """Seconds that never go back, from an arbitrary start."""
        ...

    def wall(self) -> int:
        """Milliseconds since 1970, for people and for region time; may jump."""
        ...


class SystemClock:
    """The clock of this machine."""

    __slots__ = ()

    def monotonic(self) -> float:
        return time.monotonic()

    def wall(self) -> int:
        return time.time_ns() // 1_000_000


def seeded_jitter(seed: int | None = None) -> Jitter:
    """A jitter of its own generator; without a seed it is seeded by the operating system."""
    return random.Random(seed).randrange
