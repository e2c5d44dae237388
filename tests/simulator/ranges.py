"""Many seeds, one after the other or several at a time."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor

from tests.simulator.run import Result, Run

RunOne = Callable[[int], tuple[Result, Run]]

WINDOW = 8
"""How many seeds each process is given at a time."""


def results(
    seeds: range, run_one: RunOne, processes: int, seconds: float | None
) -> Iterator[Result]:
    """Run these seeds and say how each ended, in their order; begin none after `seconds`."""
    began, window = time.monotonic(), WINDOW * processes if processes > 1 else 1
    with ProcessPoolExecutor(processes) as pool:
        for first in range(0, len(seeds), window):
            if seconds is not None and time.monotonic() - began > seconds:
                return
            some = seeds[first : first + window]
            if processes == 1:  # in this process, so that a debugger or a profiler sees it
                yield from (run_one(seed)[0] for seed in some)
            else:
                yield from pool.map(_Only(run_one), some)


class _Only:
    """A seed's result alone: its run stays in the process in which it ran."""

    def __init__(self, run_one: RunOne) -> None:
        self._run_one = run_one

    def __call__(self, seed: int) -> Result:
        return self._run_one(seed)[0]
