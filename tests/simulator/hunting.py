"""Every deliberate bug is looked for until it is found, seed after seed."""

import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from functools import partial

from msgspec import Struct
from msgspec.structs import asdict, replace

from tests.simulator import bugs_merge, bugs_pd, bugs_peers, bugs_raft, bugs_store
from tests.simulator.bugs import BUGS, planted
from tests.simulator.options import Options, Troubles, draw
from tests.simulator.run import Result, Run, run_world

MODULES = (bugs_raft, bugs_store, bugs_merge, bugs_peers, bugs_pd)
"""Importing them registers their bugs."""

MOST_SEEDS = 500

CALM_STORES = 3


class Hunt(Struct, frozen=True):
    """How the search for one bug ended; `seed` is None if it was not found."""

    bug: str
    seed: int | None
    said: str
    seconds: float


def hunt(name: str, seeds: Iterable[int]) -> Hunt:
    """Look for a bug in the worlds of these seeds."""
    return hunt_in(name, map(hunting_ground, seeds))


def hunting_ground(seed: int) -> Options:
    """The world of `seed`; every second one is so calm that schemes come to their end."""
    return draw(seed) if seed % 2 else calm(seed)


def calm(seed: int) -> Options:
    """The world of `seed` with one region, constant work, and nothing amiss but schemes."""
    drawn = draw(seed)
    nothing = {name: type(mean)(0) for name, mean in asdict(drawn.troubles).items()}
    return replace(
        drawn,
        stores=CALM_STORES,
        first_stores=CALM_STORES,
        clock_rates=drawn.clock_rates[:CALM_STORES],
        boundaries=(),
        workload=replace(drawn.workload, active=0.0),
        troubles=Troubles(**{**nothing, "schemed": True, "scheme": 0.5, "down_for": 1.0}),
    )


def run_hunted(seed: int) -> tuple[Result, Run]:
    """Run one seed as a hunt does."""
    return run_world(hunting_ground(seed))


def hunt_in(name: str, worlds: Iterable[Options]) -> Hunt:
    """Run the clusters of these worlds with the bug in, until a checker speaks.

    Without the bug it must be silent, else what it says is about something else. That it cannot
    tell is no finding.
    """
    began = time.monotonic()
    for world in worlds:
        with planted(name):
            result, _ = run_world(world)
        found = result.failure and not result.undecided
        if found and not run_world(world)[0].failure:
            said = result.failure.splitlines()[0]
            assert not said.startswith("TypeError"), f"{name} does not fit what it replaces: {said}"
            return Hunt(name, world.seed, said, time.monotonic() - began)
    return Hunt(name, None, "not found", time.monotonic() - began)


def hunt_all(show: Callable[[Hunt], None], most: int, processes: int) -> tuple[int, int]:
    """Look for all bugs, so many at a time; how many were found, and how many were not.

    `show` is told of each in the order of their names' registration, as soon as it may be.
    """
    found = 0
    with ProcessPoolExecutor(processes) as pool:
        for ended in pool.map(partial(hunt, seeds=range(1, most + 1)), BUGS):
            show(ended)
            found += ended.seed is not None
    return found, len(BUGS) - found
