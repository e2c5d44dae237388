"""Clients of the simulated world: several calls at a time, retried under the same numbers.

They follow the rules that the client library follows (sessions after RIFL), in virtual time, and
write down what they called and what they were answered. A retry may carry fewer ops: those that
nobody waits for any more are left out, and their outcome is unknown.
"""

import random

from flaredb.store.answers import ANSWERS
from flaredb.store.serving import REQUESTS
from flaredb_schemas.commands import BATCHES, DeleteRange, Lane, Outcome, RangeDeleted
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
from flaredb_schemas.ids import NO_STORE, RegionId
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
from tests.linearizability import Get, Got, Operation
from tests.simulator.calls import Step, Writes, all_keys, left_by, name_of, observed
from tests.simulator.dividing import fit, is_broken
from tests.simulator.drawing import draw_task
from tests.simulator.lanes import Session
from tests.simulator.routing import Routes
from tests.simulator.tasks import Page, Task
from tests.simulator.world import World

ROUTES: Codec[RoutesAnswer] = Codec(RoutesAnswer)
QUERY: Codec[RoutesQuery] = Codec(RoutesQuery)

BUDGET_SECONDS = 6.0
RETRY_SECONDS = 0.25
ANSWER_SECONDS = 1.0
LOST = 0.1  # of all calls go to any store of the region, as if nothing had been heard yet


