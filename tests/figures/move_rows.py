"""The page's lines of replicas that move."""

from typing import Final

from tests.figures.rows import Row, at_most, kept_everything

_MOVED: Final = {
    "seconds": (60.0, "s"),
    "failed_share": (0.001, "of the writes failed"),
    "longest_gap_s": (2.0, "s the longest gap"),
    "lost": (0.0, "lost"),
}

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
        "stores and PD killed while replicas move",
        "nothing lost, linearizable, replicas equal, every region whole",
        "moves",
        kept_everything("killed amid moves"),
    ),
)
