"""Every deliberate bug is looked for until it is found, seed after seed."""

import time
from collections.abc import Callable

from msgspec import Struct

from tests.simulator import bugs_pd, bugs_raft, bugs_store
from tests.simulator.bugs import BUGS, planted
from tests.simulator.run import run_seed

MODULES = (bugs_raft, bugs_store, bugs_pd)
"""Importing them registers their bugs."""

MOST_SEEDS = 500


class Hunt(Struct, frozen=True):
    """How the search for one bug ended; `seed` is None if it was not found."""

    bug: str
    seed: int | None
    said: str
    seconds: float


def hunt(name: str, most: int = MOST_SEEDS) -> Hunt:
    """Run seeds from 1 on with the bug in, until a checker speaks."""
    began = time.monotonic()
    with planted(name):
        for seed in range(1, most + 1):
            result, _ = run_seed(seed)
            if result.failure:
                said = result.failure.splitlines()[0]
                return Hunt(name, seed, said, time.monotonic() - began)
    return Hunt(name, None, f"not found within {most} seeds", time.monotonic() - began)


def hunt_all(show: Callable[[Hunt], None], most: int = MOST_SEEDS) -> tuple[int, int]:
    """Look for all bugs; returns how many were found, and how many were not."""
    found = 0
    for name in BUGS:
        ended = hunt(name, most)
        show(ended)
        found += ended.seed is not None
    return found, len(BUGS) - found
