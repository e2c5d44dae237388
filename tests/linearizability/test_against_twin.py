"""The search and the dumb twin agree on small histories of every kind, good and bad."""

from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.linearizability import (
    Answer,
    Append,
    Call,
    CompareAndSet,
    Delete,
    Done,
    Get,
    Got,
    Linearizable,
    Model,
    NotLinearizable,
    Operation,
    Put,
    RegisterModel,
    Swapped,
    TextModel,
    check,
)
from tests.linearizability.twin import linearizable

VALUES = st.sampled_from([None, 1, 2, 3])
TEXTS = st.sampled_from(["a", "b", "c"])
REGISTER_CALLS: st.SearchStrategy[Call] = st.one_of(
    st.just(Get()),
    st.builds(Put, VALUES),
    st.just(Delete()),
    st.builds(CompareAndSet, VALUES, VALUES),
)
TEXT_CALLS: st.SearchStrategy[Call] = st.one_of(
    st.just(Get()), st.builds(Put, TEXTS), st.builds(Append, TEXTS)
)
LONG_TEXTS = st.text(alphabet="abc", max_size=4)


@st.composite
def histories(
    draw: st.DrawFn, calls: st.SearchStrategy[Call], found: st.SearchStrategy[int | str | None]
) -> list[Operation]:
    """Up to eight operations on one key with any answers that fit their calls."""
    return [
        _operation(draw, process, draw(calls), found) for process in range(draw(st.integers(1, 8)))
    ]


def _operation(
    draw: st.DrawFn, process: int, call: Call, found: st.SearchStrategy[int | str | None]
) -> Operation:
    begin = draw(st.integers(0, 14))
    answer = None if draw(st.integers(0, 5)) == 0 else _answer(draw, call, found)
    end = None if answer is None else begin + draw(st.integers(0, 8))
    return Operation(process, "k", call, answer, begin, end)


def _answer(draw: st.DrawFn, call: Call, found: st.SearchStrategy[int | str | None]) -> Answer:
    match call:
        case Get():
            return Got(draw(found))
        case CompareAndSet(expected, _):
            ok = draw(st.booleans())
            return Swapped(ok, expected if ok else draw(found))
        case Put() | Delete() | Append():
            return Done()


def _agree(history: list[Operation], model: Model) -> None:
    verdict = check(history, model)
    assert isinstance(verdict, Linearizable) == linearizable(history, model)
    if isinstance(verdict, NotLinearizable):
        _assert_earliest(verdict, history, model)


def _assert_earliest(verdict: NotLinearizable, history: list[Operation], model: Model) -> None:
    """Up to the refuted answer the history is bad; what is called explained is in a legal order."""
    moment = verdict.refuted.returned
    assert moment is not None
    until = [
        op if op.returned is not None and op.returned <= moment else op.forgotten()
        for op in history
        if op.invoked <= moment
    ]
    assert not linearizable(until, model)
    before = [
        op if op.returned is not None and op.returned < moment else op.forgotten()
        for op in history
        if op.invoked < moment
    ]
    assert linearizable(before, model)
    state = model.initial
    for operation in verdict.explained:
        state, answer = model.apply(state, operation.call)
        assert operation.answer in (None, answer)


@settings(max_examples=400, deadline=None)
@given(histories(REGISTER_CALLS, VALUES))
@example(
    [  # the delete of unknown outcome brings something only right behind the put
        Operation(0, "k", Put(1), Done(), 0, 9),
        Operation(1, "k", Delete(), None, 1, None),
        Operation(2, "k", CompareAndSet(None, 2), Swapped(True, None), 2, 8),
        Operation(3, "k", Get(), Got(2), 10, 11),
    ]
)
def test_registers(history: list[Operation]) -> None:
    """A register with compare-and-set."""
    _agree(history, RegisterModel())


@settings(max_examples=400, deadline=None)
@given(histories(TEXT_CALLS, LONG_TEXTS))
@example([Operation(0, "k", Put("a"), None, 0, None), Operation(1, "k", Get(), Got("a"), 1, 2)])
def test_texts(history: list[Operation]) -> None:
    """A text that is put and appended to."""
    _agree(history, TextModel())
