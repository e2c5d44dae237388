"""A handful of seeds, the same bytes from the same seed, and bugs that are found at once."""

import os
import subprocess
import sys
from collections import Counter
from functools import cache
from pathlib import Path
from unittest.mock import patch

import pytest

from flaredb_pd.forgetting import Forgetting
from tests.simulator.bugs import BUGS
from tests.simulator.healing import FEWEST_OPERATIONS
from tests.simulator.hunting import MODULES
from tests.simulator.minima import too_few
from tests.simulator.options import draw
from tests.simulator.run import Result, run_cluster, run_seed
from tests.simulator.troubles import FEWEST, KINDS

ROOT = Path(__file__).parents[2]

DIGEST = """
from tests.simulator.run import run_cluster, run_seed
result, _ = run_seed({seed})
print(result.digest, result.failure)
"""


SEEDS = range(1, 11)


@cache
def result_of(seed: int) -> Result:
    return run_seed(seed)[0]


@pytest.mark.parametrize("seed", SEEDS)
def test_seed(seed: int) -> None:
    """Nothing is lost, and everything comes to rest; the command below replays it."""
    result = result_of(seed)
    assert not result.failure, f"{result.failure}\nuv run python -m tests.simulator {seed}"
    assert result.totals["operations"] >= FEWEST_OPERATIONS
    assert result.totals["virtual_seconds"] >= 60
    assert sum(result.totals[kind] for kind in KINDS) >= FEWEST


def test_the_mix_has_splits_merges_moves_and_takeovers() -> None:
    totals = sum((result_of(seed).totals for seed in SEEDS), Counter[str]())
    assert not too_few(totals, len(SEEDS))


def test_a_mix_that_lacks_something_is_noticed() -> None:
    totals = Counter(split_regions=4_000, merged_regions=300, peers_changed=20_000, reigns=3_000)
    assert not too_few(totals, 2_000)
    for kind in totals:
        [said] = too_few(totals - Counter({kind: 1}), 2_000)
        assert kind in said


def test_the_same_seed_gives_the_same_bytes() -> None:
    """In other processes, whatever their hashes of strings and bytes are."""
    seed = 3
    lines = [_digest(seed, hash_seed) for hash_seed in ("1", "2")]
    here, _ = run_seed(seed)
    assert lines == [f"{here.digest} {here.failure}".strip()] * 2


@pytest.mark.parametrize(
    ("seed", "kinds"),
    [
        (20, ("journal_loss", "journal_loss_led")),
        (19, ("events_loss",)),
        (12, ("store_loss", "store_removed", "peers_forgotten")),
        (32, ("store_loss", "journal_loss", "store_removed", "peers_forgotten")),
    ],
)
def test_what_is_lost_for_good_is_made_up_for(seed: int, kinds: tuple[str, ...]) -> None:
    result, _ = run_cluster(seed)
    assert not result.failure
    assert all(result.totals[kind] for kind in kinds), result.totals


def test_peers_of_a_lost_store_that_are_never_forgotten_are_found() -> None:
    with patch.object(Forgetting, "tick", lambda *given: None):
        result, _ = run_cluster(12)
    assert "no progress: region" in result.failure and "names" in result.failure


def test_a_lost_store_that_is_lost_with_the_journal_is_found() -> None:
    with patch("flaredb_pd.reign.naming", lambda *given: ()):
        failures = [run_cluster(seed)[0].failure for seed in (27, 126)]
    assert any("no progress: store" in one and "not down" in one for one in failures), failures


def test_other_seeds_are_other_worlds() -> None:
    assert len({draw(seed).workload for seed in range(20)}) > 15
    assert run_seed(1)[0].digest != run_seed(2)[0].digest


def test_every_bug_changes_something_that_is_there() -> None:
    """A patch of a name that production code has lost would find nothing for ever."""
    assert MODULES
    for name, bug in BUGS.items():
        for target, attribute, value in bug.make():
            assert getattr(target, attribute) is not value, f"{name} changes nothing"


def _digest(seed: int, hash_seed: str) -> str:
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    command = [sys.executable, "-c", DIGEST.format(seed=seed)]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()
