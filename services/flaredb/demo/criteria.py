"""The promises of the demonstration, and whether what was measured keeps them."""

from typing import Final

from msgspec import Struct

from flaredb.demo.audit import RegionFigures
from flaredb.demo.draining import Drained
from flaredb.demo.loading import Load
from flaredb.demo.moving import Moved
from flaredb.demo.splits import SplitFigures
from flaredb.demo.spreading import Spread
from flaredb.demo.steady import Steady
from flaredb.demo.trespassing import Trespass

LEADER_SECONDS: Final = 60.0
"""SC-001: within this time every region has a leader."""

REGISTERED_SECONDS: Final = 60.0
"""SC-003: within this time of its trigger PD knows the regions that a split has made."""

MOVED_SECONDS: Final = 300.0
"""SC-004: within this time a replica has gone to another store."""

SPREAD_SECONDS: Final = 120.0
"""Within this time of its start a new store bears its share."""

DRAINED_SECONDS: Final = 120.0
"""Within this time a store is empty."""

WRITES_SHARE: Final = 0.99
"""The share of writes that must succeed whatever happens meanwhile."""


class Criterion(Struct, frozen=True):
    """One promise: whether it was kept, and the figure that says so."""

    ok: bool
    value: float
    meaning: str


class Figures(Struct, frozen=True):
    """What was measured. `verified` counts the acknowledged keys that hold what they should."""

    elected: float
    load: Load
    steady: Steady
    verified: int
    refusals: Trespass
    regions: list[RegionFigures]
    splits: SplitFigures
    spread: Spread
    moved: Moved
    drained: Drained

    @property
    def acknowledged(self) -> int:
        """How many keys hold a value that was acknowledged."""
        return len(self.load.acknowledged) + len(self.steady.expected)

    @property
    def lost(self) -> int:
        """How many of these do not hold it."""
        return self.acknowledged - self.verified


def judge(figures: Figures) -> dict[str, Criterion]:
    """Every promise by its name."""
    load, steady, unequal = figures.load, figures.steady, _unequal(figures.regions)
    tried = len(load.acknowledged) + len(load.failed)
    loading = len(load.acknowledged) / max(1, tried)
    every = tried + len(steady.writes)
    succeeded = (len(load.acknowledged) + len(steady.writes) - len(steady.failed)) / max(1, every)
    return {
        "SC-001": Criterion(
            figures.elected <= LEADER_SECONDS and len(figures.regions) >= 2,
            round(figures.elected, 3),
            f"seconds until every region had a leader (at most {LEADER_SECONDS:.0f})",
        ),
        "SC-002": _refused(figures.refusals, figures.regions),
        "SC-003": _split(figures.splits, loading),
        "SC-004": _moved(figures.moved, steady),
        "balance": _spread(figures.spread),
        "drain": _drained(figures.drained, steady),
        "durability": Criterion(
            figures.lost == 0, figures.lost, "acknowledged writes that were lost"
        ),
        "availability": Criterion(
            succeeded >= WRITES_SHARE,
            round(succeeded, 4),
            f"share of all {every:,} writes that succeeded, whatever happened meanwhile "
            f"(at least {WRITES_SHARE})",
        ),
        "replicas": Criterion(unequal == 0, unequal, "regions whose replicas differ"),
    }


def _unequal(regions: list[RegionFigures]) -> int:
    return sum(not region.equal for region in regions)


def _refused(refusals: Trespass, regions: list[RegionFigures]) -> Criterion:
    strays = sum(region.strays for region in regions)
    return Criterion(
        refusals.tried > 0 and refusals.refused == refusals.tried and strays == 0,
        round(refusals.refused / max(1, refusals.tried), 4),
        f"share of {refusals.tried} accesses out of range that were refused; "
        f"{strays} rows in the wrong place",
    )


def _split(splits: SplitFigures, succeeded: float) -> Criterion:
    in_time = bool(splits.seconds) and splits.worst <= REGISTERED_SECONDS
    return Criterion(
        in_time and splits.unregistered == 0 and succeeded >= WRITES_SHARE,
        splits.worst,
        f"seconds from trigger to registered in PD, the worst of {len(splits.seconds)} splits "
        f"(at most {REGISTERED_SECONDS:.0f}; median {splits.median})",
    )


def _moved(moved: Moved, steady: Steady) -> Criterion:
    tally = steady.during(moved.begun, moved.begun + moved.seconds)
    return Criterion(
        moved.outcome == "done" and moved.seconds <= MOVED_SECONDS and tally.share >= WRITES_SHARE,
        round(moved.seconds, 3),
        f"seconds from the wish to move region {moved.region} from store {moved.source} to "
        f"{moved.target} until it was {moved.outcome} (at most {MOVED_SECONDS:.0f}); of "
        f"{tally.tried} writes meanwhile {tally.succeeded} succeeded ({tally.share:.1%}, at least "
        f"{WRITES_SHARE:.0%})",
    )


def _spread(spread: Spread) -> Criterion:
    counts = ", ".join(f"{one.replicas}/{one.leaders}" for one in spread.shares)
    return Criterion(
        spread.is_even and spread.seconds <= SPREAD_SECONDS,
        round(spread.seconds, 3),
        f"seconds from the start of store {spread.joined} until it bore its share (at most "
        f"{SPREAD_SECONDS:.0f}); replicas/leaders per store {counts}",
    )


def _drained(drained: Drained, steady: Steady) -> Criterion:
    tally = steady.during(drained.begun, drained.begun + drained.seconds)
    state = "empty" if drained.is_empty else "given up"
    return Criterion(
        drained.is_empty and drained.seconds <= DRAINED_SECONDS and tally.share >= WRITES_SHARE,
        round(drained.seconds, 3),
        f"seconds from the wish to drain store {drained.store} of {drained.replicas} replicas "
        f"until it was {state} (at most {DRAINED_SECONDS:.0f}); of {tally.tried} writes meanwhile "
        f"{tally.succeeded} succeeded",
    )
