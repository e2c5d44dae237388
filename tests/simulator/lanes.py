"""A client's lanes: the numbers under which its batches are executed once (after RIFL).

Several batches of a lane may be under way; `done_below` says which are settled.
"""

from msgspec import Struct

from flaredb_schemas.commands import Batch, Lane, Op


class Session(Struct):
    """One lane.

    Invariant: a sequence is used for one batch only; `under_way` are those not settled.
    """

    lane: Lane
    next: int = 0
    under_way: set[int] = set()

    def begin(self) -> int:
        """The sequence of a new batch."""
        sequence = self.next
        self.next += 1
        self.under_way.add(sequence)
        return sequence

    def settle(self, sequence: int) -> None:
        """The client asks no more about this batch."""
        self.under_way.discard(sequence)

    def batch(self, sequence: int, ops: tuple[Op, ...]) -> Batch:
        """An attempt at this batch, with what of it is still wanted."""
        return Batch(self.lane, sequence, min(self.under_way), ops)
