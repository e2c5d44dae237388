"""How output is read and judged, and what of the page is kept."""

import json
from typing import Any

import pytest

from tests.bench.machine import Machine
from tests.figures.cut_rows import CUTS
from tests.figures.growth_rows import GROWTH
from tests.figures.move_rows import MOVES
from tests.figures.page import BEGIN, END, Kept, write_page
from tests.figures.rows import CORRECTNESS, SPEED, Row
from tests.figures.runs import (
    RUNS,
    Found,
    Output,
    read_counts,
    read_coverage,
    read_last_json,
    read_scenarios,
    read_simulator,
    read_verdicts,
)
from tests.figures.scale_rows import SCALE

ROWS = {row.what: row for row in (*CORRECTNESS, *GROWTH, *MOVES, *CUTS, *SPEED, *SCALE)}


def row(beginning: str) -> Row:
    """The line of the page that begins so."""
    return next(row for what, row in ROWS.items() if what.startswith(beginning))


def output(text: str, *scenarios: dict[str, Any]) -> Output:
    return Output(text, list(scenarios))


def kept(found: Found, *exit_codes: int) -> Kept:
    machine = Machine(2, "6.1", "3.11.7", "ext4", 1.5)
    return Kept(found, ("run it",), "abc", False, "2026-11-23", 9.0, exit_codes, 24.0, machine)


def test_every_line_has_its_run() -> None:
    assert {row.run for row in ROWS.values()} == {run.name for run in RUNS}


def test_counts() -> None:
    assert read_counts(output("..\n3 passed, 1 skipped in 2.0s\n")) == {
        "passed": 3,
        "failed": 0,
        "skipped": 1,
    }
    assert read_counts(output("1 failed, 3 passed in 2.0s"))["failed"] == 1
    assert read_counts(output("no tests ran"))["passed"] == 0
    assert read_verdicts(output("x: ok\n24 agree, 0 differ, 1 undecided"))["undecided"] == 1
    assert read_coverage(output("a\nTOTAL 10 1 90%\nb\nTOTAL 5 0 100%\n")) == {
        "store": 90,
        "raft": 100,
    }


def test_simulator_and_bench() -> None:
    said = "vote-twice   3   1.2 s  two led\nlost-one    -   9.0 s  never\n1 passed, 1 failed"
    found = read_simulator(output(said))
    assert found["missed"] == ["lost-one"]
    judged = row("deliberate bugs").judge(found)
    assert not judged.holds and "lost-one" in judged.text
    report = {"ratios": {"etcd": {"get_64": 0.9}}, "ratio_ranges": {"etcd": {"get_64": [0.8, 1]}}}
    found = read_last_json(output(f"progress\n{json.dumps(report)}\n"))
    assert row("linearizable gets").judge(found).text == "64: 0.90 (0.80 to 1.00)"
    assert not row("linearizable gets").judge(found).holds
    found = {"ratios": {}, "skipped": {"jetstream": "no server"}}
    assert row("puts/s against JetStream").judge(found).text == "skipped: no server"


@pytest.mark.parametrize(
    ("gap", "failed", "holds"), [(4.9, 0, True), (5.1, 0, False), (1, 1, False)]
)
def test_a_killed_store(gap: float, failed: int, holds: bool) -> None:
    run = {"acknowledged": 7, "lost": 0, "history": "linearizable", "longest_gap_s": gap}
    lines = [{"scenario": "store killed", **run} for _ in range(2)]
    found = read_scenarios(output(f"{failed} failed, 2 passed in 1s", *lines))
    judged = row("a store killed").judge(found)
    assert judged.holds == holds
    assert judged.text == f"2 runs, 14 writes: nothing lost; gaps {gap:g} s"


@pytest.mark.parametrize(
    ("split", "unanswered", "holds"), [(2, 1, True), (1, 1, False), (2, 0, False)]
)
def test_kills_amid_splits_that_met_none_prove_nothing(
    split: int, unanswered: int, holds: bool
) -> None:
    kept = {"acknowledged": 7, "lost": 0, "history": "linearizable", "longest_gap_s": 1}
    runs = [{**kept, "split": cut, "unanswered": unanswered} for cut in (4, split)]
    lines = [{"scenario": "leaders killed amid splits", **run} for run in runs]
    judged = row("the leader of a region is killed").judge(
        read_scenarios(output("2 passed in 1s", *lines))
    )
    assert judged.holds == holds
    assert judged.text.endswith(
        f"in each {split} to 4 wishes took effect, {unanswered} kills before the answer"
    )


def test_a_simulator_without_merges_proves_nothing() -> None:
    mix = "20000 peers_changed, 3000 reigns, 4000 split_regions"
    said = "seeds 0..1999: 7 crash, {} merged_regions, " + mix + "\n2000 passed, 0 failed"
    simulator = row("simulator").judge
    judged = simulator(read_simulator(output(said.format(300))))
    assert judged.holds and "4000 splits, 300 merges, 20000 changes of peers" in judged.text
    judged = simulator(read_simulator(output(said.format(0))))
    assert not judged.holds and "only 0 merged_regions instead of 300" in judged.text


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([], "not reached"),
        ([{"noticed": ""}], "NOT noticed"),
        ([{"noticed": "3 keys lost"}], "noticed"),
    ],
)
def test_a_power_cut_without_sync(lines: list[Found], said: str) -> None:
    """It is cut last, so a run that takes too long does not come to it."""
    cut = {"acknowledged": 7, "lost": 0, "history": "linearizable", "longest_gap_s": 1}
    without = [{"scenario": "power cut without sync", **line} for line in lines]
    found = read_scenarios(output("21 passed in 1s", {"scenario": "power cut", **cut}, *without))
    judged = row("power cut").judge(found)
    assert judged.text.endswith(f"without sync: {said}")
    assert judged.holds == (said == "noticed")


def test_what_was_not_reached_does_not_hold() -> None:
    found = read_scenarios(output("1 failed in 1s"))
    assert all(not ROWS[what].judge(found).holds for what in ROWS if row(what).run == "stores_lost")


def test_the_page_keeps_what_people_wrote() -> None:
    before = f"# Title\n\nabove\n\n{BEGIN}\nof last week\n{END}\n\nbelow\n"
    found: Found = {"passed": 8, "failed": 0}
    page = write_page(before, {"raft_cases": kept(found, 0)})
    assert page.startswith("# Title\n\nabove\n") and page.endswith(f"{END}\n\nbelow\n")
    assert "last week" not in page
    assert "| peers' cases for Raft | all | 8 passed, 0 failed | holds | raft_cases |" in page
    must = row("simulator").must
    assert f"| simulator | {must} | not measured yet | | simulator |" in page
    assert write_page(page, {"raft_cases": kept(found, 0)}) == page
    assert "| 8 passed, 0 failed | **open** |" in write_page(page, {"raft_cases": kept(found, 1)})


def test_a_page_without_markers_keeps_its_text() -> None:
    page = write_page("# Figures\n\nprose\n", {})
    assert page.startswith("# Figures\n\nprose\n") and BEGIN in page
