"""When each replica is next due, so that a tick costs nothing for the replicas that sleep.

Time is counted in ticks of the store. A stall of the process yields one tick, not a pile: the
number of the tick rises by one per call, however late the call comes (thesis, section 9: timers
must not fire in bursts).
"""

from collections.abc import Hashable, Iterator
from heapq import heappop, heappush
from typing import Generic, TypeVar

T = TypeVar("T", bound=Hashable)


class Wheel(Generic[T]):
    """Who is due at which tick.

    Invariants: `now` never falls; a name is scheduled for one tick at most, and that tick has an
    entry in the heap (the heap may hold older entries of the name, which are passed over).
    """

    __slots__ = ("_heap", "_order", "_scheduled", "now")

    def __init__(self) -> None:
        self.now = 0
        self._scheduled: dict[T, int] = {}
        self._heap: list[tuple[int, int, T]] = []
        self._order = 0

    def schedule(self, name: T, in_ticks: int) -> None:
        """Have `name` due `in_ticks` from now (at least 1), unless it is due earlier already.

        Who is called too early simply says again when it is due: that is cheaper than to find and
        move an entry each time that a heartbeat defers an election.
        """
        at = self.now + max(1, in_ticks)
        known = self._scheduled.get(name)
        if known is None or at < known:
            self._scheduled[name] = at
            self._order += 1
            heappush(self._heap, (at, self._order, name))

    def forget(self, name: T) -> None:
        """`name` is not due any more."""
        self._scheduled.pop(name, None)

    def advance(self) -> Iterator[T]:
        """One tick passes: who is due now. Each must be scheduled anew."""
        self.now += 1
        while self._heap and self._heap[0][0] <= self.now:
            at, _, name = heappop(self._heap)
            if self._scheduled.get(name) == at:
                del self._scheduled[name]
                yield name

    def __len__(self) -> int:
        return len(self._scheduled)
