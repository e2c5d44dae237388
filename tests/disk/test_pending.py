"""Saved batches over committed rows: one view, whatever has been committed of it."""

import random

import pytest

from flaredb.disk.disk import Batch
from flaredb.disk.memory_disk import SortedRows
from flaredb.disk.pending import PendingView


def batch_of(*rows: tuple[bytes, bytes]) -> Batch:
    batch = Batch()
    for key, value in rows:
        batch.put(key, value)
    return batch


def rows_of(view: PendingView, reverse: bool = False) -> list[tuple[bytes, bytes]]:
    return list(view.scan(b"\x00", b"\xff", reverse))


def test_what_was_added_shows_when_it_is_told_to() -> None:
    view = PendingView(SortedRows())
    view.add(1, batch_of((b"a", b"1")).changes)
    assert view.get(b"a") is None
    view.show(0)
    assert view.get(b"a") == b"1"


def test_a_layer_leaves_when_the_rows_hold_all_of_it() -> None:
    rows = SortedRows()
    view = PendingView(rows)
    first, second = batch_of((b"a", b"1")), batch_of((b"b", b"2"))
    view.add(1, first.changes)
    view.show(0)
    view.seal(1)
    view.add(2, second.changes)
    view.show(0)
    rows.apply(first)
    view.show(1)
    assert rows_of(view) == [(b"a", b"1"), (b"b", b"2")]
    without = Batch()
    without.delete(b"a")
    rows.apply(without)
    assert rows_of(view) == [(b"b", b"2")], "the first layer is gone, the second is there"


def test_a_range_that_was_removed_hides_rows_below_and_not_above() -> None:
    rows = SortedRows()
    rows.apply(batch_of((b"a", b"old"), (b"b", b"old"), (b"c", b"old")))
    view, batch = PendingView(rows), Batch()
    batch.delete_range(b"a", b"c")
    batch.put(b"b", b"new")
    view.add(1, batch.changes)
    view.show(0)
    assert [view.get(key) for key in (b"a", b"b", b"c")] == [None, b"new", b"old"]
    assert rows_of(view) == [(b"b", b"new"), (b"c", b"old")]


@pytest.mark.parametrize("seed", range(30))
def test_it_agrees_with_a_dictionary(seed: int) -> None:
    """Batches are saved, committed and shown at any time; one memory disk gets all at once."""
    dice, rows, model = random.Random(seed), SortedRows(), SortedRows()
    view, saved, committed, asked = PendingView(rows), list[Batch](), 0, 0

    def key() -> bytes:
        return b"%02d" % dice.randrange(40)

    for _ in range(200):
        match dice.randrange(4):
            case 0 | 1:
                batch = Batch()
                for _ in range(dice.randrange(8)):
                    match dice.randrange(8):
                        case 0:
                            batch.delete_range(key(), key())
                        case 1 | 2:
                            batch.delete(key())
                        case _:
                            batch.put(key(), dice.randbytes(2))
                saved.append(batch)
                view.add(len(saved), batch.changes)
                model.apply(batch)
            case 2 if asked == committed:
                asked = len(saved)
                view.seal(asked)
            case _:
                for batch in saved[committed:asked]:
                    rows.apply(batch)
                committed = asked
        view.show(committed)
        assert rows_of(view) == sorted(model.values.items())
        assert rows_of(view, reverse=True) == sorted(model.values.items(), reverse=True)
        low, high = sorted((key(), key()))
        assert list(view.scan(low, high)) == list(model.scan(low, high))
        for each in (low, high):
            assert view.get(each) == model.get(each)
