"""The log alone: its marks, its tail, and saves that end after their entries were replaced."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flaredb.raft import MemoryStorage
from flaredb.raft.config import UNLIMITED
from flaredb.raft.log import Log
from flaredb.raft.refusals import Compacted
from flaredb_schemas.ids import Index, Term
from flaredb_schemas.raft import Configuration, Entry, EntryKind, HardState, SnapshotMeta

NONE = Configuration()


def entry(term: int, index: int, data: bytes = b"") -> Entry:
    return Entry(Index(index), Term(term), EntryKind.NORMAL, data)


def log_with(storage: MemoryStorage, commit: int = 0, max_bytes: int = UNLIMITED) -> Log:
    return Log(storage, Index(commit), Index(0), apply_unsaved=False, max_bytes=max_bytes)


def test_an_entry_that_comes_back_is_vouched_for_by_its_own_save_only() -> None:
    log = log_with(MemoryStorage())
    log.append([entry(1, 1)])
    log.to_save(1)
    assert log.merge(Index(0), Term(0), [entry(2, 1)]) == 1
    log.to_save(2)
    assert log.merge(Index(0), Term(0), [entry(1, 1), entry(3, 2)]) == 2
    log.to_save(3)
    saved = []
    for number in (1, 2, 3):
        log.saved_under(number)
        saved.append(log.saved)
    assert saved == [0, 0, 2]


def test_a_save_vouches_for_what_was_not_replaced() -> None:
    log = log_with(MemoryStorage())
    log.append([entry(1, 1), entry(1, 2), entry(1, 3)])
    log.to_save(1)
    log.merge(Index(1), Term(1), [entry(2, 2)])
    log.saved_under(1)
    assert log.saved == 1


def test_nothing_committed_is_replaced() -> None:
    log = log_with(MemoryStorage())
    log.append([entry(1, 1), entry(1, 2)])
    log.commit_to(Index(2))
    with pytest.raises(AssertionError, match="conflict at 2"):
        log.merge(Index(1), Term(1), [entry(2, 2)])


def test_what_is_applied_and_saved_is_read_from_storage() -> None:
    storage = MemoryStorage()
    log = log_with(storage)
    entries = [entry(1, index, b"abc") for index in range(1, 6)]
    log.append(entries)
    storage.append(log.to_save(1))
    log.saved_under(1)
    log.commit_to(Index(3))
    assert list(log.to_apply()) == entries[:3]
    assert log.tail.first == 4
    assert log.entries_from(Index(1), UNLIMITED) == entries
    assert log.entries_from(Index(1), 40) == entries[:3]
    assert log.entries_from(Index(1), 1) == entries[:1]
    log.applied_to(Index(3))
    storage.compact(Index(2))
    assert isinstance(log.entries_from(Index(1), UNLIMITED), Compacted)
    assert log.entries_from(Index(3), UNLIMITED) == entries[2:]
    assert isinstance(log.term(Index(1)), Compacted)
    assert log.term(Index(2)) == 1


def test_replacing_what_is_saved_reaches_back_into_storage() -> None:
    storage = MemoryStorage()
    storage.append([entry(1, 1), entry(1, 2), entry(1, 3)])
    log = log_with(storage)
    assert log.merge(Index(1), Term(1), [entry(2, 2)]) == 2
    assert (log.saved, log.handed, log.tail.last, log.tail.last_term) == (1, 1, 2, 2)
    assert log.to_save(1) == [entry(2, 2)]


def test_the_place_of_agreement_passes_over_whole_terms() -> None:
    storage = MemoryStorage()
    storage.append([entry(term, index + 1) for index, term in enumerate((1, 1, 4, 4, 5, 5, 6))])
    log = log_with(storage)
    assert log.latest_agreement(Index(7), Term(4)) == (4, 4)
    assert log.latest_agreement(Index(7), Term(3)) == (2, 1)
    assert log.latest_agreement(Index(2), Term(9)) == (2, 1)
    assert log.latest_agreement(Index(7), Term(0)) == (0, 0)
    storage.compact(Index(3))
    assert log.latest_agreement(Index(7), Term(3)) == (2, 0)


def test_a_snapshot_stops_applying_until_it_is_saved() -> None:
    log = log_with(MemoryStorage())
    log.append([entry(1, 1)])
    log.to_save(1)
    log.restore(SnapshotMeta(Index(9), Term(2), NONE))
    log.saved_under(1)
    assert log.merge(Index(9), Term(2), [entry(2, 10)]) == 10
    log.commit_to(Index(10))
    assert not log.has_to_apply()
    log.to_save(2)
    log.snapshot_saved(Index(9))
    log.saved_under(2)
    assert list(log.to_apply()) == [entry(2, 10)]
    assert (log.applied, log.applying, log.saved) == (9, 10, 10)


def test_a_log_starts_where_its_storage_says() -> None:
    storage = MemoryStorage(NONE, Index(5), Term(5), HardState(Term(5)))
    log = log_with(storage)
    assert (log.commit, log.applied, log.tail.last, log.tail.last_term) == (5, 5, 5, 5)
    assert log.first_index() == 6


operations = st.lists(
    st.tuples(st.integers(0, 8), st.integers(1, 4), st.integers(1, 4), st.booleans()), max_size=30
)


@settings(max_examples=200)
@given(operations)
def test_the_log_is_what_a_list_would_be(sequence: list[tuple[int, int, int, bool]]) -> None:
    """Leaders of rising terms write anywhere behind the commit index, and saves trail behind."""
    storage = MemoryStorage()
    log = log_with(storage)
    model: list[Entry] = []
    pending: list[tuple[int, list[Entry]]] = []
    for number, (back, count, term_step, saves) in enumerate(sequence, start=1):
        previous = max(log.commit, len(model) - back)
        newest = model[-1].term if model else 0
        new = [entry(newest + term_step, previous + 1 + place) for place in range(count)]
        before = model[previous - 1].term if previous else Term(0)
        assert log.merge(Index(previous), before, new) == previous + count
        model = model[:previous] + new
        pending.append((number, list(log.to_save(number))))
        if saves:
            done, entries = pending.pop(0)
            storage.append(entries)
            log.saved_under(done)
            log.commit_to(min(Index(len(model)), max(log.commit, log.saved)))
            while log.has_to_apply():
                log.applied_to(log.to_apply()[-1].index)
        log.check()
        log.tail.check()
        read = log.entries_from(Index(1), UNLIMITED)
        assert not isinstance(read, Compacted) and list(read) == model
        assert log.tail.last == len(model) and log.tail.last_term == model[-1].term
