"""Pages of a scan: each is one linearizable read of one region; a scan as a whole is not.

A scan goes on from the last key it has seen, so regions may be split, merged or moved under it.
"""

import asyncio

from msgspec import Struct

from flaredb.client.courier import Courier
from flaredb.client.errands import Errand
from flaredb.client.errors import FlareDBError
from flaredb.client.link import REQUEST_OVERHEAD
from flaredb.client.retry import surely_failed
from flaredb.client.routes import RouteTable
from flaredb_schemas.keys import MAX_KEY_BYTES, KeyRange, prefix_range
from flaredb_schemas.regions import Region, Route
from flaredb_schemas.requests import Answer, Request, ScanAnswer, ScanRequest

Row = tuple[bytes, bytes]


class Page:
    """Some rows in scan order, and what of the range is left: None if nothing is."""

    __slots__ = ("left", "rows")

    def __init__(self, rows: tuple[Row, ...], left: KeyRange | None) -> None:
        self.rows = rows
        self.left = left


class PageCall(Struct, frozen=True, eq=False):
    """A caller who waits for a page: of which range, at most how many rows, in which order."""

    keys: KeyRange
    limit: int
    reverse: bool
    deadline: float
    outcome: asyncio.Future[Page]

    def find(self, routes: RouteTable) -> Route | None:
        """The region that holds the first (or, backwards, the last) keys of the range."""
        return routes.find_before(self.keys.end) if self.reverse else routes.find(self.keys.start)


class Scans:
    """The pages that one client asks for."""

    def __init__(self, courier: Courier, routes: RouteTable) -> None:
        self.courier = courier
        self._routes = routes

    def ask(self, call: PageCall) -> None:
        """Have a page fetched."""
        self.courier.carry(self._errand(call))

    def again(self, errand: "PageErrand") -> None:
        """Ask the region that holds the keys now."""
        renewed = self._errand(errand.call)
        renewed.inherit(errand)
        self.courier.carry(renewed)

    def _errand(self, call: PageCall) -> "PageErrand":
        route = call.find(self._routes)
        return PageErrand(self, call, route.region if route else None)


class PageErrand(Errand):
    """One page of a range, from the region that holds its first (or, backwards, last) keys.

    Invariant: `_asked` is the part of the range that lies in the region asked last.
    """

    __slots__ = ("_asked", "_scans", "call")

    def __init__(self, scans: Scans, call: PageCall, region: Region | None) -> None:
        super().__init__(scans.courier, region, call.deadline)
        self._scans = scans
        self._asked = call.keys
        self.call = call

    @property
    def keys(self) -> KeyRange:
        return self.call.keys

    @property
    def is_whole(self) -> bool:
        return not self.call.outcome.done()

    def find(self, routes: RouteTable) -> Route | None:
        return self.call.find(routes)

    def build(self, number: int, route: Route) -> tuple[Request, int]:
        region = route.region
        self._asked = asked = region.keys.clip(self.call.keys)
        limit, reverse = self.call.limit, self.call.reverse
        version = region.epoch.version
        request = ScanRequest(number, region.id, version, asked.start, asked.end, limit, reverse)
        return request, len(asked.start) + len(asked.end) + REQUEST_OVERHEAD

    def complete(self, answer: Answer) -> bool:
        if not isinstance(answer, ScanAnswer) or (answer.more and not answer.rows):
            return False
        if self.is_whole:
            last = answer.rows[-1][0] if answer.more else None
            left = self._left_backwards(last) if self.call.reverse else self._left(last)
            self.call.outcome.set_result(Page(answer.rows, left))
        return True

    def regroup(self) -> None:
        if self.is_whole:
            self._scans.again(self)

    def expire(self, now: float) -> bool:
        self.fail(surely_failed(self.trouble, waiting_for_answer=bool(self.number)))
        return True

    def fail(self, error: FlareDBError) -> None:
        if self.is_whole:
            self.call.outcome.set_exception(error)

    def _left(self, last: bytes | None) -> KeyRange | None:
        """What follows the page: after its last row, or after the region."""
        start = self._asked.end if last is None else next_key(last)
        end = self.call.keys.end
        return KeyRange(start, end) if start and start != end else None

    def _left_backwards(self, last: bytes | None) -> KeyRange | None:
        """What precedes the page: before its last row, or before the region."""
        start = self.call.keys.start
        end = self._asked.start if last is None else last
        return KeyRange(start, end) if end > start else None


def next_key(key: bytes) -> bytes:
    """The smallest key above `key` that may be sent; empty if there is none."""
    return key + b"\0" if len(key) < MAX_KEY_BYTES else prefix_range(key).end
