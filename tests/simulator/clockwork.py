"""Virtual time: what is to happen, in order; and clocks that run at their own rates."""

from collections.abc import Callable
from heapq import heappop, heappush

START_WALL = 1_800_000_000_000


class Clockwork:
    """The one queue of everything that will happen.

    Invariant: time never falls; what is due at one moment happens in the order it was asked for.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._asked = 0

    def after(self, seconds: float, what: Callable[[], None]) -> None:
        """Have `what` happen `seconds` from now."""
        assert seconds >= 0, "nothing happens in the past"
        self._asked += 1
        heappush(self._queue, (self.now + seconds, self._asked, what))

    def run_until(self, end: float) -> None:
        """Let everything happen that is due before `end`."""
        while self._queue and self._queue[0][0] <= end:
            self.now, _, what = heappop(self._queue)
            what()
        self.now = max(self.now, end)


class Clock:
    """A clock of one process: another rate, and a wall clock that is off."""

    def __init__(self, clockwork: Clockwork, rate: float, skew_ms: int) -> None:
        self._clockwork = clockwork
        self._rate = rate
        self._skew_ms = skew_ms

    def monotonic(self) -> float:
        """Seconds by this clock."""
        return self._clockwork.now * self._rate

    def wall(self) -> int:
        """Milliseconds since 1970 by this clock."""
        return START_WALL + self._skew_ms + int(self._clockwork.now * self._rate * 1000)

    def real(self, seconds: float) -> float:
        """How long `seconds` of this clock take in the world."""
        return seconds / self._rate
