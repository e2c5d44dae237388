"""Clients of the simulated world: one call at a time each, retried under the same numbers.

They follow the rules that the client library follows (sessions after RIFL), in virtual time, and
write down what they called and what they were answered.
"""

import random
from collections.abc import Hashable

from msgspec import Struct

from flaredb.store.answers import ANSWERS
from flaredb.store.serving import REQUESTS
from flaredb_schemas.commands import (
    BATCHES,
    Batch,
    CompareAndSwap,
    Delete,
    Lane,
    NotSwapped,
    Op,
    Outcome,
    Put,
    Swapped,
)
from flaredb_schemas.envelope import Codec, Malformed
from flaredb_schemas.failures import (
    EpochMismatch,
    InvalidRequest,
    KeyNotInRegion,
    NotLeader,
    Refusal,
    RegionNotFound,
    SessionExpired,
    Undetermined,
)
from flaredb_schemas.ids import RegionId, StoreId
from flaredb_schemas.placement import RoutesAnswer, RoutesQuery
from flaredb_schemas.regions import Route
from flaredb_schemas.requests import (
    Answer,
    GetAnswer,
    GetRequest,
    Refused,
    RequestFrame,
    ScanAnswer,
    ScanRequest,
    WriteAnswer,
    WriteRequest,
)
from tests.linearizability import Answer as Observed
from tests.linearizability import Call as Called
from tests.linearizability import (
    CompareAndSet,
    Done,
    Get,
    Got,
    Operation,
)
from tests.linearizability import Delete as Deleted
from tests.linearizability import Put as Stored
from tests.linearizability import Swapped as Exchanged
from tests.simulator.stores import World

ROUTES: Codec[RoutesAnswer] = Codec(RoutesAnswer)
QUERY: Codec[RoutesQuery] = Codec(RoutesQuery)

BUDGET_SECONDS = 6.0
RETRY_SECONDS = 0.25
ANSWER_SECONDS = 1.0


class Session(Struct):
    """A lane of this client in one region, and the next sequence of it."""

    lane: Lane
    sequence: int = 0


class Task(Struct):
    """One call under way: what is asked, and what is known of earlier attempts."""

    calls: list[tuple[bytes, Called]]
    began: float
    deadline: float
    scan: bool = False
    ops: tuple[Op, ...] = ()
    batch: Batch | None = None
    region: RegionId = RegionId(0)
    attempts: int = 0
    uncertain: bool = False


