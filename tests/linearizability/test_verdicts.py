"""Small histories whose verdict anyone can see, and the words in which it is given."""

import pytest

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
    NotLinearizable,
    Operation,
    Put,
    RegisterModel,
    Swapped,
    TextModel,
    Undecided,
    check,
    describe,
)
from tests.linearizability.unseen import without_unseen


def did(
    process: int, call: Call, answer: Answer, invoked: int, returned: int, key: str = "k"
) -> Operation:
    """An answered operation."""
    return Operation(process, key, call, answer, invoked, returned)


def lost(process: int, call: Call, invoked: int) -> Operation:
    """An operation that was never answered."""
    return Operation(process, "k", call, None, invoked, None)


def good(*history: Operation) -> bool:
    """Whether a register explains the history."""
    return isinstance(check(history, RegisterModel()), Linearizable)


def test_nothing_happened() -> None:
    assert good()


def test_a_stale_read_is_found() -> None:
    assert not good(
        did(1, Put("a"), Done(), 0, 1),
        did(1, Put("b"), Done(), 2, 3),
        did(2, Get(), Got("a"), 4, 5),
    )


def test_overlapping_operations_may_go_either_way() -> None:
    put = did(1, Put("a"), Done(), 0, 5)
    assert good(put, did(2, Get(), Got("a"), 1, 2))
    assert good(put, did(2, Get(), Got(None), 1, 2))


def test_two_readers_may_not_see_a_write_come_and_go() -> None:
    assert not good(
        did(1, Put("a"), Done(), 0, 9),
        did(2, Get(), Got("a"), 1, 2),
        did(3, Get(), Got(None), 3, 4),
    )


def test_equal_moments_overlap() -> None:
    assert good(did(1, Put("a"), Done(), 0, 5), did(2, Get(), Got(None), 5, 6))
    assert not good(did(1, Put("a"), Done(), 0, 5), did(2, Get(), Got(None), 6, 7))


def test_an_unanswered_write_takes_effect_late_or_never() -> None:
    put = lost(1, Put("a"), 0)
    assert good(put, did(2, Get(), Got(None), 10, 11), did(2, Get(), Got("a"), 12, 13))
    assert good(put, did(2, Get(), Got(None), 10, 11), did(2, Get(), Got(None), 12, 13))
    assert not good(put, did(2, Get(), Got("a"), 10, 11), did(2, Get(), Got(None), 12, 13))


def test_an_unanswered_write_takes_effect_once() -> None:
    assert not good(
        lost(1, Put("a"), 0),
        did(2, Get(), Got("a"), 1, 2),
        did(2, Put("b"), Done(), 3, 4),
        did(2, Get(), Got("a"), 5, 6),
    )


def test_a_write_takes_no_effect_before_it_is_called() -> None:
    assert not good(did(2, Get(), Got("a"), 0, 1), lost(1, Put("a"), 2))


def test_compare_and_set_tells_what_was_there() -> None:
    swap = CompareAndSet("a", "b")
    put = did(1, Put("a"), Done(), 0, 1)
    assert good(put, did(2, swap, Swapped(True, "a"), 2, 3), did(2, Get(), Got("b"), 4, 5))
    assert not good(put, did(2, swap, Swapped(False, "c"), 2, 3))
    assert not good(put, did(2, swap, Swapped(False, "a"), 2, 3))
    assert not good(put, did(2, CompareAndSet(None, "b"), Swapped(True, "a"), 2, 3))


def test_only_one_of_two_swaps_wins() -> None:
    swap = CompareAndSet(None, 1)
    won = Swapped(True, None)
    assert not good(did(1, swap, won, 0, 9), did(2, swap, won, 0, 9))
    assert good(did(1, swap, won, 0, 9), did(2, swap, Swapped(False, 1), 0, 9))


def test_absent_and_deleted_are_the_same() -> None:
    assert good(
        did(1, Delete(), Done(), 0, 1),
        did(1, Put("a"), Done(), 2, 3),
        did(1, CompareAndSet("a", None), Swapped(True, "a"), 4, 5),
        did(1, Get(), Got(None), 6, 7),
    )


def test_a_register_may_start_with_a_value() -> None:
    read = [did(1, Get(), Got(7), 0, 1)]
    assert isinstance(check(read, RegisterModel(7)), Linearizable)
    assert isinstance(check(read, RegisterModel()), NotLinearizable)


