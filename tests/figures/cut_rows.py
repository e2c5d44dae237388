"""The page's lines of wires that are cut, PDs that are killed, and streams that are lost."""

from typing import Final

from tests.figures.rows import Judge, Judged, Row, at_most, kept_everything
from tests.figures.runs import Found

_FAILED: Final = {"refused": (0.0, "refused"), "unknown": (0.0, "unknown"), "lost": (0.0, "lost")}
_EQUAL: Final = {"equal_s": (30.0, "s from mending until all replicas are equal")}
_GAP: Final = {"longest_gap_s": (5.0, "s the longest gap")}
_COMPLETE: Final = {"complete_s": (60.0, "s until PD knows everything again"), **_FAILED}


def _kept(name: str, limits: dict[str, tuple[float, str]]) -> Judge:
    """Nothing lost, linearizable, and these figures."""

    def judge(found: Found) -> Judged:
        kept, within = kept_everything(name)(found), at_most(name, limits)(found)
        return Judged(f"{kept.text}; {within.text}", kept.holds and within.holds)

    return judge


CUTS: Final = (
    Row(
        "one store cut off for 6 s while a region moves: who stays, leads, goes or comes",
        "nothing lost, linearizable, gap ≤ 5 s, equal ≤ 30 s, the move done or undone",
        "cuts",
        _kept("a store cut off amid a move", {**_EQUAL, **_GAP}),
    ),
    Row(
        "the same in one direction, its connections standing",
        "nothing lost, linearizable, gap ≤ 5 s, equal ≤ 30 s, the move done or undone",
        "cuts",
        _kept("a store cut off in one direction amid a move", {**_EQUAL, **_GAP}),
    ),
    Row(
        "two of the region's three stores cut off for 6 s while it moves",
        "writes refused with a typed error; nothing lost, linearizable, equal ≤ 30 s",
        "cuts",
        _kept("a majority cut off amid a move", _EQUAL),
    ),
    Row(
        "PD cut off for 6 s while a region moves",
        "no write failed; the move done",
        "cuts",
        _kept("PD cut off amid a move", {**_EQUAL, **_FAILED}),
    ),
    Row(
        "PD killed at each of the 8 steps of a move, another one stands by",
        "takeover ≤ 5 s; each move done once; no write failed",
        "pd_killed",
        _kept(
            "PD killed at a step of a move",
            {"takeover_s": (5.0, "s the longest takeover"), **_FAILED},
        ),
    ),
    Row(
        "PD paused at each of the 8 steps of a move until another one leads, then both run",
        "each move done once; no write failed",
        "pd_killed",
        _kept("two PDs lead", _FAILED),
    ),
    Row(
        "two PDs lead that do not hear each other, one amid a move",
        "the move done once; no write failed",
        "pd_killed",
        _kept("two PDs lead, deaf to each other", _FAILED),
    ),
    Row(
        "the journal put back as it was before a split and a move, amid another move",
        "PD complete ≤ 60 s, ids never reused, the move done or undone once; no write failed",
        "streams_lost",
        _kept("an old copy of the journal", _COMPLETE),
    ),
    Row(
        "all three streams deleted under 8 writers, PD running or killed",
        "PD complete ≤ 60 s, ids never reused, no second bootstrap; no write failed",
        "streams_lost",
        _kept("all streams lost", _COMPLETE),
    ),
)
