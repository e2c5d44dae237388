"""What a look at a stream says: go on, a gap, or another stream."""

import pytest

from flaredb.bus.bus import StreamRecord, StreamState
from flaredb_analytics.positions import Cursor, Gap, advance, start_over

BORN = 1_000


def record(sequence: int, time: int | None = None) -> StreamRecord:
    """A record stored at the time of its number, if no other is given."""
    return StreamRecord(sequence, "s", b"", {}, sequence if time is None else time)


def state(first: int, last: int, created: int = BORN) -> StreamState:
    return StreamState(first, last, created)


def test_records_in_a_row_move_the_cursor() -> None:
    cursor, gaps = advance(Cursor(), state(1, 3), [record(1), record(2), record(3)])

    assert (cursor, gaps) == (Cursor(BORN, 3, 3), [])


def test_no_records_move_nothing() -> None:
    cursor, gaps = advance(Cursor(BORN, 3, 3), state(1, 3), [])

    assert (cursor, gaps) == (Cursor(BORN, 3, 3), [])


def test_what_retention_took_is_a_gap() -> None:
    cursor, gaps = advance(Cursor(BORN, 3, 3), state(8, 9), [record(8), record(9)])

    assert cursor == Cursor(BORN, 9, 9)
    assert gaps == [Gap(3, 8, "retention", "4 records")]


def test_a_stream_that_retention_emptied_is_a_gap() -> None:
    cursor, gaps = advance(Cursor(BORN, 3, 3), state(8, 7), [])

    assert cursor == Cursor(BORN, 7, 3)
    assert gaps == [Gap(3, 8, "retention", "4 records")]


def test_the_first_look_tells_what_came_before_it() -> None:
    _, gaps = advance(Cursor(), state(5, 5), [record(5)])

    assert gaps == [Gap(0, 5, "retention", "4 records")]


def test_a_hole_inside_is_a_gap_of_its_own() -> None:
    cursor, gaps = advance(Cursor(BORN, 1, 1), state(1, 9), [record(2), record(6), record(7)])

    assert cursor == Cursor(BORN, 7, 7)
    assert gaps == [Gap(2, 6, "missing", "3 records")]


def test_records_that_were_read_already_are_an_error() -> None:
    with pytest.raises(AssertionError, match="read twice"):
        advance(Cursor(BORN, 3, 3), state(1, 3), [record(3)])


def test_the_same_stream_is_gone_on_with() -> None:
    assert start_over(Cursor(), state(1, 9), None) is None
    assert start_over(Cursor(BORN, 3, 3), state(1, 9), record(3)) is None
    assert start_over(Cursor(BORN, 3, 3), state(8, 9), None) is None


def test_a_stream_made_anew_is_begun_anew() -> None:
    gap = start_over(Cursor(BORN, 3, 3), state(1, 9, created=2_000), record(3))

    assert gap == Gap(3, 4, "recreated", "born 1000, then 2000 (ms since 1970)")


def test_a_stream_that_ends_before_the_cursor_was_rewound() -> None:
    assert start_over(Cursor(BORN, 9, 9), state(1, 4), None) == Gap(4, 10, "rewound", "ends at 4")


def test_a_stream_that_was_rewound_and_has_grown_again_is_noticed() -> None:
    gap = start_over(Cursor(BORN, 9, 9), state(1, 20), record(9, time=77))

    assert gap == Gap(8, 10, "rewound", "another record at the same place")