class Client:
    """One client.

    Invariants: one task at a time; a write keeps lane, sequence and op numbers over all attempts;
    a task without a definite answer is recorded as unknown.
    """

    def __init__(self, world: World, number: int, history: list[Operation]) -> None:
        self.world = world
        self.name = f"client{number}"
        self.id = number
        self.history = history
        self.dice = random.Random(f"client {world.options.seed} {number}")
        self.keys: set[bytes] = set()
        self.finished = 0
        self.unknown = 0
        self._task: Task | None = None
        self._number = 0
        self._values = 0
        self._sessions: dict[RegionId, Session] = {}
        self._lanes = 0
        self._times: dict[RegionId, int] = {}
        self._routes: list[Route] = []
        self._seen: dict[bytes, Hashable] = {}
        self._stop = False
        world.network.listen(self.name, self._heard, (f"_INBOX.{self.name}",))
        world.clockwork.after(self.dice.random(), self._begin)

    def stop(self) -> None:
        """No further calls after the one under way."""
        self._stop = True

    @property
    def idle(self) -> bool:
        """Whether no call is under way."""
        return self._task is None

    @property
    def reading(self) -> bool:
        """Whether keys asked for by `read` are still to be read."""
        return bool(self._wanted) or self._task is not None

    def read(self, keys: list[bytes]) -> None:
        """Read `keys` once more, one after the other; for the end of a run."""
        self._wanted = list(keys)
        self._stop = False
        self._begin()

    _wanted: list[bytes] | None = None

    def _begin(self) -> None:
        if self._stop or self._task is not None:
            return
        calls, scan = self._draw()
        if not calls:
            return
        now = self.world.clockwork.now
        self._task = Task(calls, now, now + BUDGET_SECONDS, scan)
        if not isinstance(calls[0][1], Get):
            self._task.ops = tuple(
                _op(number, key, call) for number, (key, call) in enumerate(calls)
            )
        self._attempt()

    def _draw(self) -> tuple[list[tuple[bytes, Called]], bool]:
        if self._wanted is not None:
            return ([(self._wanted.pop(), Get())], False) if self._wanted else ([], False)
        kind = self.dice.random()
        key = self._key()
        if kind < 0.3:
            return [(key, Get())], False
        if kind < 0.4:
            return [(key, Get())], True
        if kind < 0.65:
            return [(key, Stored(self._value()))], False
        if kind < 0.75:
            return [(key, Deleted())], False
        if kind < 0.9:
            seen = self._seen.get(key)
            return [(key, CompareAndSet(seen, self._value()))], False
        keys = sorted({key, self._near(key)})
        return [(each, Stored(self._value())) for each in keys], False

    def _key(self) -> bytes:
        number = self.dice.randrange(self.world.options.keys)
        return b"%c%02d" % (b"a"[0] + (number * 7) % 26, number)

    def _near(self, key: bytes) -> bytes:
        """Another key of the same region, if it can be had."""
        route = self._route(key)
        other = self._key()
        return other if route is not None and route.region.keys.contains(other) else key

    def _value(self) -> bytes:
        self._values += 1
        return b"%s.%d" % (self.name.encode(), self._values)

    # Attempts.

    def _attempt(self) -> None:
        task = self._task
        if task is None:
            return
        world = self.world
        if world.clockwork.now > task.deadline:
            self._give_up(task)
            return
        self._number += 1
        number = self._number
        route = self._route(task.calls[0][0])
        world.clockwork.after(ANSWER_SECONDS, lambda: self._unanswered(number))
        if route is None:
            query = QUERY.encode(RoutesQuery())
            subject = world.subjects.pd_get("routes")
            world.network.send(self.name, subject, query, f"_INBOX.{self.name}.routes")
            return
        store = route.store or self.dice.choice(route.region.stores)
        request = self._request(task, number, route)
        task.attempts += 1
        frame = REQUESTS.encode(RequestFrame(self.id, (request,)))
        subject = world.subjects.rpc(StoreId(store))
        world.network.send(self.name, subject, frame, f"_INBOX.{self.name}.{number}")

    def _request(
        self, task: Task, number: int, route: Route
    ) -> GetRequest | ScanRequest | WriteRequest:
        region, version = route.region.id, route.region.epoch.version
        if task.scan:
            keys = route.region.keys
            return ScanRequest(number, region, version, keys.start, keys.end, 1_000)
        if not task.ops:
            return GetRequest(number, region, version, (task.calls[0][0],))
        if task.batch is None or task.region != region:
            session = self._session(route)
            done_below = session.sequence
            task.batch = Batch(session.lane, session.sequence, done_below, task.ops)
            task.region = region
            session.sequence += 1
        task.uncertain = True
        return WriteRequest(number, region, version, BATCHES.encode(task.batch))

    def _session(self, route: Route) -> Session:
        known = self._sessions.get(route.region.id)
        if known is None:
            self._lanes += 1
            known = Session(
                Lane(self.id, self._times.get(route.region.id, route.time), self._lanes)
            )
            self._sessions[route.region.id] = known
        return known

    def _route(self, key: bytes) -> Route | None:
        return next((item for item in self._routes if item.region.keys.contains(key)), None)

    def _unanswered(self, number: int) -> None:
        if self._task is not None and number == self._number:
            self._forget_leader(self._task.calls[0][0])
            self._attempt()

    def _again(self) -> None:
        number = self._number = self._number + 1

        def attempt() -> None:
            if number == self._number:
                self._attempt()

        self.world.clockwork.after(RETRY_SECONDS * self.dice.random(), attempt)

    # Answers.

    def _heard(self, subject: str, payload: bytes, reply: str) -> None:
        if subject.endswith(".routes"):
            routes = ROUTES.decode(payload)
            if not isinstance(routes, Malformed) and routes.ready and not self._routes:
                self._routes = list(routes.routes)
                self._attempt()
            return
        frame = ANSWERS.decode(payload)
        assert not isinstance(frame, Malformed), frame
        for answer in frame.answers:
            if self._task is not None and answer.number == self._number:
                self._answered(self._task, answer)

    def _answered(self, task: Task, answer: Answer) -> None:
        match answer:
            case GetAnswer(values=values):
                self._done(task, [Got(values[0])])
            case ScanAnswer(rows=rows):
                self._scanned(task, dict(rows))
            case WriteAnswer(outcomes=outcomes):
                pairs = zip(task.calls, outcomes, strict=True)
                self._done(task, [_observed(call, outcome) for (_, call), outcome in pairs])
            case Refused(refusal=refusal):
                self._refused(task, refusal)
            case _:
                raise AssertionError(f"nobody asked for {answer}")

    def _refused(self, task: Task, refusal: Refusal) -> None:
        match refusal:
            case NotLeader(route=route) | Undetermined(route=route):
                self._learn(route)
            case EpochMismatch(routes=routes):
                for route in routes:
                    self._learn(route)
            case KeyNotInRegion() | InvalidRequest():
                raise AssertionError(f"{self.name}: {refusal}")
            case RegionNotFound():
                self._forget_leader(task.calls[0][0])
            case SessionExpired():
                if task.attempts > 1:
                    self._give_up(task)
                    return
                self._times[task.region] = refusal.time
                self._sessions.pop(task.region, None)
                task.batch = None
            case _:
                pass
        self._again()

    def _learn(self, route: Route) -> None:
        for place, known in enumerate(self._routes):
            if known.region.id == route.region.id and route.term >= known.term:
                self._routes[place] = route

    def _forget_leader(self, key: bytes) -> None:
        for place, known in enumerate(self._routes):
            if known.region.keys.contains(key):
                self._routes[place] = Route(known.region, term=known.term, time=known.time)

    # Records.

    def _scanned(self, task: Task, rows: dict[bytes, bytes]) -> None:
        route = self._route(task.calls[0][0])
        assert route is not None
        keys = {self_key for self_key in self._all_keys() if route.region.keys.contains(self_key)}
        unknown = set(rows) - keys
        assert not unknown, f"a scan found keys that nobody wrote there: {unknown}"
        task.calls = [(key, Get()) for key in sorted(keys)]
        self._done(task, [Got(rows.get(key)) for key, _ in task.calls])

    def _all_keys(self) -> set[bytes]:
        return {
            b"%c%02d" % (b"a"[0] + (number * 7) % 26, number)
            for number in range(self.world.options.keys)
        }

    def _done(self, task: Task, observed: list[Observed]) -> None:
        now = self.world.clockwork.now
        self.finished += 1
        for (key, call), answer in zip(task.calls, observed, strict=True):
            self.keys.add(key)
            self._seen[key] = _left(call, answer)
            self._record(task, key, call, answer, now)
        self._next()

    def _give_up(self, task: Task) -> None:
        self.unknown += 1
        if task.ops and task.uncertain:
            for key, call in task.calls:
                self._record(task, key, call, None, None)
        # A sequence that was given up is settled for this client: its lane goes on behind it.
        self._next()

    def _record(
        self, task: Task, key: bytes, call: Called, answer: Observed | None, now: float | None
    ) -> None:
        returned = None if now is None else int(now * 1_000_000)
        began = int(task.began * 1_000_000)
        operation = Operation(self.name, key, call, answer, began, returned)
        self.history.append(operation)
        self.world.trace.note(
            self.world.clockwork.now, "call", f"{self.name} {key!r} {call} -> {answer}"
        )

    def _next(self) -> None:
        self._task = None
        self._number += 1
        wait = self.world.options.pause_between_calls * self.dice.random() * 2
        self.world.clockwork.after(0.0 if self._wanted is not None else wait, self._begin)


def _op(number: int, key: bytes, call: Called) -> Op:
    match call:
        case Stored(value=bytes() as value):
            return Put(number, key, value)
        case Deleted():
            return Delete(number, key)
        case CompareAndSet(expected=expected, value=bytes() as value):
            assert expected is None or isinstance(expected, bytes)
            return CompareAndSwap(number, key, expected, value)
        case _:
            raise AssertionError(f"no op for {call}")


def _observed(call: Called, outcome: Outcome) -> Observed:
    match outcome:
        case Swapped():
            assert isinstance(call, CompareAndSet)
            return Exchanged(True, call.expected)
        case NotSwapped(actual=actual):
            return Exchanged(False, actual)
        case _:
            return Done()


def _left(call: Called, answer: Observed) -> Hashable:
    """What the key held right after, as far as the client can tell."""
    match call, answer:
        case Get(), Got(value=value):
            return value
        case Stored(value=value), _:
            return value
        case CompareAndSet(value=value), Exchanged(ok=True):
            return value
        case _, Exchanged(previous=previous):
            return previous
        case _:
            return None
