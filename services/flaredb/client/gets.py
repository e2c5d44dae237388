"""Reads of single keys: calls for one region travel in one request, and are answered at one point.

Reads have no effect, so they are tried again freely and under any company.
"""

from typing import ClassVar

from flaredb.client.checks import OP_OVERHEAD
from flaredb.client.errands import Errand
from flaredb.client.errors import FlareDBError
from flaredb.client.gathering import Call, Gatherer, Pile, just
from flaredb.client.link import FRAME_ROOM, REQUEST_OVERHEAD
from flaredb.client.retry import surely_failed
from flaredb.client.routes import RouteTable
from flaredb_schemas.failures import AnswerTooLarge, Refusal
from flaredb_schemas.keys import KeyRange
from flaredb_schemas.regions import Region, Route
from flaredb_schemas.requests import MAX_GET_KEYS, Answer, GetAnswer, GetRequest, Request


class Gets(Gatherer[Call, Pile[Call]]):
    """The single-key reads of one client."""

    max_weight: ClassVar[int] = MAX_GET_KEYS
    max_bytes: ClassVar[int] = FRAME_ROOM - REQUEST_OVERHEAD

    def make_pile(self, region: Region) -> Pile[Call]:
        return Pile(region)

    def send(self, pile: Pile[Call], calls: list[Call], region: Region) -> None:
        self._courier.carry(GetErrand(self, pile, calls, region))

    def again(self, errand: "GetErrand") -> None:
        """Ask for what still waits, with whatever else waits."""
        self.done(errand.pile)
        for call in errand.waiting():
            self.add(call)

    def halve(self, errand: "GetErrand", region: Region) -> None:
        """Ask for what still waits in two requests: the values do not fit into one answer."""
        calls = errand.waiting()
        middle = len(calls) // 2
        for half in (calls[:middle], calls[middle:]):
            errand.pile.under_way += 1
            self.send(errand.pile, half, region)
        self.done(errand.pile)


class GetErrand(Errand):
    """Some keys of one region."""

    __slots__ = ("_calls", "_gets", "_region", "pile")

    def __init__(self, gets: Gets, pile: Pile[Call], calls: list[Call], region: Region) -> None:
        super().__init__(gets.carrier, region, min(call.deadline for call in calls))
        self._gets = gets
        self._calls = calls
        self._region = region
        self.pile = pile

    def waiting(self) -> list[Call]:
        """The calls that are neither settled nor given up."""
        return [call for call in self._calls if not call.outcome.done()]

    @property
    def keys(self) -> KeyRange:
        return just(self._calls[0].key)

    @property
    def is_whole(self) -> bool:
        return not any(call.outcome.done() for call in self._calls)

    def find(self, routes: RouteTable) -> Route | None:
        return routes.find(self._calls[0].key)

    def build(self, number: int, route: Route) -> tuple[Request, int]:
        keys = tuple([call.key for call in self._calls])
        size = sum([call.size for call in self._calls]) + REQUEST_OVERHEAD
        return GetRequest(number, route.region.id, route.region.epoch.version, keys), size

    def complete(self, answer: Answer) -> bool:
        if not isinstance(answer, GetAnswer) or len(answer.values) != len(self._calls):
            return False
        for call, value in zip(self._calls, answer.values, strict=True):
            if not call.outcome.done():
                call.outcome.set_result(value)
        self._gets.done(self.pile)
        return True

    def regroup(self) -> None:
        self._gets.again(self)

    def expire(self, now: float) -> bool:
        for call in self.waiting():
            if call.deadline <= now:
                call.fail(surely_failed(self.trouble, waiting_for_answer=bool(self.number)))
        left = [call.deadline for call in self.waiting()]
        if left:
            self.deadline = min(left)
            return False
        self._gets.done(self.pile)
        return True

    def fail(self, error: FlareDBError) -> None:
        for call in self.waiting():
            call.fail(error)
        self._gets.done(self.pile)

    def refused(self, refusal: Refusal) -> bool:
        if isinstance(refusal, AnswerTooLarge) and len(self.waiting()) > 1:
            self._gets.halve(self, self._region)
            return True
        return False


def get_size(key: bytes) -> int:
    """About how many bytes a key takes in a request."""
    return len(key) + OP_OVERHEAD
