"""What is run to measure: commands, and how their output is read."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

Found = dict[str, Any]
"""What one run found; kept as JSON."""

SCENARIOS: Final = "{scenarios}"
"""In a command: the file to which scenarios append what they measured."""

CASES: Final = "../shared/conformance"
"""Where peers' cases lie, beside the checkout."""

_PASSED: Final = re.compile(r"(\d+) passed")
_FAILED: Final = re.compile(r"(\d+) (?:failed|error)")
_SKIPPED: Final = re.compile(r"(\d+) skipped")
_AGREE: Final = re.compile(r"(\d+) agree, (\d+) differ, (\d+) undecided")
_COVERED: Final = re.compile(r"^TOTAL\s.*?(\d+)%", re.MULTILINE)


class Output(Struct, frozen=True):
    """What the commands of a run printed (both streams), and the scenarios' lines."""

    text: str
    scenarios: list[dict[str, Any]]


class Run(Struct, frozen=True):
    """Some commands whose output is read together; without `quick` a quick run is the whole one.

    The words follow the interpreter, which runs the first as a module.
    """

    name: str
    commands: tuple[str, ...]
    read: Callable[[Output], Found]
    minutes: int
    quick: tuple[str, ...] = ()
    needs: str = ""
    """A folder, relative to the checkout, that some machines do not have."""

    def why_skip(self, root: Path) -> str:
        """Why this machine cannot run it; "" if it can."""
        return skip(self.needs) if self.needs and not (root / self.needs).is_dir() else ""


def skip(folder: str) -> str:
    """What is said of a run whose folder is missing."""
    return f"skipped: there is no {folder}"


def read_counts(output: Output) -> Found:
    """How many passed, failed and were skipped, from the last line that tells it."""
    lines = [line for line in output.text.splitlines() if _PASSED.search(line)]
    last = lines[-1] if lines else output.text
    counts = {"passed": _PASSED, "failed": _FAILED, "skipped": _SKIPPED}
    found = {name: pattern.search(last) for name, pattern in counts.items()}
    return {name: int(match[1]) if match else 0 for name, match in found.items()}


def read_scenarios(output: Output) -> Found:
    """As `read_counts`, and what each scenario measured, in the order of its repeats."""
    scenarios: dict[str, list[dict[str, Any]]] = {}
    for line in output.scenarios:
        figures = {name: value for name, value in line.items() if name != "scenario"}
        scenarios.setdefault(line["scenario"], []).append(figures)
    return {**read_counts(output), "scenarios": scenarios}


def read_last_json(output: Output) -> Found:
    """The last line that is a JSON object."""
    lines = [line for line in output.text.splitlines() if line.startswith("{")]
    found: Found = json.loads(lines[-1]) if lines else {}
    return found


def read_simulator(output: Output) -> Found:
    """Seeds that passed and failed, what happened in them, and which bugs were not found."""
    totals = [line for line in output.text.splitlines() if line.startswith("seeds ")]
    missed = re.findall(r"^(\S+)\s+-\s", output.text, re.MULTILINE)
    return {**read_counts(output), "totals": totals[-1] if totals else "", "missed": missed}


def read_verdicts(output: Output) -> Found:
    """How many of the recorded histories were judged as they should be."""
    match = _AGREE.search(output.text)
    counts = map(int, match.groups()) if match else (0, 0, 0)
    return dict(zip(("agree", "differ", "undecided"), counts, strict=True))


def read_coverage(output: Output) -> Found:
    """Percent of lines of `store` and of `raft`, in this order."""
    return dict(zip(("store", "raft"), map(int, _COVERED.findall(output.text)), strict=False))


def _cluster(name: str, repeats: int, minutes: int) -> Run:
    command = f"pytest -q tests/cluster/test_{name}.py --figures {SCENARIOS}"
    full = f"{command} --repeats {repeats}" if repeats > 1 else command
    return Run(name, (full,), read_scenarios, minutes, (command,))


RUNS: Final = (
    Run("demo", ("flaredb demo -o json --no-progress",), read_last_json, 10),
    _cluster("ranges", 5, 5),
    _cluster("stores_lost", 10, 30),
    _cluster("power_cut", 20, 25),
    _cluster("nats_lost", 5, 15),
    _cluster("retries", 1, 5),
    _cluster("snapshot", 1, 5),
    _cluster("many_regions", 1, 5),
    _cluster("very_many_regions", 1, 20),
    _cluster("stalls", 3, 15),
    _cluster("growth", 1, 10),
    _cluster("growth_kills", 20, 60),
    _cluster("merges", 1, 10),
    _cluster("splits", 5, 20),
    _cluster("moves", 5, 40),
    _cluster("balance", 1, 20),
    _cluster("hot_store", 1, 15),
    _cluster("full_disk", 1, 15),
    _cluster("store_gone", 3, 15),
    _cluster("drains", 3, 15),
    _cluster("cuts", 3, 40),
    _cluster("pd_killed", 2, 30),
    _cluster("streams_lost", 2, 30),
    Run(
        "split_crashes",
        ("pytest -q tests/store/test_split_crashes.py tests/store/test_merge.py",),
        read_counts,
        10,
    ),
    Run(
        "bad_input",
        ("pytest -q tests/cluster/test_bad_input.py tests/cluster/test_outsiders.py",),
        read_counts,
        10,
    ),
    Run("raft_cases", (f"tests.conformance raft {CASES}/raft",), read_counts, 5, needs=CASES),
    Run(
        "histories",
        (f"tests.conformance histories {CASES}/histories",),
        read_verdicts,
        5,
        needs=CASES,
    ),
    Run(
        "simulator",
        ("tests.simulator --seeds 0..1999 --processes 2",),
        read_simulator,
        60,
        ("tests.simulator --seeds 0..19",),
    ),
    Run(
        "bugs",
        ("tests.simulator --bugs --processes 2",),
        read_simulator,
        90,
        ("tests.simulator --bugs --most 5 --processes 2",),
    ),
    Run(
        "coverage",
        (
            "coverage run -m tests.simulator --seeds 1..30",
            "coverage report --include */store/*",
            "coverage report --include */raft/*",
        ),
        read_coverage,
        15,
        (
            "coverage run -m tests.simulator --seeds 1..3",
            "coverage report --include */store/*",
            "coverage report --include */raft/*",
        ),
    ),
    Run("planning", ("tests.bench.planning",), read_last_json, 5),
    Run(
        "bench",
        ("tests.bench --against etcd,jetstream -o json",),
        read_last_json,
        30,
        ("tests.bench --smoke -o json",),
    ),
)
