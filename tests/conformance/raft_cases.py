"""Run etcd-io/raft's datadriven files, found anywhere under a folder, against this core.

A file's kind follows from the folder that it lies in; no file is known by name. Lines of the
peers' logger are left out of the comparison; everything else must agree.
"""

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from tests.conformance.raft_arithmetic import Changer, run_quorum_case
from tests.conformance.raft_directives import Unknown, run_case
from tests.conformance.raft_world import World
from tests.stories import Case, Story, StoryError

_LOG_LINE: Final = re.compile(r"\s*(DEBUG|INFO|WARN|ERROR|FATAL|PANIC) ")

Runner = Callable[[Case], str]


class Failure(NamedTuple):
    """Where a file first came out differently."""

    line: int
    what: str


def run(directory: Path) -> int:
    """Run every file under `directory`; print a line per failed file and the sums.

    Returns 0 if all passed, 1 if any failed or there was none.
    """
    passed = failed = 0
    for path in sorted(directory.rglob("*.txt")):
        runner = runner_for(Path(directory.resolve().name, path.relative_to(directory)))
        if runner is None:
            continue
        failure = first_failure(path, runner)
        if failure is None:
            passed += 1
        else:
            failed += 1
            where = path.relative_to(directory)
            sys.stdout.write(f"FAILED {where}:{failure.line} {failure.what}\n")
    sys.stdout.write(f"{passed} passed, {failed} failed\n")
    return 0 if passed and not failed else 1


def runner_for(path: Path) -> Runner | None:
    """What runs a file, by the nearest folder that says so; a fresh world for each file.

    Upstream keeps its interaction files under a bare `testdata`.
    """
    for folder in reversed(path.parts[:-1]):
        match folder:
            case "quorum":
                return run_quorum_case
            case "confchange":
                return Changer().run
            case "interaction":
                return _interaction()
            case _:
                continue
    return _interaction() if "testdata" in path.parts[:-1] else None


def first_failure(path: Path, runner: Runner) -> Failure | None:
    """Run one file until something differs; None if nothing does."""
    try:
        story = Story(path)
    except StoryError as error:
        return Failure(0, str(error))
    for case in story.cases():
        try:
            output = runner(case)
        except Unknown as error:
            return Failure(case.line, str(error))
        except Exception as error:
            # A file must not take the others down; what it met is its result.
            return Failure(case.line, f"{case.command}: {type(error).__name__}: {error}")
        expected, came = essence(case.expected), essence(output)
        if came != expected:
            return Failure(case.line, f"{case.command}: {_difference(expected, came)}")
    return None


def essence(output: str) -> list[str]:
    """The lines that count. Nothing at all is the same as `ok`."""
    lines = [line.rstrip() for line in output.split("\n")]
    return [line for line in lines if line and not _LOG_LINE.match(line)] or ["ok"]


def _interaction() -> Runner:
    world = World()
    return lambda case: run_case(world, case)


def _difference(expected: list[str], came: list[str]) -> str:
    for wanted, found in zip(expected, came, strict=False):
        if wanted != found:
            return f"expected {wanted!r}, came {found!r}"
    if len(expected) > len(came):
        return f"expected {expected[len(came)]!r}, came nothing more"
    return f"came {came[len(expected)]!r} beyond what was expected"
