"""The page's lines of replicas that move."""

from typing import Final

from tests.figures.rows import Judged, Row, at_most, kept_everything
from tests.figures.runs import Found

_MOVED: Final = {
    "seconds": (60.0, "s"),
    "failed_share": (0.001, "of the writes failed"),
    "longest_gap_s": (2.0, "s the longest gap"),
    "lost": (0.0, "lost"),
}

_JOINED: Final = {
    "seconds": (420.0, "s until all is even"),
    "moves": (60.0, "moves"),
    "most_moves_of_a_region": (1.0, "move of one region at most"),
    "moves_later": (0.0, "moves in the five minutes after that"),
    "refused": (0.0, "refused"),
    "unknown": (0.0, "unknown"),
    "lost": (0.0, "lost"),
}


def _planned(found: Found) -> Judged:
    took = found.get("pass_s", 0.0)
    parts = ", ".join(
        f"{name.removesuffix('_s')} {found[name]:g}"
        for name in ("repairs_s", "balance_s", "merges_s")
        if name in found
    )
    return Judged(f"{took:g} s ({parts})", 0 < took <= 2.0)


MOVES: Final = (
    *(
        Row(
            f"SC-004: {who} of a region of 96 MiB moved to another store, under 8 writers",
            "≤ 60 s, ≥ 99.9 % of writes succeed, gap ≤ 2 s",
            "moves",
            at_most(f"{who} moved, 96 MiB", _MOVED),
        )
        for who in ("a follower", "the leader")
    ),
    Row(
        "a fourth store joins three with 60 regions, under 8 writers",
        "even within max(1, 6 %) of the mean, no region moves twice, then nothing for 5 minutes",
        "balance",
        at_most("a fourth store joins 60 regions", _JOINED),
    ),
    Row(
        "one pass of all checks and balancers, 100 stores and 100,000 regions in memory",
        "≤ 2 s",
        "planning",
        _planned,
    ),
    Row(
        "stores, PD and nats-server killed while replicas move",
        "nothing lost, linearizable, replicas equal, every region whole",
        "moves",
        kept_everything("killed amid moves"),
    ),
)
