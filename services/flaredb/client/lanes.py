"""The numbers that make a retried write take effect once (RIFL, Lee et al., SOSP 2015).

A lane is one stream of batches as the client saw one version of one region. A batch keeps its lane
and its sequence over all retries, also where its ops have to go to several regions because the
region was split meanwhile.
"""

from flaredb.client.gathering import Pile
from flaredb.client.write_calls import WriteCall
from flaredb_schemas.commands import Lane
from flaredb_schemas.regions import Region


class OpenLane(Pile[WriteCall]):
    """A lane, and which of its batches are not settled.

    Invariants: `_open` counts the parts of each unsettled sequence, each at least 1; sequences are
    given out once, ascending; `done_below` never falls.
    """

    __slots__ = ("_next", "_open", "name")

    def __init__(self, region: Region, name: Lane) -> None:
        super().__init__(region)
        self.name = name
        self._next = 0
        self._open: dict[int, int] = {}

    @property
    def done_below(self) -> int:
        """Every sequence below this one is settled."""
        return min(self._open, default=self._next)

    def begin(self) -> int:
        """The sequence of a new batch, of one part."""
        sequence = self._next
        self._next += 1
        self._open[sequence] = 1
        return sequence

    def divide(self, sequence: int, parts: int) -> bool:
        """A part of the batch goes on as so many parts; return whether the batch is settled."""
        assert sequence in self._open, "only what is open can go on or be settled"
        self._open[sequence] += parts - 1
        if self._open[sequence]:
            return False
        del self._open[sequence]
        return True
