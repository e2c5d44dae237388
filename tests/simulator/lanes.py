"""A client's lanes: the numbers under which its batches are executed once (after RIFL).

Several batches of a lane may be under way; `done_below` says which are settled.
"""

from msgspec import Struct

from flaredb_schemas.commands import Batch, Lane, Op


class Session(Struct):
    """One lane.

    Invariant: a sequence is used for one batch only; `under_way` are those not settled, with the
    number of their parts.
    """

    lane: Lane
    next: int = 0
    under_way: dict[int, int] = {}

    def begin(self) -> int:
        """The sequence of a new batch."""
        sequence = self.next
        self.next += 1
        self.under_way[sequence] = 1
        return sequence

    def settle(self, sequence: int) -> None:
        """The client asks no more about this batch, or about this part of it."""
        self.under_way[sequence] -= 1
        if not self.under_way[sequence]:
            del self.under_way[sequence]

    def divide(self, sequence: int) -> None:
        """Some of the batch goes to another region, under the same numbers."""
        self.under_way[sequence] += 1

    def batch(self, sequence: int, ops: tuple[Op, ...]) -> Batch:
        """An attempt at this batch, with what of it is still wanted."""
        return Batch(self.lane, sequence, min(self.under_way), ops)
