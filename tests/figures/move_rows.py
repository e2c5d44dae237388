"""The page's lines of replicas that move."""

from typing import Final

from tests.figures.rows import Judged, Row, at_most, kept_everything, scenario, span
from tests.figures.runs import Found

_MOVED: Final = {
    "seconds": (60.0, "s"),
    "failed_share": (0.001, "of the writes failed"),
    "longest_gap_s": (2.0, "s the longest gap"),
    "lost": (0.0, "lost"),
}

_KILLED: Final = "a store is killed for good, 100 MiB"

_JOINED: Final = {
    "seconds": (420.0, "s until all is even"),
    "moves": (60.0, "moves"),
    "most_moves_of_a_region": (1.0, "move of one region at most"),
    "moves_later": (0.0, "moves in the five minutes after that"),
    "refused": (0.0, "refused"),
    "unknown": (0.0, "unknown"),
    "lost": (0.0, "lost"),
}

_HOT: Final = {
    "spread_s": (120.0, "s from the first hand-over until no store leads a fifth more than others"),
    "furthest_off": (0.2, "of the mean is the furthest from it three minutes later"),
    "came_back": (0.0, "came back"),
    "failed": (0.0, "writes failed"),
}

_FULL: Final = {
    "seconds": (120.0, "s until it is at 85 % no more"),
    "received": (0.0, "replicas received"),
    "came_back": (0.0, "came back"),
    "refused": (0.0, "refused"),
    "unknown": (0.0, "unknown"),
    "lost": (0.0, "lost"),
}

_GONE: Final = {
    "seconds": (120.0, "s from when it counts as down until all are whole"),
    "longest_gap_s": (5.0, "s the longest gap"),
    "lost": (0.0, "lost"),
}

_DRAINED: Final = {
    "seconds": (120.0, "s until it is empty"),
    "refused": (0.0, "refused"),
    "unknown": (0.0, "unknown"),
    "longest_gap_s": (2.0, "s the longest gap"),
    "lost": (0.0, "lost"),
}


def _repaired(found: Found) -> Judged:
    """In time, and with a majority alive throughout."""
    judged = at_most(_KILLED, _GONE)(found)
    least = [run["least_live_share"] for run in scenario(found, _KILLED)]
    text = f"{judged.text}; {span(least)} of the votes alive at the least" if least else judged.text
    return Judged(text, judged.holds and min(least, default=0.0) > 0.5)


_LOOKS: Final = (
    "repairs_s",
    "lost_store_s",
    "drain_s",
    "balance_s",
    "load_s",
    "merges_s",
    "operators_s",
)


def _planned(found: Found) -> Judged:
    took = found.get("pass_s", 0.0)
    parts = ", ".join(
        f"{name.removesuffix('_s').replace('_', ' ')} {found[name]:g}"
        for name in _LOOKS
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
        "even within max(1, 5 %) of the mean, no region moves twice, then nothing for 5 minutes",
        "balance",
        at_most("a fourth store joins 60 regions", _JOINED),
    ),
    Row(
        "80 % of the writes go to 6 of 60 regions, all led by one of three stores",
        "load spread within 20 % of the mean ≤ 2 min after it shows, nothing goes to and fro",
        "hot_store",
        at_most("a tenth of 60 regions is busy, and led by one store", _HOT),
    ),
    Row(
        "a store whose disk is filled to more than 85 %, a file system of its own",
        "gives replicas away, gets none, nothing goes to and fro",
        "full_disk",
        at_most("a disk of a store is nearly full", _FULL),
    ),
    Row(
        "one of four stores killed for good, 100 MiB in 12 regions, under 8 writers",
        "three replicas each ≤ 2 min after it counts as down, never below a majority",
        "store_gone",
        _repaired,
    ),
    Row(
        "a store of 100 MiB drained under 8 writers",
        "empty ≤ 2 min, no write fails",
        "drains",
        at_most("a store is drained under 8 writers, 144 MiB in all", _DRAINED),
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
