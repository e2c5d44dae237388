"""Given operators, when a command, then facts: ids once, one per region, each ends once."""

from random import Random

import pytest
from msgspec.structs import replace

from flaredb_pd.decide import Bootstrap, Command, Rebuild, TakeOver, decide
from flaredb_pd.operator_facts import OUTRANKED, EndOperator, NoteStep, Plan, StartOperator
from flaredb_pd.operators import (
    LATELY_SECONDS,
    LOST,
    MOST_ENDED,
    MOST_LATELY,
    Operator,
    Operators,
)
from flaredb_pd.recovery import claims_of, find_loss
from flaredb_pd.state import State, evolve, numbered
from flaredb_schemas.decisions import Decision
from flaredb_schemas.ids import JournalSequence, OperatorId, PdEpoch, PeerId, StoreId
from flaredb_schemas.operators import OperatorEnded, OperatorStarted, OperatorStepped
from flaredb_schemas.records import JournalFact, decode_fact, encode_fact
from tests.pd.builders import SPLIT_AT_M, join, pd_config

CONFIG = pd_config(ranges=SPLIT_AT_M)
BEFORE = (TakeOver(PdEpoch(0)), Bootstrap((join("a"), join("b"), join("c"))))


def when(state: State, command: Command, wall: int = 5_000) -> tuple[State, list[JournalFact]]:
    """The state after `command`, and its records as they are read back."""
    written: list[JournalFact] = []
    for fact in decide(state, command, CONFIG):
        record = numbered(state, fact, wall)
        read = decode_fact(encode_fact(record))
        assert read == record
        state = evolve(state, record, JournalSequence(state.sequence + 1))
        written.append(record)
    return state, written


def given(*commands: Command) -> State:
    state = State()
    for command in (*BEFORE, *commands):
        state, _ = when(state, command)
    return state


def plan(state: State, at: int = 0, priority: int = 1, add: int = 9) -> Plan:
    """To move a region's first replica to a store."""
    region = state.regions[at]
    return Plan(
        kind="move",
        region=region,
        leader=region.peers[0].id,
        seconds=600,
        priority=priority,
        trigger="manual",
        reason="why not",
        add=StoreId(add),
        remove=region.peers[0],
    )


def started(*, at: int = 0, priority: int = 1) -> tuple[State, Operator]:
    state = given()
    state, _ = when(state, StartOperator(plan(state, at, priority), 5_000))
    return state, state.operators.running[state.regions[at].id]


def test_its_record_grants_its_number_and_the_new_peers_id() -> None:
    before = given()
    state, [fact] = when(before, StartOperator(plan(before), 5_000))
    assert isinstance(fact, OperatorStarted) and fact.add is not None
    assert (fact.operator, fact.add.id) == (before.highest_id + 1, before.highest_id + 2)
    assert state.highest_id == fact.highest_id == fact.add.id
    assert [peer.store for peer in fact.expected] == [2, 3, 9]
    assert state.operators.running[fact.region].sequence == state.sequence


def test_what_adds_nothing_needs_one_id() -> None:
    state = given()
    transfer = replace(plan(state), kind="transfer", add=StoreId(0), remove=None, to=PeerId(7))
    after, _ = when(state, StartOperator(transfer, 5_000))
    assert after.highest_id == state.highest_id + 1


def test_there_is_one_operator_per_region() -> None:
    state, _ = started()
    assert when(state, StartOperator(plan(state), 6_000))[1] == []
    state, [other] = when(state, StartOperator(plan(state, at=1), 6_000))
    assert isinstance(other, OperatorStarted) and len(state.operators.running) == 2


def test_a_higher_priority_takes_its_place() -> None:
    state, first = started()
    state, [end, start] = when(state, StartOperator(plan(state, priority=2), 6_000))
    assert isinstance(end, OperatorEnded) and isinstance(start, OperatorStarted)
    assert (end.operator, end.outcome, end.reason, end.ms) == (
        first.id,
        "replaced",
        OUTRANKED,
        1_000,
    )
    assert state.operators.running[start.region].id == start.operator > first.id


def test_before_the_cluster_exists_nothing_is_undertaken() -> None:
    blank, _ = when(State(), TakeOver(PdEpoch(0)))
    assert when(blank, StartOperator(plan(given()), 5_000))[1] == []


def test_a_step_is_noted_once() -> None:
    state, operator = started()
    step = NoteStep(operator.id, operator.region, "learner_added", 2, PeerId(6), 5_250)
    state, [fact] = when(state, step)
    assert isinstance(fact, OperatorStepped) and fact.ms == 250
    assert state.operators.running[operator.region].steps == ("learner_added",)
    assert when(state, step)[1] == []


