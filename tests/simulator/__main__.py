"""`python -m tests.simulator SEED` replays one seed; `--seeds A..B` runs a range.

`--bugs` looks for every deliberate bug, and passes for each that is found. Ends with
`N passed, M failed`. A failure prints the one command that replays it.
"""

import argparse
import sys
import time
from collections import Counter

from tests.simulator.bugs import BUGS, planted
from tests.simulator.hunting import MOST_SEEDS, Hunt, hunt_all, run_hunted
from tests.simulator.ranges import RunOne, results
from tests.simulator.run import Result, run_seed


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulator", description=__doc__)
    parser.add_argument("seed", nargs="?", type=int, help="replay this seed, with its trace")
    parser.add_argument("--seeds", help="a range of seeds, A..B, both included")
    parser.add_argument("--bug", choices=sorted(BUGS), help="switch one deliberate bug on")
    parser.add_argument("--bugs", action="store_true", help="look for every deliberate bug")
    parser.add_argument("--processes", type=int, default=1, help="seeds, or bugs, at a time")
    parser.add_argument("--most", type=int, default=MOST_SEEDS, help="seeds per deliberate bug")
    parser.add_argument("--seconds", type=float, help="begin no further seed after so long")
    parser.add_argument("--lines", type=int, default=60, help="lines of trace after a failure")
    given = parser.parse_args()
    if (given.seed is not None) + (given.seeds is not None) + given.bugs != 1:
        parser.error("give one seed, or --seeds A..B, or --bugs")
    if given.bugs:
        return _hunt(given.most, given.processes)
    run = run_seed if given.bug is None else run_hunted
    with planted(given.bug):
        if given.seed is not None:
            return _replay(given.seed, given.lines, run)
        first, _, last = given.seeds.partition("..")
        return _range(range(int(first), int(last or first) + 1), given, run)


def _hunt(most: int, processes: int) -> int:
    def show(ended: Hunt) -> None:
        seed = "-" if ended.seed is None else str(ended.seed)
        print(f"{ended.bug:<32} {seed:>4}  {ended.seconds:6.1f} s  {ended.said[:110]}", flush=True)

    found, missed = hunt_all(show, most, processes)
    print(f"{found} passed, {missed} failed")
    return 1 if missed else 0


def _replay(seed: int, lines: int, run_one: RunOne) -> int:
    began = time.monotonic()
    result, run = run_one(seed)
    if result.failure:
        for line in list(run.world.trace.lines)[-lines:] if lines else ():
            print(line)
        _show(result)
    print(f"seed {seed}: {time.monotonic() - began:.1f} s, trace {result.digest}")
    print(_totals(result.totals))
    print(f"{not result.failure:d} passed, {bool(result.failure):d} failed")
    return 1 if result.failure else 0


def _range(seeds: range, given: argparse.Namespace, run_one: RunOne) -> int:
    totals: Counter[str] = Counter()
    passed = failed = 0
    for result in results(seeds, run_one, given.processes, given.seconds):
        totals.update(result.totals)
        passed, failed = passed + (not result.failure), failed + bool(result.failure)
        if result.failure:
            _show(result)
            if run_one is run_hunted:  # a deliberate bug is found
                break
        _progress(f"seed {result.seed}: {passed} passed, {failed} failed")
    _progress("", end="\n")
    print(f"seeds {seeds.start}..{seeds.start + passed + failed - 1}: {_totals(totals)}")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


def _show(result: Result) -> None:
    print(f"\nseed {result.seed} failed at {result.ended:.3f} s: {result.failure}")
    print(f"replay: uv run python -m tests.simulator {result.seed}", flush=True)


def _totals(totals: Counter[str]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in sorted(totals.items()))


def _progress(text: str, end: str = "") -> None:
    if sys.stderr.isatty() or end:
        sys.stderr.write(f"\r{text:<60}{end}")
        sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
