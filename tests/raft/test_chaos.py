"""Groups under chance. `python -m pytest tests/raft/test_chaos.py -k "[SEED]"` replays a seed."""

import pytest

from tests.raft.chaos import shake

SEEDS = range(40)


@pytest.mark.parametrize("seed", SEEDS, ids=lambda seed: f"[{seed}]")
def test_safety_and_then_progress(seed: int) -> None:
    shake(seed)