def test_it_ends_once_and_stays_known() -> None:
    state, operator = started()
    end = EndOperator(operator.id, operator.region, "done", "", 7_000)
    state, [fact] = when(state, end)
    assert isinstance(fact, OperatorEnded) and fact.ms == 2_000
    known = state.operators.find(operator.id)
    assert known is not None and known.ended == fact and not state.operators.running
    assert when(state, end)[1] == []
    assert when(state, NoteStep(operator.id, operator.region, "leader_moved", 2, PeerId(6), 1)) == (
        state,
        [],
    )


def test_only_the_last_that_have_ended_are_known() -> None:
    state, first = given(), None
    for _ in range(MOST_ENDED + 1):
        state, _ = when(state, StartOperator(plan(state), 5_000))
        operator = state.operators.running[state.regions[0].id]
        first = first or operator.id
        state, _ = when(state, EndOperator(operator.id, operator.region, "done", "", 5_000))
    assert first is not None and state.operators.find(first) is None
    assert len(state.operators.ended) == MOST_ENDED
    assert state.operators.outcomes == {"done": MOST_ENDED + 1}


def test_what_ended_lately_is_remembered_however_much_has_ended_since() -> None:
    state, first = given(), None
    for number in range(MOST_ENDED + 1):
        wall = 5_000 + 500 * number
        why = replace(plan(state), decision=Decision(policy="drain-replicas"))
        state, _ = when(state, StartOperator(why, wall), wall)
        operator = state.operators.running[state.regions[0].id]
        first = first or operator
        state, _ = when(state, EndOperator(operator.id, operator.region, "done", "", wall), wall)
    assert first is not None and state.operators.find(first.id) is None
    known = state.operators.lately
    assert len(known) == MOST_ENDED + 1 and known[0].started.add == first.started.add
    assert known[0].started.decision == Decision(), "it is long"
    state, _ = when(state, StartOperator(plan(state), 5_000), 5_000)
    operator = state.operators.running[state.regions[0].id]
    wall = 5_001 + round(LATELY_SECONDS * 1000)
    state, _ = when(state, EndOperator(operator.id, operator.region, "done", "", wall), wall)
    assert len(state.operators.lately) == MOST_ENDED + 1, "the first was a moment too long ago"


def test_what_is_remembered_is_bounded() -> None:
    _, operator = started()
    operators, sequence = Operators(), JournalSequence(1)
    ended = EndOperator(operator.id, operator.region, "done", "", 7_000)
    _, [fact] = when(started()[0], ended)
    assert isinstance(fact, OperatorEnded)
    for _ in range(MOST_LATELY + 1):
        operators = operators.with_started(operator.started, sequence).with_ended(fact)
    assert len(operators.lately) == MOST_LATELY and len(operators.ended) == MOST_ENDED


def test_a_loss_of_records_ends_all_of_them() -> None:
    state, operator = started()
    ahead = replace(claims_of(state)[0], sequence=JournalSequence(state.sequence + 1))
    loss = find_loss(state, [ahead])
    assert loss is not None
    state, _ = when(state, Rebuild(loss))
    known = state.operators.find(operator.id)
    assert not state.operators.running
    assert known is not None and known.ended is not None and known.ended.reason == LOST


def test_no_other_operator_is_ended_in_its_place() -> None:
    state, operator = started()
    other = EndOperator(OperatorId(operator.id + 1), operator.region, "done", "", 7_000)
    assert when(state, other)[1] == []


@pytest.mark.parametrize("seed", range(20))
def test_whatever_is_decided_no_id_is_used_twice(seed: int) -> None:
    dice, state = Random(seed), given()
    used = {*state.stores, *state.registered}
    used |= {peer.id for region in state.regions for peer in region.peers}
    for _ in range(200):
        running = list(state.operators.running.values())
        command: Command = StartOperator(
            plan(state, dice.randrange(2), dice.randrange(4), dice.choice([0, 9])), 5_000
        )
        if running and dice.random() < 0.5:
            chosen = dice.choice(running)
            number = OperatorId(chosen.id + dice.choice([0, 0, 1]))
            command = EndOperator(number, chosen.region, "cancelled", "", 6_000)
        state, facts = when(state, command)
        for fact in facts:
            if isinstance(fact, OperatorStarted):
                ids = {fact.operator} | ({fact.add.id} if fact.add is not None else set())
                assert not ids & used and max(ids) == fact.highest_id == state.highest_id
                used |= ids
