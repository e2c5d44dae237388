"""What counts as a gap, and what does not; no process is needed for it."""

import pytest

from tests.cluster.gaps import Gaps


def test_a_part_that_stands_still_shows_beside_one_that_does_not() -> None:
    gaps = Gaps()
    gaps.tried(b"still", 1.0)
    for second in (2.0, 3.0, 4.0):
        gaps.tried(b"busy", second)
        assert gaps.acknowledged(b"busy", second + 0.1) == pytest.approx(0.1)
    assert gaps.longest_open(5.0) == 4.0
    assert gaps.acknowledged(b"still", 6.0) == 5.0
    assert gaps.longest_open(7.0) == 0.0


def test_where_nobody_tries_there_is_no_gap() -> None:
    gaps = Gaps()
    gaps.tried(b"a", 1.0)
    gaps.acknowledged(b"a", 1.5)
    gaps.tried(b"a", 9.0)
    assert gaps.acknowledged(b"a", 9.5) == 0.5


def test_who_tries_meanwhile_waits_since_the_last_acknowledgement() -> None:
    gaps = Gaps()
    gaps.tried(b"a", 1.0)
    gaps.tried(b"a", 2.0)
    assert gaps.acknowledged(b"a", 3.0) == 2.0
    assert gaps.acknowledged(b"a", 4.0) == 1.0


def test_a_failure_ends_no_gap() -> None:
    gaps = Gaps()
    gaps.tried(b"a", 1.0)
    gaps.failed(b"a")
    assert gaps.longest_open(5.0) == 4.0
    gaps.tried(b"a", 6.0)
    gaps.refrained(b"a")
    gaps.tried(b"a", 7.0)
    assert gaps.acknowledged(b"a", 8.0) == 7.0


def test_who_has_nothing_to_write_leaves_no_gap() -> None:
    gaps = Gaps()
    gaps.tried(b"a", 1.0)
    gaps.refrained(b"a")
    assert gaps.longest_open(9.0) == 0.0
