"""What a region remembers beside its data, so that each write takes effect once.

Per lane the outcomes of executed batches are kept until the client has settled them (RIFL, Lee et
al., SOSP 2015). Most outcomes follow from the op itself, so that only its number is kept; the rest
is kept whole, within bounds. Every replica has the same bytes at the same index.
"""

from typing import Final

from msgspec import Struct

from flaredb_schemas.commands import Lane, Outcome, Size
from flaredb_schemas.envelope import Codec
from flaredb_schemas.ids import Index, RegionId, Term
from flaredb_schemas.regions import FIRST_INDEX, FIRST_TERM, Count


class ExecutedBatch(Struct, frozen=True, array_like=True):
    """What became of the ops of one sequence that were executed.

    `usual` holds runs of op numbers, the first and the last of each run in turns: these ops had the
    outcome that follows from the op (`Done`; for a compare-and-swap that it swapped). `others` are
    the remaining ops in order of their numbers, with their outcomes.
    """

    sequence: Count
    usual: tuple[Count, ...]
    others: tuple[tuple[Count, Outcome], ...] = ()


class LaneState(Struct, frozen=True, array_like=True):
    """What is known of one lane.

    Sequences below `done_below` are settled and forgotten; `batches` are the executed ones above
    it, in the order of their first execution. `seen` is the region's time, in milliseconds, when
    the lane was last used.
    """

    lane: Lane
    seen: Count
    done_below: Count = 0
    batches: tuple[ExecutedBatch, ...] = ()


class Merging(Struct, frozen=True, array_like=True, gc=False):
    """The region is to become a part of `target`, as that is at this epoch; said at `index`.

    `term` is that of the entry. `triggered` is when and `trigger` why it was wanted.
    """

    target: RegionId
    conf_ver: Count
    version: Count
    index: Index
    term: Term
    trigger: str
    triggered: Count


class AppliedState(Struct, frozen=True, array_like=True, gc=False):
    """How far a region's log is applied, and what follows from it. Of a new region: the defaults.

    `time` is the region's time in milliseconds: the largest time of an applied entry, and always
    later than `forgotten`, the newest opening time of all lanes that were ever dropped.

    `bytes` are the keys and values of all `keys` rows, without overhead. They are exact unless
    `estimated`: then they are off by at most the keys and bytes of what was written, overwritten
    and deleted between the counting of a split's parts and its entry, and may be below zero. The
    leader counts the rows of an estimated region, and from the entry of that count on they are
    exact again; so the error neither grows nor adds up.

    While `merging` stands, nothing but `index` and `term` changes, so that replicas that are not
    equally far are absorbed alike.
    """

    index: Index = FIRST_INDEX
    term: Term = FIRST_TERM
    time: Count = 1
    forgotten: Count = 0
    bytes: int = 0
    keys: int = 0
    estimated: bool = False
    merging: Merging | None = None

    @property
    def size(self) -> Size:
        """Keys and bytes as they may be told: never below zero."""
        return Size(max(0, self.keys), max(0, self.bytes))


MAX_LANE_BYTES: Final = 512 * 1024
"""No lane's frame is longer; the limits of the session table stay well below it."""

LANES: Final[Codec[LaneState]] = Codec(LaneState, MAX_LANE_BYTES)
"""The codec of a lane's row."""
