"""`python -m tests.figures`: measure, keep what was found, write the page.

Exit code 0: every run ended with code 0; 1: some did not (the page says which); 2: called wrongly.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from tests.bench.machine import inspect
from tests.figures.page import Kept, measured_part, write_page
from tests.figures.runs import RUNS, SCENARIOS, Output, Run

ROOT: Final = Path(__file__).resolve().parents[2]
PAGE: Final = ROOT / "docs" / "figures.md"
STORE: Final = ROOT / "docs" / "figures.json"


def main() -> int:
    """The command line."""
    given = _parser().parse_args()
    if given.page:
        _write(_load())
        return 0
    kept = {} if given.quick else _load()
    wanted = [run for run in RUNS if not given.only or run.name in given.only]
    if given.missing:
        wanted = [run for run in wanted if not _is_current(kept.get(run.name))]
    failed = False
    for run in wanted:
        reason = run.why_skip(ROOT)
        print(f"== {run.name} {reason}", flush=True)
        if reason:
            continue
        kept[run.name] = measured = measure(run, given.quick)
        failed |= any(measured.exit_codes)
        if not given.quick:  # after each run: whoever interrupts loses only the one under way
            _write(kept)
    if given.quick:
        print(measured_part(kept))
    return int(failed)


def measure(run: Run, quick: bool) -> Kept:
    """Run the commands of `run` and read what they say; their output is shown as it comes."""
    commands = run.quick if quick and run.quick else run.commands
    began, commit = time.monotonic(), _git("rev-parse", "--short", "HEAD")
    ours = [f":!{path.relative_to(ROOT)}" for path in (STORE, PAGE)]
    dirty = bool(_git("status", "--porcelain", "--untracked-files=no", "--", ".", *ours))
    codes: list[int] = []
    text = ""
    with tempfile.TemporaryDirectory(prefix="figures-") as folder:
        scenarios = Path(folder) / "scenarios.jsonl"
        scenarios.touch()
        for command in commands:
            words = command.replace(SCENARIOS, str(scenarios)).split()
            code, said = _run(words, run.minutes * 60, Path(folder))
            codes.append(code)
            text += said
        lines = [json.loads(line) for line in scenarios.read_text().splitlines()]
        machine = inspect(Path(folder))
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    return Kept(
        found=run.read(Output(text, lines)),
        commands=tuple(_shown(command) for command in commands),
        commit=commit,
        dirty=dirty,
        date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M"),
        seconds=round(time.monotonic() - began, 1),
        exit_codes=tuple(codes),
        memory_gib=round(memory, 1),
        machine=machine,
    )


def _run(words: list[str], seconds: float, folder: Path) -> tuple[int, str]:
    """Run one command, so many seconds at most; its exit code and what it said."""
    environment = {**os.environ, "COVERAGE_FILE": str(folder / "coverage"), "COLUMNS": "200"}
    said: list[str] = []
    with subprocess.Popen(
        [sys.executable, "-m", *words],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        too_long = threading.Timer(seconds, process.terminate)
        too_long.start()
        for line in process.stdout:
            said.append(line)
            sys.stdout.write(line)
            sys.stdout.flush()
        too_long.cancel()
    return process.returncode, "".join(said)


def _shown(command: str) -> str:
    return f"uv run python -m {command.replace(f' --figures {SCENARIOS}', '')}"


def _is_current(kept: Kept | None) -> bool:
    return kept is not None and kept.commit == _git("rev-parse", "--short", "HEAD")


def _load() -> dict[str, Kept]:
    try:
        return msgspec.json.decode(STORE.read_bytes(), type=dict[str, Kept])
    except FileNotFoundError:
        return {}


def _write(kept: dict[str, Kept]) -> None:
    order = {run.name: kept[run.name] for run in RUNS if run.name in kept}
    STORE.write_bytes(msgspec.json.format(msgspec.json.encode(order)) + b"\n")
    before = PAGE.read_text() if PAGE.exists() else ""
    PAGE.write_text(write_page(before, order))


def _git(*words: str) -> str:
    return subprocess.run(
        ["git", *words], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.figures", description=__doc__)
    names = [run.name for run in RUNS]
    parser.add_argument("--only", action="append", choices=names, help="this run (repeatable)")
    parser.add_argument("--missing", action="store_true", help="only what this commit lacks")
    parser.add_argument("--quick", action="store_true", help="short runs, nothing is kept")
    parser.add_argument("--page", action="store_true", help="write the page again, run nothing")
    return parser


if __name__ == "__main__":
    sys.exit(main())