def test_texts_grow() -> None:
    history = [
        did(1, Append("x"), Done(), 0, 9),
        did(2, Append("y"), Done(), 0, 9),
        did(3, Get(), Got("yx"), 10, 11),
    ]
    assert isinstance(check(history, TextModel()), Linearizable)
    again = [*history, did(3, Get(), Got("xy"), 12, 13)]
    assert isinstance(check(again, TextModel()), NotLinearizable)


def test_keys_are_judged_apart() -> None:
    history = [
        did(1, Put("a"), Done(), 0, 1, key="left"),
        did(1, Get(), Got(None), 2, 3, key="right"),
        did(1, Get(), Got(None), 2, 3, key="left"),
    ]
    verdict = check(history, RegisterModel())
    assert isinstance(verdict, NotLinearizable)
    assert verdict.key == "left"
    assert verdict.refuted == history[2]


def test_a_bad_history_is_described_by_the_first_answer_that_does_not_fit() -> None:
    verdict = check(
        [
            did(1, Put("a"), Done(), 0, 1),
            lost(2, CompareAndSet("a", "b"), 2),
            did(1, Get(), Got("b"), 3, 4),
            did(1, Get(), Got("a"), 5, 6),
            did(1, Get(), Got("never"), 7, 8),
        ],
        RegisterModel(),
    )
    assert describe(verdict).splitlines() == [
        "not linearizable: key 'k'",
        "no order explains the answer to",
        "  [5 .. 6] process 1: get -> 'a'",
        "everything before that answer is explained by this order:",
        "  [0 .. 1] process 1: put 'a' -> done",
        "  [2 .. ?] process 2: compare-and-set 'a' to 'b' -> unknown",
        "  [3 .. 4] process 1: get -> 'b'",
    ]


def test_a_budget_that_ends_is_no_verdict() -> None:
    history = [did(n, Put(n), Done(), 0, 9) for n in range(5)] + [did(9, Get(), Got(3), 10, 11)]
    verdict = check(history, RegisterModel(), budget=0)
    assert verdict == Undecided("k")
    assert describe(verdict) == "undecided: the budget ended at key 'k'"
    assert describe(check(history, RegisterModel())) == "linearizable"


def test_what_nobody_saw_is_left_out_of_the_search() -> None:
    answered = [did(1, Get(), Got("a"), 5, 6), did(1, CompareAndSet("a", "d"), Done(), 7, 8)]
    shown = [lost(2, Put("a"), 0), lost(3, CompareAndSet("x", "a"), 0), lost(4, Append("a"), 0)]
    unseen = [lost(5, Put("b"), 0), lost(6, CompareAndSet("a", "c"), 0), lost(7, Delete(), 0)]
    assert without_unseen([*answered, *shown, *unseen, lost(8, Get(), 0)]) == [*answered, *shown]
    absent = did(1, CompareAndSet("b", "d"), Swapped(False, None), 9, 10)
    assert without_unseen([absent, *unseen]) == [absent, unseen[2]], "somebody saw it absent"


def test_what_somebody_saw_is_not_left_out() -> None:
    history = [lost(1, Put("a"), 0), lost(2, Put("b"), 0), did(3, Get(), Got("b"), 5, 6)]
    assert check(history, RegisterModel()) == Linearizable()
    history.append(did(3, Get(), Got("c"), 7, 8))
    assert isinstance(check(history, RegisterModel()), NotLinearizable)


def test_a_bad_key_is_reported_beside_an_undecided_one() -> None:
    history = [
        did(1, Put("a"), Done(), 0, 1, key="hard"),
        did(1, Get(), Got("never"), 0, 1, key="bad"),
    ]
    verdict = check(history, RegisterModel(), budget=0)
    assert isinstance(verdict, NotLinearizable)
    assert verdict.key == "bad"


def test_calls_of_another_object_are_refused() -> None:
    with pytest.raises(ValueError, match="register"):
        check([did(1, Append("x"), Done(), 0, 1)], RegisterModel())
    with pytest.raises(ValueError, match="text"):
        check([did(1, Delete(), Done(), 0, 1)], TextModel())


def test_half_an_answer_is_refused() -> None:
    with pytest.raises(AssertionError, match="half an answer"):
        Operation(1, "k", Get(), Got(1), 0, None)
    with pytest.raises(AssertionError, match="time runs back"):
        Operation(1, "k", Get(), Got(1), 2, 1)
