"""What merges unite of one lane can be read again after a restart, whatever its client did."""

from flaredb.kv.sessions import Sessions
from flaredb_schemas.commands import MAX_BATCH_OPS, Batch, CompareAndSwap, Lane, NotSwapped
from flaredb_schemas.envelope import Malformed
from flaredb_schemas.sessions import LANES

GREEDY, OTHER = Lane(1, 5, 1), Lane(2, 7, 1)
REGIONS = 12
ATTEMPTS = 4
"""More batches of so many ops than a region remembers of a lane."""


def table(lane: Lane, first: int, most: int) -> Sessions:
    """A region in which the client has executed as much in the lane as it may, up to `most`."""
    sessions = Sessions()
    ops = tuple(CompareAndSwap(number, b"k", b"v", b"w") for number in range(MAX_BATCH_OPS))
    for sequence in range(first, first + most):
        batch = Batch(lane, sequence, 0, ops)
        if sessions.room_refusal(batch) is None:
            sessions.record(batch, ops, [NotSwapped(None)] * len(ops), time=10)
    return sessions


def test_a_lane_that_was_filled_in_many_regions_still_fits_into_its_row() -> None:
    united, forgotten = table(GREEDY, 0, ATTEMPTS), 0
    for number in range(1, REGIONS):
        recorded = united.unite(table(GREEDY, 100 * number, ATTEMPTS), forgotten, 0)
        forgotten = max(forgotten, recorded.forgotten)
        for state in united.lanes:
            assert not isinstance(LANES.decode(LANES.encode(state)), Malformed)
    # What it has executed may be forgotten, but it is never executed anew.
    assert forgotten == GREEDY.opened


def test_what_two_regions_know_of_an_honest_lane_is_kept() -> None:
    united = table(OTHER, 0, 1)
    recorded = united.unite(table(OTHER, 1, 1), 0, 0)
    assert [len(state.batches) for state in united.lanes] == [2]
    assert recorded.forgotten == 0