class Client:
    """One client.

    Invariants: a hand has one task at a time; a write keeps lane, sequence and op numbers over all
    attempts; an op without a definite answer is recorded as unknown.
    """

    def __init__(self, world: World, number: int, history: list[Operation]) -> None:
        workload = world.options.workload
        self.world = world
        self.name = f"client{number}"
        self.id = number
        self.history = history
        self.dice = random.Random(f"client {world.options.seed} {number}")
        self.keys = all_keys(workload.keys)
        self.finished = 0
        self.unknown = 0
        self._writes = Writes(self.dice, self.name, self.keys, workload.value_bytes)
        self._routes = Routes()
        self._sessions: dict[RegionId, Session] = {}
        self._opened: dict[RegionId, int] = {}
        self._lanes = 0
        self._tasks: dict[int, Task] = {}
        self._waiting: dict[int, Task] = {}
        self._unrouted: set[int] = set()  # who waits for PD to tell the regions
        self._number = 0
        self._wanted: list[bytes] = []
        self._stop = False
        world.network.listen(self.name, self._heard, (f"_INBOX.{self.name}",))
        for _ in range(workload.in_flight):
            world.clockwork.after(self.dice.random(), self._begin)

    def stop(self) -> None:
        """No further calls after those under way."""
        self._stop = True

    @property
    def idle(self) -> bool:
        """Whether no call is under way."""
        return not self._tasks and not self._wanted

    def read(self, keys: list[bytes]) -> None:
        """Read `keys` once more, one after the other; for the end of a run."""
        self._wanted = list(keys)
        self._begin()

    def look(self, key: bytes) -> None:
        """Read a key besides what the hands do."""
        self._start(Task(0.0, 0.0, gets=(key,), aside=True))

    # What to call.

    def _begin(self) -> None:
        if self._wanted:
            self._start(Task(0.0, 0.0, gets=(self._wanted.pop(),)))
        elif not self._stop:
            if self.world.quiet:
                self.world.clockwork.after(0.3, self._begin)
            else:
                most = self.world.options.workload.batch_ops
                self._start(draw_task(self.dice, self.keys, self._routes, self._writes, most))

    def _start(self, task: Task) -> None:
        task.began = self.world.clockwork.now
        task.deadline = task.began + BUDGET_SECONDS
        self._tasks[id(task)] = task
        self._attempt(task)

    # Attempts.

    def _attempt(self, task: Task) -> None:
        world = self.world
        if world.clockwork.now > task.deadline:
            self._give_up(task)
            return
        self._number += 1
        number = self._number
        self._waiting[number] = task
        route = self._routes.find(task.place)
        patience = ANSWER_SECONDS * self.dice.uniform(0.2, 1.0)
        world.clockwork.after(patience, lambda: self._unanswered(number))
        if route is None:
            self._unrouted.add(number)
            subject, inbox = world.subjects.pd_get("routes"), f"_INBOX.{self.name}.routes"
            world.network.send(self.name, subject, QUERY.encode(RoutesQuery()), inbox)
            return
        for part in fit(task, route.region, self._lose):
            self._tasks[id(part)] = part
            self._attempt(part)
        if task.attempts and len(task.steps) > 1 and self.dice.random() < 0.3:
            self._carry_fewer(task)
        request = self._request(task, number, route)
        task.attempts += 1
        known = route.store if self.dice.random() >= LOST else NO_STORE
        task.store = known or task.some_store(self.dice, route.region.stores)
        frame = REQUESTS.encode(RequestFrame(self.id, (request,)))
        subject = world.subjects.rpc(task.store)
        world.network.send(self.name, subject, frame, f"_INBOX.{self.name}.{number}")

    def _carry_fewer(self, task: Task) -> None:
        """Nobody waits for one of the ops any more: the next attempt goes without it."""
        place = self.dice.randrange(len(task.steps))
        self._lose(task, task.steps[place])
        task.steps = (*task.steps[:place], *task.steps[place + 1 :])

    def _request(
        self, task: Task, number: int, route: Route
    ) -> GetRequest | ScanRequest | WriteRequest:
        region, version = route.region.id, route.region.epoch.version
        task.region = region
        if task.asked is not None:
            page = task.asked
            return ScanRequest(
                number, region, version, page.start, page.end, page.limit, page.reverse
            )
        if task.gets:
            return GetRequest(number, region, version, task.gets)
        self._name(task, route)
        assert task.session is not None
        batch = task.session.batch(task.sequence, tuple(step.op for step in task.steps))
        task.uncertain = True
        return WriteRequest(number, region, version, BATCHES.encode(batch))

    def _name(self, task: Task, route: Route) -> None:
        """Give the batch its lane and sequence, once."""
        if task.session is not None:
            return
        region = route.region.id
        known = self._sessions.get(region)
        if known is None:
            self._lanes += 1
            opened = self._opened.get(region, route.time)
            known = self._sessions[region] = Session(Lane(self.id, opened, self._lanes))
        task.session, task.sequence = known, known.begin()

    def _unanswered(self, number: int) -> None:
        self._unrouted.discard(number)
        task = self._waiting.pop(number, None)
        if task is not None:
            self._forget_leader(task)
            self._attempt(task)

    def _again(self, task: Task) -> None:
        wait = RETRY_SECONDS * self.dice.random()
        self.world.clockwork.after(wait, lambda: self._attempt(task))

    # Answers.

    def _heard(self, subject: str, payload: bytes, reply: str) -> None:
        if subject.endswith(".routes"):
            self._routes_heard(ROUTES.decode(payload))
            return
        frame = ANSWERS.decode(payload)
        assert not isinstance(frame, Malformed), frame
        for answer in frame.answers:
            task = self._waiting.pop(answer.number, None)
            if task is not None:
                self._answered(task, answer)

    def _routes_heard(self, told: RoutesAnswer | Malformed) -> None:
        if isinstance(told, Malformed) or not told.ready:
            return
        for route in told.routes:
            self._routes.learn(route)
        for number in sorted(self._unrouted):
            if self._routes.find(self._waiting[number].place) is not None:
                self._unrouted.discard(number)
                self._attempt(self._waiting.pop(number))

    def _answered(self, task: Task, answer: Answer) -> None:
        match answer:
            case GetAnswer(values=values):
                self._got(task, dict(zip(task.gets, values, strict=True)))
            case ScanAnswer(rows=rows, more=more):
                self._scanned(task, dict(rows), more)
            case WriteAnswer(outcomes=outcomes):
                self._written(task, outcomes)
            case Refused(refusal=refusal):
                self._refused(task, refusal)
            case _:
                raise AssertionError(f"nobody asked for {answer}")

    def _refused(self, task: Task, refusal: Refusal) -> None:
        match refusal:
            case NotLeader(route=route) | Undetermined(route=route):
                self._routes.learn(route)
            case EpochMismatch(routes=routes):
                self._routes.changed(task.place, routes)
            case KeyNotInRegion(route=route) if is_broken(task.steps, route.region):
                self._give_up(task)  # a group that was cut in two: surely without effect
                return
            case KeyNotInRegion() | InvalidRequest():
                raise AssertionError(f"{self.name}: {refusal}")
            case RegionNotFound():
                self._routes.gone(task.place, task.attempts)
            case SessionExpired(time=time):
                self._drop_lane(task, time)
                if task.attempts > 1 or self.world.network.may_repeat:
                    # An earlier attempt, or an earlier copy of this one, may have been executed.
                    self._give_up(task)
                    return
                task.session = None
            case _:
                pass
        self._again(task)

    def _drop_lane(self, task: Task, time: int) -> None:
        """The region knows this lane no more: what follows goes under a new one."""
        if self._sessions.get(task.region) is task.session:
            del self._sessions[task.region]
        self._opened[task.region] = time

    def _forget_leader(self, task: Task) -> None:
        route = self._routes.find(task.place)
        if route is not None:
            self._routes.forget_leader(route.region)

    # Records.

    def _got(self, task: Task, values: dict[bytes, bytes | None]) -> None:
        for key, value in values.items():
            self._writes.seen[key] = value
            self._record(task, key, Get(), Got(name_of(value)))
        self._finish(task)

    def _scanned(self, task: Task, rows: dict[bytes, bytes], more: bool) -> None:
        page = task.asked
        assert page is not None and task.page is not None and (rows or not more)
        start, end = page.covered(rows, more)
        covered = [key for key in self.keys if start <= key and (not end or key < end)]
        unknown = set(rows) - set(covered)
        assert not unknown, f"a scan found keys that nobody wrote there: {unknown}"
        for key in covered:
            self._record(task, key, Get(), Got(name_of(rows.get(key))))
        self._finish(task, page.following(rows, more, self._routes, task.page))

    def _written(self, task: Task, outcomes: tuple[Outcome, ...]) -> None:
        rest: Step | None = None
        for step, outcome in zip(task.steps, outcomes, strict=True):
            self._writes.seen.update(left_by(step, outcome))
            for key, call, answer in observed(step, outcome):
                self._record(task, key, call, answer)
            if isinstance(outcome, RangeDeleted) and outcome.resume is not None:
                assert isinstance(step.op, DeleteRange)
                rest = self._writes.range_deletion(0, outcome.resume, step.op.end)
        if rest is not None and rest.effects:
            self.finished += 1
            self._settle(task)
            self._start(Task(0.0, 0.0, steps=(rest,)))
        else:
            self._finish(task)

    def _give_up(self, task: Task) -> None:
        self.unknown += 1
        for step in task.steps:
            self._lose(task, step)
        self._settle(task)
        self._pause(task)

    def _lose(self, task: Task, step: Step) -> None:
        """What came of this op will never be known."""
        if task.uncertain:
            for key, call in step.effects:
                self._record(task, key, call, None)

    def _record(self, task: Task, key: bytes, call: Called, answer: Observed | None) -> None:
        now = self.world.clockwork.now
        returned = None if answer is None else int(now * 1_000_000)
        began = int(task.began * 1_000_000)
        self.history.append(Operation(self.name, key, call, answer, began, returned))
        self.world.trace.note(now, "call", f"{self.name} {key!r} {call} -> {answer}")

    def _finish(self, task: Task, following: Page | None = None) -> None:
        self.finished += 1
        self._settle(task)
        if following is not None:
            self._start(Task(0.0, 0.0, page=following))
        else:
            self._pause(task)

    def _settle(self, task: Task) -> None:
        """This task is over. A batch that was given up is settled, too: its lane goes on."""
        del self._tasks[id(task)]
        if task.session is not None:
            task.session.settle(task.sequence)

    def _pause(self, task: Task) -> None:
        if task.aside:
            return
        wait = self.world.options.workload.pause * self.dice.random() * 2
        self.world.clockwork.after(0.0 if self._wanted else wait, self._begin)
