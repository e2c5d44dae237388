"""What the machine asks of its caller, checked at the door: a broken promise stops the process."""

import pytest

from flaredb.kv.machine import AppliedState, Machine
from flaredb.kv.sessions import Limits, Sessions
from flaredb_schemas.commands import BATCHES, Batch, CheckReplicas, Delete, Lane, Put, Write
from flaredb_schemas.ids import Index, Term
from flaredb_schemas.sessions import LANES, ExecutedBatch, LaneState
from tests.kv.replicas import Replicas, SortedRows, whole_region

CHECK = CheckReplicas(1, 1)


def machine(state: AppliedState | None = None) -> Machine:
    return Machine(whole_region(), state or AppliedState(), Sessions())


@pytest.mark.parametrize("index", [4, 5, 7])
def test_entries_come_one_after_the_other(index: int) -> None:
    with pytest.raises(AssertionError, match="applied after 5"):
        machine().apply(Index(index), Term(5), CHECK, SortedRows())
    with pytest.raises(AssertionError, match="applied after 5"):
        machine().apply_empty(Index(index), Term(5))


def test_terms_never_fall() -> None:
    with pytest.raises(AssertionError, match="of term 4 applied after one of 5"):
        machine().apply(Index(6), Term(4), CHECK, SortedRows())


def test_what_is_forgotten_lies_before_the_time() -> None:
    with pytest.raises(AssertionError, match="later than what it forgot"):
        machine(AppliedState(time=7, forgotten=7))


def test_a_view_with_more_rows_than_were_counted_is_found_out() -> None:
    rows = SortedRows()
    rows.set(b"key", b"value")
    delete = BATCHES.encode(Batch(Lane(1, 1, 0), 0, 0, (Delete(0, b"key"),)))
    with pytest.raises(AssertionError, match="never negative"):
        machine().apply(Index(6), Term(5), Write(1, 1, delete), rows)


def test_a_refused_call_leaves_the_machine_as_it_was() -> None:
    kept = machine()
    with pytest.raises(AssertionError):
        kept.apply(Index(9), Term(5), CHECK, SortedRows())
    assert kept.state == AppliedState()


def test_a_lane_is_loaded_once() -> None:
    lane = LaneState(Lane(1, 1, 0), 1)
    with pytest.raises(AssertionError, match="loaded once"):
        Sessions(lanes=[lane, lane])


def test_the_longest_lane_that_the_limits_permit_can_be_saved_and_loaded() -> None:
    """Op numbers with a hole between any two, in as many batches as may be open."""
    replicas = Replicas(whole_region())
    lane = Lane(2**64 - 1, 1, 2**64 - 1)
    sequence, answered = 2**63, True
    while answered:
        ops = tuple(Put(number, b"key", b"") for number in range(0, 4096, 2))
        effects = replicas.write(Batch(lane, sequence, 0, ops), 1, 1)
        answered = bool(effects.lanes)
        sequence += 1
    assert sequence - 2**63 > 5
    saved = LANES.decode(replicas.first.lanes[lane])
    assert isinstance(saved, LaneState)
    assert all(isinstance(batch, ExecutedBatch) for batch in saved.batches)
    assert len(saved.batches) <= Limits().open_batches
