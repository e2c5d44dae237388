"""Each scheme meets the moment for which it was made, and the checkers see what a missing safeguard
does there; without the schemes these bugs stayed hidden for hundreds of seeds.

Each is alone in small worlds where nothing else goes wrong, so that it comes to its end often. That
it does so amid other troubles, too, is for `python -m tests.simulator --bugs` to show.
"""

import msgspec
import pytest

from tests.simulator import run
from tests.simulator.hunting import CALM_STORES, calm, hunt_in
from tests.simulator.options import Options
from tests.simulator.schemes import schemes
from tests.simulator.schemes.figure8 import Figure8
from tests.simulator.schemes.forgotten_vote import ForgottenVote
from tests.simulator.schemes.half_installed import HalfInstalled
from tests.simulator.schemes.held_heir import HeldHeir
from tests.simulator.schemes.late_split import LateSplit
from tests.simulator.schemes.outlived import Outlived
from tests.simulator.schemes.outranked import Outranked
from tests.simulator.schemes.scheme import Scheme
from tests.simulator.schemes.two_masters import TwoMasters

WORLDS = range(1, 41)
"""Each bug is found in every fifth of them or more often."""

CHECK_BUDGET = 25_000
"""A history that is harder to judge is no finding, and must not cost a minute to say so."""


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The checker gives up soon."""
    monkeypatch.setattr(run, "CHECK_BUDGET", CHECK_BUDGET)


def neighbours(seed: int) -> Options:
    """As `calm`, with regions that are cut by hand alone, and busy clients."""
    world = calm(seed)
    return msgspec.structs.replace(
        world,
        boundaries=(b"m",),
        disk=msgspec.structs.replace(world.disk, job=0.02),
        workload=msgspec.structs.replace(world.workload, pause=0.1, check=0.0),
        troubles=msgspec.structs.replace(world.troubles, split=4.0),
        settings=msgspec.structs.replace(
            world.settings,
            election_ticks=5,
            split_keys=1_000,
            split_bytes=96 * 2**20,
            split_requests_per_second=1_000_000,
            split_load_bytes_per_second=2**30,
        ),
        merge_after=3_600.0,
    )


@pytest.mark.timeout(300)
def test_a_source_that_serves_reads_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schemes, "KINDS", (TwoMasters,))
    found = hunt_in("source-serves-reads", map(neighbours, WORLDS))
    assert found.seed is not None and "not linearizable" in found.said


def with_a_spare_store(seed: int) -> Options:
    """As `neighbours`, with a fourth store and logs that are kept."""
    world = neighbours(seed)
    return msgspec.structs.replace(
        world,
        stores=CALM_STORES + 1,
        first_stores=CALM_STORES + 1,
        clock_rates=(*world.clock_rates, 1.0),
        settings=msgspec.structs.replace(world.settings, log_keep_entries=200),
        troubles=msgspec.structs.replace(world.troubles, split=0.0),
    )


@pytest.mark.timeout(300)
def test_a_split_that_brings_back_who_has_left_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schemes, "WITH_A_SPARE_STORE", (LateSplit,))
    monkeypatch.setattr(schemes, "CHANCE", 1.0)
    found = hunt_in("child-over-tombstone", map(with_a_spare_store, WORLDS))
    assert found.seed is not None and "buried here" in found.said


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("kind", "bug", "says"),
    [
        (Figure8, "old-term-commit", "became"),
        (ForgottenVote, "vote-request-before-save", "two leaders of"),
        (HalfInstalled, "installing-not-resumed", "region"),
        (HeldHeir, "read-before-applied", "not linearizable"),
        (Outlived, "read-joins-sent-round", "not linearizable"),
        (Outranked, "stale-order-obeyed", "is obeyed, saved is"),
    ],
)
def test_a_scheme_shows_its_bug(
    kind: type[Scheme], bug: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schemes, "KINDS", (kind,))
    found = hunt_in(bug, map(calm, WORLDS))
    assert found.seed is not None and says in found.said
