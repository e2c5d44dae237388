"""One thing to ask of the region that holds a key, over as many attempts as it takes.

An errand says what is asked and what an answer means; the courier says where and when. The calls
that an errand carries never change: what has to go elsewhere goes as new errands.
"""

import abc
import asyncio
from typing import Protocol

from flaredb.client.errors import FlareDBError
from flaredb.client.retry import Backoff, Trouble
from flaredb.client.routes import RouteTable
from flaredb_schemas.failures import Refusal
from flaredb_schemas.ids import NO_REGION, NO_STORE, StoreId
from flaredb_schemas.keys import KeyRange
from flaredb_schemas.regions import Region, Route
from flaredb_schemas.requests import Answer, Request


class Carrier(Protocol):
    """Who is told what comes of an attempt: the courier."""

    def replied(self, errand: "Errand", answer: Answer, store: StoreId) -> None: ...

    def nobody_there(self, errand: "Errand", store: StoreId, sure: bool) -> None: ...

    def not_sent(self, errand: "Errand") -> None: ...


class Errand(abc.ABC):
    """The attempts of one request, gathered for one version of one region (0: for none yet).

    Invariants: `number` is that of the attempt under way, 0 between attempts, when
    `timer` may wait for the next one; `doubtful` says that
    some attempt may have had an effect that is not known, and never falls back to False; a finished
    errand is never posted again. `deadline` is when the first of its calls runs out of time.
    """

    __slots__ = (
        "backoff",
        "carrier",
        "deadline",
        "doubtful",
        "due",
        "finished",
        "number",
        "numbers",
        "redirects",
        "region",
        "store",
        "timer",
        "tries",
        "trouble",
        "version",
    )

    def __init__(self, carrier: Carrier, region: Region | None, deadline: float) -> None:
        self.carrier = carrier
        self.region = region.id if region else NO_REGION
        self.version = region.epoch.version if region else 0
        self.deadline = deadline
        self.backoff = Backoff()
        self.trouble: Trouble | None = None
        self.doubtful = False
        self.finished = False
        self.number = 0
        self.numbers: list[int] = []
        self.store: StoreId = NO_STORE
        self.tries = 0
        self.redirects = 0
        self.due = 0.0
        self.timer: asyncio.TimerHandle | None = None

    @property
    @abc.abstractmethod
    def keys(self) -> KeyRange:
        """The keys whose routes the errand needs to find its region."""

    @property
    @abc.abstractmethod
    def is_whole(self) -> bool:
        """Whether all calls still wait; what does not is left out of the next attempt."""

    @abc.abstractmethod
    def find(self, routes: RouteTable) -> Route | None:
        """The region to ask, as known now."""

    @abc.abstractmethod
    def build(self, number: int, route: Route) -> tuple[Request, int]:
        """The request, and about how many bytes it has."""

    @abc.abstractmethod
    def complete(self, answer: Answer) -> bool:
        """Settle the calls by this answer; False if it is none to what was asked."""

    @abc.abstractmethod
    def regroup(self) -> None:
        """Let the calls that still wait go on, each with the region that now holds its key."""

    @abc.abstractmethod
    def expire(self, now: float) -> bool:
        """Settle the calls whose time is over; return whether none is left."""

    @abc.abstractmethod
    def fail(self, error: FlareDBError) -> None:
        """Settle all calls with an error that concerns the request itself."""

    def refused(self, refusal: Refusal) -> bool:
        """Deal with a refusal that only this kind of errand understands.

        True if that was the end of this errand.
        """
        del refusal
        return False

    def inherit(self, other: "Errand") -> None:
        """Go on from where `other` stands, with its doubts and its patience."""
        self.backoff = other.backoff
        self.trouble = other.trouble
        self.doubtful = other.doubtful
        self.tries = other.tries

    def answered(self, answer: Answer, store: StoreId) -> None:
        self.carrier.replied(self, answer, store)

    def unheard(self, store: StoreId, sure: bool) -> None:
        self.carrier.nobody_there(self, store, sure)

    def unsent(self) -> None:
        self.carrier.not_sent(self)
