"""Operators in one reign: from a proposal to its record, from there to orders, and to the end.

What is written runs, whichever PD started it. Each operator is looked at whenever its region is
told of, and ten times a second: what is next is ordered at once, and again each second until its
effect shows; what shows is noted; what is over is ended. A takeover gives each its time anew.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Set
from typing import Final

from msgspec import Struct

from flaredb_pd.config import Config
from flaredb_pd.decide import Command
from flaredb_pd.foresight import Figures
from flaredb_pd.heard import Heard
from flaredb_pd.instant import Instant
from flaredb_pd.loads import Loads
from flaredb_pd.operator_facts import EndOperator, NoteStep, Plan, StartOperator
from flaredb_pd.operator_rows import operator_row, unknown_operator
from flaredb_pd.operator_steps import Look, Next, Over, StoresNow, Waits, look, steps_done
from flaredb_pd.operators import Operator
from flaredb_pd.orders import Addressed
from flaredb_pd.proposals import Proposal, View, judge
from flaredb_pd.region_map import Sighting
from flaredb_pd.state import State
from flaredb_pd.watch import StoreWatch
from flaredb_schemas.ids import NO_PEER, NO_STORE, OperatorId, RegionId, StoreId
from flaredb_schemas.operators import OperatorOutcome, OperatorStep
from flaredb_schemas.pd_answers import OperatorRow, PdFailure
from flaredb_schemas.placement import Order, OrderBody, Report, TransferLeader

REPEAT: Final = 1.0
"""Seconds after which an order whose effect does not show is given again."""

ASK_AGAIN: Final = (0.5, 1.0, 2.0, 5.0)
"""Seconds between questions to a store for all that it knows, where that helps to go on: what is
small has soon caught up, and what is large can wait, for the answer tells of all its regions."""

NO_LEADER: Final = "for the region to have a leader"
EXPIRED: Final = "its time is over"
MERGED: Final = "the region is a part of another one now"


class Given(Struct):
    """What was ordered last for an operator, how often, and when it may be ordered again."""

    body: OrderBody
    times: int
    again_at: float


class Conductor:
    """The operators of one reign.

    Invariants: orders are given only for what the journal says to run, and has not been seen to be
    over; who asked is answered once its record is written, or when it is certain that none comes.
    """

    def __init__(
        self,
        config: Config,
        watch: StoreWatch,
        loads: Loads,
        enqueue: Callable[[Command, Instant], None],
        give: Callable[[Addressed], None],
        answer: Callable[[str, Struct], None],
    ) -> None:
        self._config = config
        self._watch = watch
        self._loads = loads
        self._enqueue = enqueue
        self._give = give
        self._answer = answer
        self._waiting: dict[RegionId, Plan] = {}
        self._replies: dict[RegionId, str] = {}
        self._cancellers: dict[OperatorId, list[str]] = {}
        self._ending: set[OperatorId] = set()
        self._noted: set[tuple[OperatorId, OperatorStep]] = set()
        self._since: dict[OperatorId, float] = {}
        self._given: dict[OperatorId, Given] = {}

    def regions(self, state: State) -> Set[RegionId]:
        """The regions with an operator, or with one that is about to start."""
        return {*state.operators.running, *self._waiting}

    def coming(self, state: State) -> Counter[StoreId]:
        """How many replicas are on their way to each store."""
        adding = (one.started.add for one in state.operators.running.values())
        planned = (plan.add for plan in self._waiting.values())
        return Counter([*(peer.store for peer in adding if peer is not None), *planned])

    def why_busy(self, region: RegionId, state: State) -> str:
        """Which operator is on its way here, in words; nothing if none is."""
        running = state.operators.running.get(region)
        if running is not None:
            return f"operator {running.id} ({running.started.kind}) is under way on region {region}"
        return f"an operator is about to start on region {region}" * (region in self._waiting)

    def propose(
        self,
        proposal: Proposal,
        state: State,
        heard: Heard,
        why_changing: Callable[[RegionId], str],
        now: Instant,
        reply: str = "",
    ) -> PdFailure | None:
        """Undertake something, if no hard rule forbids it; `reply` hears what becomes of it."""
        plan = self.judge(proposal, state, heard, why_changing)
        if isinstance(plan, PdFailure):
            self._tell(reply, plan)
            return plan
        self._waiting[proposal.region] = plan
        self._replies[proposal.region] = reply
        self._enqueue(StartOperator(plan, now.wall), now)
        return None

    def judge(
        self,
        proposal: Proposal,
        state: State,
        heard: Heard,
        why_changing: Callable[[RegionId], str],
    ) -> Plan | PdFailure:
        """What would be undertaken, or the hard rule that forbids it now."""
        figures = self._figures(state, heard)
        view = View(state, heard.regions, self._watch.is_up, self._waiting, why_changing, figures)
        return judge(proposal, view, self._config)

    def cancel(
        self, number: OperatorId, reply: str, state: State, heard: Heard, now: Instant
    ) -> None:
        """Give an operator up; what it has left behind is cleared away by a repair."""
        known = state.operators.find(number)
        if known is None:
            self._tell(reply, unknown_operator(number))
        elif known.ended is not None:
            self._tell(reply, _has_ended(known))
        else:
            self._cancellers.setdefault(number, []).append(reply)
            self._end(known, state, heard, "cancelled", "somebody wanted it", now)

    def give_up(
        self, operator: Operator, why: str, state: State, heard: Heard, now: Instant
    ) -> None:
        """What an operator is for is not wanted any more; as if somebody had cancelled it."""
        self._end(operator, state, heard, "cancelled", why, now)

    def written(self, command: Command, state: State, heard: Heard, now: Instant) -> None:
        """The records of this command are in the journal, as its last ones."""
        match command:
            case StartOperator(plan):
                operator = state.operators.running[plan.region.id]
                self._forget_all_but(state)
                self._waiting.pop(operator.region, None)
                row = operator_row(operator, "", now.wall)
                self._tell(self._replies.pop(operator.region, ""), row)
                self._go_on(operator, state, heard, now)
            case EndOperator(number):
                self._forget(number)
                self._tell_cancellers(number, state, now)
            case _:
                pass

    def nothing_written(self, command: Command, state: State, now: Instant) -> None:
        """There was nothing to write for this command."""
        match command:
            case StartOperator(plan):
                region = plan.region.id
                self._waiting.pop(region, None)
                text = self.why_busy(region, state) or f"nothing can be done to region {region} now"
                failure = PdFailure("busy", text, "see `flaredb operator list`, and try again")
                self._tell(self._replies.pop(region, ""), failure)
            case EndOperator(number):
                self._forget(number)
                self._tell_cancellers(number, state, now)
            case _:
                pass

    def heard(self, regions: Iterable[RegionId], state: State, heard: Heard, now: Instant) -> None:
        """These regions have been told of."""
        for region in regions:
            operator = state.operators.running.get(region)
            if operator is not None:
                self._go_on(operator, state, heard, now)

    def tick(self, state: State, heard: Heard, now: Instant) -> None:
        """Time has passed, and orders may be given."""
        for operator in list(state.operators.running.values()):
            since = self._since.setdefault(operator.id, now.seconds)
            if now.seconds - since >= operator.started.seconds:
                self._end(operator, state, heard, "expired", EXPIRED, now)
            else:
                self._go_on(operator, state, heard, now)

    def row(self, operator: Operator, state: State, heard: Heard, now: Instant) -> OperatorRow:
        """An operator as people see it."""
        if operator.ended is not None:
            return operator_row(operator, operator.ended.reason, now.wall)
        seen = self._look(operator, state, heard)
        return operator_row(operator, seen.reason if isinstance(seen, Over) else seen.why, now.wall)

    def _figures(self, state: State, heard: Heard) -> Figures:
        return Figures(state, heard, self._loads, self._config.location_labels)

    def _look(self, operator: Operator, state: State, heard: Heard) -> Look:
        sighting = heard.regions.get(operator.region)
        if sighting is None and _is_absorbed(operator, heard):
            return Over("refused", MERGED)
        if sighting is None or sighting.report is None or sighting.store == NO_STORE:
            return Waits(NO_LEADER)
        given = self._given.get(operator.id)
        asked = given.body.to if given and isinstance(given.body, TransferLeader) else NO_PEER
        stores = StoresNow(
            self._watch.is_up, self._watch.is_down, heard.leaders, state.leaves, asked
        )
        return look(operator, sighting, stores)

    def _go_on(self, operator: Operator, state: State, heard: Heard, now: Instant) -> None:
        if operator.id in self._ending:
            return
        seen, sighting = self._look(operator, state, heard), heard.regions.get(operator.region)
        explained = not isinstance(seen, Over) or seen.outcome == "done"
        if explained and sighting is not None and sighting.report is not None:
            self._note_steps(operator, sighting, now)
        match seen:
            case Over(outcome, reason):
                self._end(operator, state, heard, outcome, reason, now)
            case Next(body) if sighting is not None:
                self._order(operator, sighting.store, body, (REPEAT,), state, now)
            case Waits(ask=True) if sighting is not None:
                self._order(operator, sighting.store, Report(), ASK_AGAIN, state, now)
            case _:
                pass

    def _note_steps(self, operator: Operator, sighting: Sighting, now: Instant) -> None:
        for step in steps_done(operator, sighting):
            if step not in operator.steps and (operator.id, step) not in self._noted:
                self._noted.add((operator.id, step))
                told = sighting.region.epoch.conf_ver, sighting.leader, now.wall
                self._enqueue(NoteStep(operator.id, operator.region, step, *told), now)

    def _order(
        self,
        operator: Operator,
        store: StoreId,
        body: OrderBody,
        pauses: tuple[float, ...],
        state: State,
        now: Instant,
    ) -> None:
        given = self._given.get(operator.id)
        same = given is not None and given.body == body
        if given is not None and same and now.seconds < given.again_at:
            return
        times = given.times if given is not None and same else 0
        pause = pauses[min(times, len(pauses) - 1)]
        self._given[operator.id] = Given(body, times + 1, now.seconds + pause)
        order = Order(state.epoch, operator.sequence, body, state.incarnation)
        self._give(Addressed(store, order))

    def _end(
        self,
        operator: Operator,
        state: State,
        heard: Heard,
        outcome: OperatorOutcome,
        reason: str,
        now: Instant,
    ) -> None:
        if operator.id in self._ending:
            return
        self._ending.add(operator.id)
        about = operator.id, operator.region, outcome, reason, now.wall
        sighting = heard.regions.get(operator.region)
        report = sighting.report if sighting is not None else None
        if sighting is None or report is None:
            self._enqueue(EndOperator(*about), now)
        else:
            effects = operator.started.decision.effects
            outcomes = self._figures(state, heard).outcomes(operator.region, effects)
            told = report.peers, sighting.store, report.bytes, outcomes
            self._enqueue(EndOperator(*about, *told), now)

    def _forget_all_but(self, state: State) -> None:
        """What was replaced is over without a command of its own."""
        running = {operator.id for operator in state.operators.running.values()}
        for number in set(self._since) - running:
            self._forget(number)

    def _forget(self, number: OperatorId) -> None:
        self._ending.discard(number)
        self._since.pop(number, None)
        self._given.pop(number, None)
        self._noted = {noted for noted in self._noted if noted[0] != number}

    def _tell_cancellers(self, number: OperatorId, state: State, now: Instant) -> None:
        known = state.operators.find(number)
        for reply in self._cancellers.pop(number, ()):
            if known is not None and known.ended is not None:
                cancelled = known.ended.outcome == "cancelled"
                row = operator_row(known, known.ended.reason, now.wall)
                self._tell(reply, row if cancelled else _has_ended(known))

    def _tell(self, reply: str, answer: Struct) -> None:
        if reply:
            self._answer(reply, answer)


def _has_ended(operator: Operator) -> PdFailure:
    assert operator.ended is not None
    text = f"operator {operator.id} has ended already: {operator.ended.outcome}"
    return PdFailure("ended", text, f"see `flaredb operator show {operator.id}`")


def _is_absorbed(operator: Operator, heard: Heard) -> bool:
    """Whether a leader has told of a later region where this one began.

    A region keeps the key where it begins, or begins before it; and whoever takes it over has a
    higher version than it ever had.
    """
    before = operator.started.before
    there = heard.regions.find(before.start)
    told = there is not None and there.report is not None
    return told and there is not None and there.region.epoch.version > before.version
