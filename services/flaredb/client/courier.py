"""Carries errands: chooses the store, reads refusals, waits, tries again, and keeps the time.

While the bus is disconnected nothing is sent; what was under way when it was lost is asked again
when it is back. One timer looks after all deadlines.
"""

import asyncio
from typing import Final, Protocol, assert_never

from flaredb.client.directory import Directory
from flaredb.client.errands import Errand
from flaredb.client.errors import ClosedError, FlareDBError
from flaredb.client.link import Link
from flaredb.client.retry import Cause, Trouble
from flaredb.client.routes import RouteTable
from flaredb.client.verdicts import Doubt, Follow, GiveUp, Wait, judge
from flaredb.runtime.clock import Jitter
from flaredb_schemas.failures import Refusal
from flaredb_schemas.ids import NO_STORE, RegionId, StoreId
from flaredb_schemas.regions import PeerRole, Route
from flaredb_schemas.requests import Answer, Refused

SWEEP_SECONDS: Final = 0.02
"""How often deadlines are looked at, hence how late a call may time out."""

FIRST_PATIENCE: Final = 2.0
"""Seconds of silence after which an attempt counts as lost; doubles with each attempt."""

LONGEST_PATIENCE: Final = 4.0

SUSPICION: Final = 1.0
"""Seconds for which a store that did not answer is asked last."""

ASK_AGAIN_EVERY: Final = 4
"""After so many refused tries of one errand PD is asked for the region once more."""


AT_ONCE: Final = 8
"""How many redirections in a row one errand follows without waiting."""

_MAY_BE_STALE: Final = (Cause.ROUTE, Cause.STORE)


class Attended(Protocol):
    """What gathers calls and sends them as errands."""

    def flush(self) -> None:
        """Send what may be sent."""
        ...

    def sweep(self, now: float) -> bool:
        """Settle what has waited too long unsent; return whether anything still waits."""
        ...

    def abandon(self, error: FlareDBError) -> None:
        """Settle everything that waits unsent."""
        ...


