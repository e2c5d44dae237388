"""Verdicts on every recorded history under a folder, compared with `verdicts.json` if it is there.

`verdicts.json` maps paths relative to the folder to true (linearizable) or false. It is only
compared with, after all verdicts are found: without it they are the same.
"""

import json
import pathlib
import sys
from typing import assert_never

from tests.conformance.histories_format import UnknownFormat, read_history
from tests.linearizability import Linearizable, NotLinearizable, Undecided, Verdict, check

VERDICTS_FILE = "verdicts.json"


def run(folder: pathlib.Path) -> int:
    """Print a line for each history under `folder` and a summary; 0 if none disagrees.

    A file that cannot be read is a failure, whatever stands in the file of verdicts.
    """
    verdicts: dict[str, Verdict] = {}
    unreadable: set[str] = set()
    for name, text in _texts(folder):
        try:
            history = read_history(text)
        except UnknownFormat as reason:
            sys.stdout.write(f"{name}: unreadable: {reason}\n")
            unreadable.add(name)
            continue
        if history is not None:
            verdicts[name] = check(history.operations, history.model)
            sys.stdout.write(f"{name}: {_word(verdicts[name])}\n")
            sys.stdout.flush()
    return _compare(folder, verdicts, unreadable)


def agreement(verdict: Verdict, expected: bool) -> str:
    """`agree`, `differ` or `undecided`."""
    match verdict:
        case Linearizable():
            return "agree" if expected else "differ"
        case NotLinearizable():
            return "differ" if expected else "agree"
        case Undecided():
            return "undecided"
        case _:
            assert_never(verdict)


def _texts(folder: pathlib.Path) -> list[tuple[str, str]]:
    """Every file under the folder: its path from there, and its text."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return [
        (path.relative_to(folder).as_posix(), path.read_text(errors="replace")) for path in paths
    ]


def _word(verdict: Verdict) -> str:
    match verdict:
        case Linearizable():
            return "linearizable"
        case NotLinearizable(key, refuted, _):
            place = f" at key {key}" if key != "" else ""
            return f"not linearizable{place}: answer {refuted.returned} cannot be explained"
        case Undecided():
            return "undecided"
        case _:
            assert_never(verdict)


def _compare(folder: pathlib.Path, verdicts: dict[str, Verdict], unreadable: set[str]) -> int:
    """Print the summary. Without a file of verdicts only what is undecided or unreadable fails."""
    known = folder / VERDICTS_FILE
    if not known.is_file():
        undecided = sum(isinstance(verdict, Undecided) for verdict in verdicts.values())
        rest = f", {len(unreadable)} unreadable" if unreadable else ""
        sys.stdout.write(f"{len(verdicts)} histories, {undecided} undecided{rest}\n")
        return int(undecided > 0 or bool(unreadable) or not verdicts)
    expected: dict[str, bool] = json.loads(known.read_text())
    missing = sorted(set(expected) - set(verdicts) - unreadable)
    for name in missing:
        sys.stdout.write(f"{name}: in {VERDICTS_FILE} but not found as a history\n")
    tally = {"agree": 0, "differ": len(missing) + len(unreadable), "undecided": 0}
    for name, verdict in verdicts.items():
        if name in expected:
            result = agreement(verdict, expected[name])
            tally[result] += 1
            if result != "agree":
                sys.stdout.write(f"{name}: {result}s: expected linearizable = {expected[name]}\n")
    sys.stdout.write(", ".join(f"{count} {word}" for word, count in tally.items()) + "\n")
    return int(tally["differ"] + tally["undecided"] > 0)
