"""Long histories of a truly atomic object are good; with one answer falsified they are bad."""

import random

import pytest

from tests.linearizability import (
    Done,
    Get,
    Got,
    Linearizable,
    Model,
    NotLinearizable,
    Operation,
    Put,
    RegisterModel,
    TextModel,
    check,
)
from tests.linearizability.atomic import (
    Calls,
    Load,
    answered,
    record,
    register_call,
    text_call,
)

REGISTER_LOADS = [
    pytest.param(Load(operations=10_000, keys=300, clients=64), id="many keys"),
    pytest.param(Load(operations=5_000, keys=300, clients=64, lost=0.05), id="lost answers"),
    pytest.param(Load(operations=2_000, keys=10, clients=64, lost=0.02), id="ten busy keys"),
    pytest.param(Load(operations=2_000, keys=1, clients=8), id="one key"),
]
TEXT_LOADS = [
    pytest.param(Load(operations=3_000, keys=10, clients=50), id="fifty clients"),
    pytest.param(Load(operations=2_000, keys=20, clients=64, lost=0.03), id="lost answers"),
]


@pytest.mark.parametrize("load", REGISTER_LOADS)
def test_registers_are_good_until_a_read_is_stale(load: Load) -> None:
    """The stale read tells a value that was overwritten before the read began."""
    history = record(1, load, RegisterModel(), register_call)
    _good_and_bad(history, _stale_read(history), RegisterModel())


@pytest.mark.parametrize("load", TEXT_LOADS)
def test_texts_are_good_until_a_read_misses_something(load: Load) -> None:
    """The falsified read lacks the first character of its text."""
    history = record(2, load, TextModel(), text_call)
    found = [
        (place, operation.answer.value)
        for place, operation in enumerate(history)
        if isinstance(operation.answer, Got) and operation.answer.value != ""
    ]
    place, text = random.Random(2).choice(found)
    falsified = _with_answer(history, place, Got(str(text)[1:]))
    _good_and_bad(history, falsified, TextModel())


@pytest.mark.parametrize(
    ("model", "calls"),
    [
        pytest.param(RegisterModel(), register_call, id="register"),
        pytest.param(TextModel(), text_call, id="text"),
    ],
)
def test_a_lost_write_is_found(model: Model, calls: Calls) -> None:
    """The last write is acknowledged, and the read after it does not see it."""
    history = record(3, Load(operations=400, keys=4, clients=4), model, calls)
    end = max(operation.returned or operation.invoked for operation in history)
    put = Operation("late", 0, Put("late"), Done(), end + 1, end + 2)
    seen = Operation("late", 0, Get(), Got("late"), end + 3, end + 4)
    unseen = answered(seen, Got(model.initial), end + 4)
    assert isinstance(check([*history, put, seen], model), Linearizable)
    verdict = check([*history, put, unseen], model)
    assert isinstance(verdict, NotLinearizable)
    assert verdict.refuted == unseen


def _good_and_bad(history: list[Operation], falsified: list[Operation], model: Model) -> None:
    assert isinstance(check(history, model), Linearizable)
    verdict = check(falsified, model)
    assert isinstance(verdict, NotLinearizable)
    assert len(verdict.explained) > 0


def _stale_read(history: list[Operation]) -> list[Operation]:
    """One read tells a value that was overwritten before the read began."""
    reads = [place for place, op in enumerate(history) if isinstance(op.answer, Got)]
    random.Random(1).shuffle(reads)
    for place in reads:
        read = history[place]
        puts = [op for op in history if op.key == read.key and isinstance(op.call, Put)]
        for older in puts:
            if any(_precedes(older, newer) and _precedes(newer, read) for newer in puts):
                assert isinstance(older.call, Put)
                return _with_answer(history, place, Got(older.call.value))
    raise AssertionError("no read comes after two writes in a row")


def _precedes(one: Operation, other: Operation) -> bool:
    return one.returned is not None and one.returned < other.invoked


def _with_answer(history: list[Operation], place: int, answer: Got) -> list[Operation]:
    """The history with one answer replaced."""
    operation = history[place]
    assert operation.returned is not None
    falsified = answered(operation, answer, operation.returned)
    return [*history[:place], falsified, *history[place + 1 :]]
