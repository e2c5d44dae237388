"""The page's lines of regions that split and are merged."""

from typing import Final

from tests.figures.rows import Row, all_passed, at_most, kept_everything, saw

_SPLITS: Final = {
    "registered_median_s": (1.0, "s at the median"),
    "registered_worst_s": (5.0, "s at the worst"),
    "failed": (0.0, "writes failed"),
    "longest_gap_s": (1.0, "s the longest gap"),
    "snapshots": (0.0, "snapshots"),
}
_MERGES: Final = {
    "merge_median_s": (1.0, "s a merge at the median"),
    "merge_worst_s": (10.0, "s at the worst"),
    "longest_gap_s": (1.0, "s the longest gap"),
    "refused": (0.0, "refused"),
    "unknown": (0.0, "unknown"),
    "lost": (0.0, "lost"),
    "effects": (1.0, "effect of a batch sent after every fifth merge"),
}

_KILLED: Final = "killed amid growth and merges"
_GROWN: Final = {"kills": (5.0, "kills"), "splits": (20.0, "splits"), "merges": (2.0, "merges")}

_AMID: Final = "leaders killed amid splits"
_CUT: Final = {"split": (2.0, "wishes took effect"), "unanswered": (1.0, "kills before the answer")}

GROWTH: Final = (
    Row(
        "SC-003: from a split's trigger to registered in PD; 20 splits at 8 MiB, 8 writers",
        "median ≤ 1 s, worst ≤ 5 s, no write failed, gap ≤ 1 s anywhere, no snapshot",
        "growth",
        at_most("splits at 8 MiB", _SPLITS),
    ),
    Row(
        "SC-003: the same; 3 splits at 96 MiB, values of 64 KiB",
        "median ≤ 1 s, worst ≤ 5 s, no write failed, gap ≤ 1 s anywhere, no snapshot",
        "growth",
        at_most("splits at 96 MiB", _SPLITS),
    ),
    Row(
        "8 splits by hand under 8 writers, from the wish to the registration",
        "median ≤ 1 s, worst ≤ 5 s, gap ≤ 1 s",
        "splits",
        at_most(
            "splits while 8 clients write",
            {
                "registered_median_s": (1.0, "s at the median"),
                "registered_worst_s": (5.0, "s at the worst"),
                "longest_gap_s": (1.0, "s the longest gap"),
            },
        ),
    ),
    Row(
        "55 splits and 55 merges under 8 writers",
        "nothing lost, refused or unknown; linearizable, replicas equal, gap ≤ 1 s, no snapshot; "
        "a batch sent again takes effect once",
        "merges",
        at_most("splits and merges while 8 clients write", _MERGES),
    ),
    Row(
        "stores, PD and nats-server killed while regions split and are merged, 20 runs of 60 s",
        "nothing lost, linearizable, replicas equal, ranges cover once; ≥ 20 splits, 2 merges each",
        "growth_kills",
        saw(_KILLED, _GROWN, kept_everything(_KILLED)),
    ),
    Row(
        "the leader of a region is killed while it is split, 6 times in each run",
        "nothing lost, linearizable, ranges cover once; ≥ 2 of the 6 splits take effect",
        "splits",
        saw(_AMID, _CUT, kept_everything(_AMID)),
    ),
    Row(
        "one follower paused during a split, and then its leader killed for good",
        "both parts take writes ≤ 10 s",
        "splits",
        at_most(
            "the leader dies right after a split",
            {"parts_write_s": (10.0, "s until both parts take writes"), "lost": (0.0, "lost")},
        ),
    ),
    Row(
        "a store killed at every save around a split, or around a merge",
        "none or one, never half",
        "split_crashes",
        all_passed,
    ),
)
