"""Calls gather by region until the end of the turn, and while enough is under way already.

So calls that are made at the same time travel together, and the more is under way, the more travels
together: a region is never asked for more than `MOST_UNDER_WAY` things at once.
"""

import abc
import asyncio
from collections import deque
from collections.abc import Iterable
from typing import Any, ClassVar, Final, Generic, TypeVar

from flaredb.client.courier import Courier
from flaredb.client.directory import Directory
from flaredb.client.errors import FlareDBError
from flaredb.client.retry import Cause, Trouble, surely_failed
from flaredb.client.routes import RouteTable
from flaredb_schemas.ids import RegionId
from flaredb_schemas.keys import KeyRange
from flaredb_schemas.regions import Region

MOST_UNDER_WAY: Final = 2
"""How many requests of one kind are under way to one region before the next ones gather."""


class Call:
    """One caller who waits for `outcome`.

    `deadline` is a time of the event loop; `size` is about how many bytes the call takes in a
    request, and `weight` how many of the things that a request may hold.
    """

    __slots__ = ("deadline", "key", "outcome", "size")

    weight: int = 1

    def __init__(
        self, key: bytes, size: int, deadline: float, outcome: "asyncio.Future[Any]"
    ) -> None:
        self.key = key
        self.size = size
        self.deadline = deadline
        self.outcome = outcome

    def fail(self, error: FlareDBError) -> None:
        """Settle the call, unless it was settled or given up before."""
        if not self.outcome.done():
            self.outcome.set_exception(error)


C = TypeVar("C", bound=Call)


class Pile(Generic[C]):
    """What waits to be sent to one version of one region. `under_way` counts requests."""

    __slots__ = ("region", "under_way", "version", "waiting")

    def __init__(self, region: Region) -> None:
        self.region: RegionId = region.id
        self.version = region.epoch.version
        self.waiting: deque[C] = deque()
        self.under_way = 0


P = TypeVar("P", bound=Pile[Any])


class Gatherer(abc.ABC, Generic[C, P]):
    """Gathers the calls of one kind.

    Invariants: a waiting call is in exactly one place, a pile or `_unrouted`; a pile with something
    waiting is in `_ready` or has something under way.
    """

    max_weight: ClassVar[int]
    max_bytes: ClassVar[int]

    def __init__(self, courier: Courier, routes: RouteTable, directory: Directory) -> None:
        self._courier = courier
        self._routes = routes
        self._directory = directory
        self._piles: dict[RegionId, P] = {}
        self._ready: dict[P, None] = {}
        self._unrouted: list[C] = []
        courier.attend(self)
        directory.on_news(self._route_again)

    @abc.abstractmethod
    def make_pile(self, region: Region) -> P:
        """A new, empty pile."""

    @abc.abstractmethod
    def send(self, pile: P, calls: list[C], region: Region) -> None:
        """Send these calls off together; the pile counts one more request under way."""

    @property
    def carrier(self) -> Courier:
        """Who carries what is sent."""
        return self._courier

    def add(self, call: C) -> None:
        """Have `call` sent with the next request to its region."""
        route = self._routes.find(call.key)
        if route is None:
            self._unrouted.append(call)
            self._directory.refresh(just(call.key))
        else:
            region = route.region
            pile = self._piles.get(region.id)
            if pile is None or pile.version != region.epoch.version:
                pile = self._new_pile(region)
            pile.waiting.append(call)
            self._ready[pile] = None
        self._courier.wake()

    def done(self, pile: P) -> None:
        """A request of this pile is no longer under way."""
        pile.under_way -= 1
        assert pile.under_way >= 0, "what ends has begun"
        if pile.waiting:
            self._ready[pile] = None
            self._courier.wake()

    def retire(self, pile: P) -> None:
        """Start a new pile for this pile's region, for what waits and what is to come."""
        if self._piles.get(pile.region) is pile:
            del self._piles[pile.region]
        self._move(pile)

    def _new_pile(self, region: Region) -> P:
        before = self._piles.get(region.id)
        pile = self._piles[region.id] = self.make_pile(region)
        if before is not None:
            self._move(before)
        return pile

    def _move(self, pile: P) -> None:
        """Let what waits in a pile that is no longer used wait where it belongs now."""
        waiting, pile.waiting = pile.waiting, deque()
        self._ready.pop(pile, None)
        for call in waiting:
            self.add(call)

    def flush(self) -> None:
        """Send what waits, as far as no more is under way than may be."""
        while self._ready:
            pile, _ = self._ready.popitem()
            current = self._routes.by_id(pile.region)
            if current is None or current.region.epoch.version != pile.version:
                self.retire(pile)
                continue
            while pile.waiting and pile.under_way < MOST_UNDER_WAY:
                calls = self._take(pile.waiting)
                if calls:
                    pile.under_way += 1
                    self.send(pile, calls, current.region)

    def _take(self, waiting: "deque[C]") -> list[C]:
        """The next calls that fit into one request, less those that were given up."""
        calls: list[C] = []
        room, weight = self.max_bytes, self.max_weight
        while waiting and waiting[0].weight <= weight and waiting[0].size <= room:
            call = waiting.popleft()
            if not call.outcome.done():
                calls.append(call)
                room -= call.size
                weight -= call.weight
        return calls

    def _route_again(self) -> None:
        unrouted, self._unrouted = self._unrouted, []
        for call in unrouted:
            self.add(call)

    def sweep(self, now: float) -> bool:
        """Settle what waited too long without being sent."""
        unknown = Trouble(Cause.PLACEMENT, self._directory.last_fault)
        self._unrouted = _expire(self._unrouted, now, unknown)
        for pile in self._piles.values():
            if pile.waiting:
                behind = f"region {pile.region} has not answered what was sent before"
                trouble = Trouble(Cause.ROUTE, behind, pile.region)
                pile.waiting = deque(_expire(pile.waiting, now, trouble))
        return bool(self._unrouted) or any(pile.waiting for pile in self._piles.values())

    def abandon(self, error: FlareDBError) -> None:
        """Settle everything that waits unsent."""
        for waiting in (self._unrouted, *(pile.waiting for pile in self._piles.values())):
            for call in waiting:
                call.fail(error)
            waiting.clear()


def _expire(calls: Iterable[C], now: float, trouble: Trouble) -> list[C]:
    """Fail the calls that were never sent and whose time is over; return those that go on."""
    waiting = [call for call in calls if not call.outcome.done()]
    for call in waiting:
        if call.deadline <= now:
            call.fail(surely_failed(trouble, waiting_for_answer=False))
    return [call for call in waiting if call.deadline > now]


def just(key: bytes) -> KeyRange:
    """The range that holds `key` and nothing else."""
    return KeyRange(key, key + b"\0")