class Courier:
    """Errands under way.

    Invariants: an errand in `_live` is posted, waits for its next try, or is in `_parked` (for a
    route or for the bus); a finished errand is in none of them.
    """

    def __init__(
        self, link: Link, routes: RouteTable, directory: Directory, jitter: Jitter
    ) -> None:
        self._link = link
        self._routes = routes
        self._directory = directory
        self._jitter = jitter
        self._loop = asyncio.get_running_loop()
        self._live: dict[Errand, None] = {}
        self._parked: dict[Errand, None] = {}
        self._suspects: dict[StoreId, float] = {}
        self._attended: list[Attended] = []
        self._turn_due = False
        self._sweep_due = False
        directory.on_news(self._unpark)

    def now(self) -> float:
        """The time by which deadlines are meant, in seconds."""
        return self._loop.time()

    def attend(self, gatherer: Attended) -> None:
        """Have `gatherer` send what it has at the end of each turn, and look at its deadlines."""
        self._attended.append(gatherer)

    def wake(self) -> None:
        """Something waits to be sent: see to it when this turn of the loop is over."""
        if not self._turn_due:
            self._turn_due = True
            self._loop.call_soon(self._turn)
        if not self._sweep_due:
            self._sweep_due = True
            self._loop.call_later(SWEEP_SECONDS, self._sweep)

    def carry(self, errand: Errand) -> None:
        """Take an errand over: it will be settled, by its deadline at the latest."""
        self._live[errand] = None
        self._attempt(errand)

    def close(self) -> None:
        """Settle everything: what is under way or in doubt stays undetermined."""
        closed = ClosedError("the client was closed", hint="wait for the calls before closing")
        for gatherer in self._attended:
            gatherer.abandon(closed)
        for errand in list(self._live):
            errand.doubtful = errand.doubtful or bool(errand.number)
            errand.fail(closed)
            self._finish(errand)

    def bus_changed(self, connected: bool) -> None:
        """The bus was lost or is back."""
        if not connected:
            return
        for errand in [errand for errand in self._live if errand.number]:
            self._lost(errand, Trouble(Cause.BUS, "the bus was lost on the way", errand.region))
        self._unpark()

    def leader_changed(self, region: RegionId, store: StoreId) -> None:
        """`store` leads the region now: what waits for it, or asked another one, asks there."""
        self._suspects.pop(store, None)
        for errand in [errand for errand in self._live if errand.region == region]:
            if errand.number and errand.store != store:
                errand.doubtful = True
                errand.number = 0
            if not errand.number:
                self._attempt(errand)

    def replied(self, errand: Errand, answer: Answer, store: StoreId) -> None:
        """An answer to some attempt of `errand`; a late refusal says nothing new."""
        self._suspects.pop(store, None)
        if errand.finished:
            return
        if isinstance(answer, Refused):
            if answer.number == errand.number:
                errand.number = 0
                self._refused(errand, answer.refusal, store)
        elif errand.complete(answer):
            self._finish(errand)
        elif answer.number == errand.number:
            self._lost(errand, Trouble(Cause.STORE, "the answer made no sense", errand.region))

    def nobody_there(self, errand: Errand, store: StoreId, sure: bool) -> None:
        """No one listens at the store that some attempt of `errand` went to."""
        self._suspects[store] = self.now() + SUSPICION
        if errand.finished or errand.store != store or not errand.number:
            return
        trouble = Trouble(Cause.STORE, f"nobody listens at store {store}", errand.region)
        if sure:
            self._elsewhere(errand, trouble)
        else:
            self._lost(errand, trouble)

    def not_sent(self, errand: Errand) -> None:
        """The bus did not take the attempt."""
        if not errand.finished and errand.number:
            self._later(errand, Trouble(Cause.BUS, "the bus takes no message", errand.region))

    def _attempt(self, errand: Errand) -> None:
        if errand.timer is not None:
            errand.timer.cancel()
            errand.timer = None
        self._parked.pop(errand, None)
        if errand.finished:
            return
        assert not errand.number, "one attempt at a time is under way"
        if not self._link.connected:
            errand.trouble = Trouble(Cause.BUS, "the bus is not connected", errand.region)
            self._parked[errand] = None
            self.wake()
            return
        route = errand.find(self._routes)
        if route is None:
            errand.trouble = Trouble(Cause.PLACEMENT, self._directory.last_fault, errand.region)
            self._parked[errand] = None
            self._directory.refresh(errand.keys)
            self.wake()
        elif not (errand.is_whole and _is_for(errand, route)):
            self._finish(errand)
            errand.regroup()
        else:
            self._post(errand, route)

    def _post(self, errand: Errand, route: Route) -> None:
        number = self._link.next_number()
        request, size = errand.build(number, route)
        errand.number = number
        errand.numbers.append(number)
        errand.store = self._choose(route, errand.tries)
        patience = min(LONGEST_PATIENCE, FIRST_PATIENCE * (1 << min(errand.tries, 4)))
        errand.due = self.now() + patience
        errand.tries += 1
        self._link.post(errand.store, request, size, errand)
        self.wake()

    def _choose(self, route: Route, tries: int) -> StoreId:
        """The leader's store; where it is unknown or silent, one voter's store after the other."""
        if route.store != NO_STORE and not self._suspected(route.store):
            return route.store
        stores = [p.store for p in route.region.peers if p.role is not PeerRole.LEARNER]
        trusted = [store for store in stores if not self._suspected(store)]
        choice = trusted or stores or [route.store]
        return choice[tries % len(choice)]

    def _suspected(self, store: StoreId) -> bool:
        return bool(self._suspects) and self._suspects.get(store, 0.0) > self.now()

    def _refused(self, errand: Errand, refusal: Refusal, store: StoreId) -> None:
        if errand.refused(refusal):
            self._finish(errand)
            return
        verdict = judge(refusal, errand.region, store, self._routes)
        match verdict:
            case Follow(trouble):
                self._follow(errand, trouble)
            case Wait(trouble, at_least, ask_pd):
                if ask_pd:
                    self._directory.refresh(errand.keys)
                self._later(errand, trouble, at_least)
            case Doubt(trouble):
                self._lost(errand, trouble)
            case GiveUp(error):
                errand.fail(error)
                self._finish(errand)
            case _:
                assert_never(verdict)

    def _follow(self, errand: Errand, trouble: Trouble) -> None:
        """Follow news at once, unless following did not help again and again."""
        errand.redirects += 1
        route = errand.find(self._routes)
        if route is not None:
            self._suspects.pop(route.store, None)
        if errand.redirects <= AT_ONCE:
            self._attempt(errand)
        else:
            self._later(errand, trouble)

    def _lost(self, errand: Errand, trouble: Trouble) -> None:
        """The outcome of the attempt is unknown: ask again, elsewhere if possible."""
        errand.doubtful = True
        self._elsewhere(errand, trouble)

    def _elsewhere(self, errand: Errand, trouble: Trouble) -> None:
        """Try another store at once if one is not suspected, else wait."""
        errand.number = 0
        errand.trouble = trouble
        route = errand.find(self._routes)
        stores = [peer.store for peer in route.region.peers] if route else []
        fresh = trouble.cause is Cause.STORE and any(not self._suspected(s) for s in stores)
        if fresh and errand.backoff.tries(Cause.STORE) < 2 * len(stores):
            errand.backoff.wait(Cause.STORE, self._jitter)
            self._attempt(errand)
        else:
            self._later(errand, trouble)

    def _later(self, errand: Errand, trouble: Trouble, at_least: float = 0.0) -> None:
        errand.number = 0
        errand.trouble = trouble
        if errand.tries % ASK_AGAIN_EVERY == 0 and trouble.cause in _MAY_BE_STALE:
            self._directory.refresh(errand.keys)
        delay = max(at_least, errand.backoff.wait(trouble.cause, self._jitter))
        assert errand.timer is None, "an errand waits once"
        errand.timer = self._loop.call_later(delay, self._attempt, errand)

    def _finish(self, errand: Errand) -> None:
        errand.finished = True
        errand.number = 0
        if errand.timer is not None:
            errand.timer.cancel()
            errand.timer = None
        self._live.pop(errand, None)
        self._parked.pop(errand, None)
        for number in errand.numbers:
            self._link.forget(number)

    def _unpark(self) -> None:
        parked, self._parked = self._parked, {}
        for errand in parked:
            self._attempt(errand)
        self.wake()

    def _turn(self) -> None:
        for gatherer in self._attended:
            gatherer.flush()
        self._link.flush()
        self._turn_due = False

    def _sweep(self) -> None:
        now = self.now()
        for errand in list(self._live):
            if errand.deadline <= now and errand.expire(now):
                self._finish(errand)
            elif errand.number and errand.due <= now:
                self._suspects[errand.store] = now + SUSPICION
                silence = f"store {errand.store} does not answer"
                self._lost(errand, Trouble(Cause.STORE, silence, errand.region))
        waiting = [gatherer.sweep(now) for gatherer in self._attended]
        self._sweep_due = bool(self._live) or any(waiting)
        if self._sweep_due:
            self._loop.call_later(SWEEP_SECONDS, self._sweep)


def _is_for(errand: Errand, route: Route) -> bool:
    """Whether the errand was gathered for this very version of this region."""
    return errand.region == route.region.id and errand.version == route.region.epoch.version
