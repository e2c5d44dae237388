"""Why nothing is done is told when the reason is another one, has stood, and not too often."""

from msgspec.structs import replace

from flaredb_pd.decide import Command, decide
from flaredb_pd.foresight import Figures
from flaredb_pd.heard import Heard
from flaredb_pd.idle_facts import LEAST_MS, TellIdle
from flaredb_pd.idleness import SETTLED_SECONDS, Idleness
from flaredb_pd.instant import Instant
from flaredb_pd.ledger import Idle
from flaredb_pd.loads import Loads
from flaredb_pd.operator_facts import EndOperator, StartOperator
from flaredb_pd.proposals import LIMIT, Proposal
from flaredb_pd.state import evolve, numbered
from flaredb_schemas.decisions import Decision
from flaredb_schemas.ids import JournalSequence, RegionId, StoreId
from flaredb_schemas.operators import NothingToDo
from flaredb_schemas.pd_answers import PdFailure
from tests.pd.test_operators import CONFIG, given, plan

EVEN, BUSY = Idle("balance-load", "even"), Idle("balance-load", "busy")
MOVE = Proposal(
    "move",
    RegionId(4),
    "balance",
    "why",
    0,
    add=StoreId(9),
    remove=StoreId(1),
    policy="balance-load",
)


class Desk:
    """A reign in which the journal takes in at once what is told."""

    def __init__(self) -> None:
        self.state = given()
        self.now = Instant(0.0, 1_000_000)
        self.told: list[str] = []
        self.tells = 0
        self.writes = True
        self.idleness = Idleness(self._enqueue)

    def _enqueue(self, command: Command, now: Instant) -> None:
        assert isinstance(command, TellIdle)
        self.tells += 1
        if self.writes:
            self.do(command)
            self.idleness.settled(command.policy)

    def do(self, command: Command) -> None:
        for fact in decide(self.state, command, CONFIG):
            record, sequence = numbered(self.state, fact, self.now.wall), self.state.sequence + 1
            self.state = evolve(self.state, record, JournalSequence(sequence))
            if isinstance(record, NothingToDo):
                self.told.append(record.reason)

    def look(self, *decided: Idle | Proposal, refused: PdFailure | None = None) -> None:
        """Two seconds pass, and this is what a look comes to."""
        self.now = Instant(self.now.seconds + 2.0, self.now.wall + 2_000)
        figures = Figures(self.state, Heard((), self.now), Loads(), ())
        self.idleness.take(decided, lambda _: refused, self.state, figures, self.now)

    def looks(self, seconds: float, *decided: Idle | Proposal) -> None:
        for _ in range(round(seconds / 2)):
            self.look(*decided)

    def start(self, policy: str) -> None:
        """An operator of this policy starts, and is done."""
        decision = Decision(policy=policy)
        self.do(StartOperator(replace(plan(self.state), decision=decision), self.now.wall))
        running = self.state.operators.running[self.state.regions[0].id]
        self.do(EndOperator(running.id, running.region, "done", "", self.now.wall))


def test_a_reason_is_told_once_it_has_stood_and_only_once() -> None:
    desk = Desk()
    desk.looks(SETTLED_SECONDS, EVEN)
    assert desk.told == []
    desk.looks(600, EVEN)
    assert desk.told == ["even"]


def test_another_reason_is_told_and_the_first_one_again_after_it() -> None:
    desk = Desk()
    for reason in (EVEN, BUSY, EVEN):
        desk.looks(100, reason)
    assert desk.told == ["even", "busy", "even"]


def test_what_comes_and_goes_is_not_told() -> None:
    desk = Desk()
    for _ in range(100):
        desk.looks(6, EVEN)
        desk.looks(6, BUSY)
    assert desk.told == []


def test_what_changes_each_half_minute_is_told_once_a_minute_at_most() -> None:
    desk = Desk()
    for _ in range(20):
        desk.looks(30, EVEN)
        desk.looks(30, BUSY)
    assert 0 < len(desk.told) <= 20 * 60_000 // LEAST_MS


def test_after_the_policy_has_done_something_its_reason_is_told_again() -> None:
    desk = Desk()
    desk.looks(100, EVEN)
    desk.start("balance-leaders")
    desk.looks(100, EVEN)
    assert desk.told == ["even"], "another policy's doings do not count"
    desk.start("balance-load")
    desk.looks(100, EVEN)
    assert desk.told == ["even", "even"]


def test_what_is_usual_is_told_only_after_something_else() -> None:
    desk, usual = Desk(), replace(EVEN, usual=True)
    desk.looks(100, usual)
    assert desk.told == []
    desk.looks(100, BUSY)
    desk.looks(100, usual)
    assert desk.told == ["busy", "even"]


def test_that_everything_is_refused_is_a_reason_too() -> None:
    desk, refused = Desk(), PdFailure(LIMIT, "64 operators are under way", "wait")
    for _ in range(10):
        desk.look(MOVE, refused=refused)
    assert desk.told == ["refused: enough is under way"]


def test_who_does_something_has_no_reason_to_do_nothing() -> None:
    desk = Desk()
    for _ in range(10):
        desk.looks(8, EVEN)
        desk.look(MOVE)
    assert desk.told == []


def test_one_reason_at_a_time_waits_for_a_journal_that_does_not_answer() -> None:
    desk = Desk()
    desk.writes = False
    desk.looks(3_600, EVEN)
    assert desk.tells == 1
