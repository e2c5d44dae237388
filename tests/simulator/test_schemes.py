"""Each scheme meets the moment for which it was made, and the checkers see what a missing safeguard
does there; without the schemes these bugs stayed hidden for hundreds of seeds."""

from itertools import count, islice

import pytest

from tests.simulator.hunting import hunt
from tests.simulator.options import draw
from tests.simulator.schemes import schemes
from tests.simulator.schemes.figure8 import Figure8
from tests.simulator.schemes.half_installed import HalfInstalled
from tests.simulator.schemes.held_heir import HeldHeir
from tests.simulator.schemes.outlived import Outlived
from tests.simulator.schemes.scheme import Scheme

WORLDS = 40


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("kind", "bug", "says"),
    [
        (Figure8, "old-term-commit", "became"),
        (HalfInstalled, "installing-not-resumed", "region"),
        (HeldHeir, "read-before-applied", "not linearizable"),
        (Outlived, "read-joins-sent-round", "not linearizable"),
    ],
)
def test_a_scheme_shows_its_bug(
    kind: type[Scheme], bug: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schemes, "KINDS", (kind,))
    schemed = (seed for seed in count(1) if draw(seed).troubles.schemed)
    found = hunt(bug, islice(schemed, WORLDS))
    assert found.seed is not None and says in found.said
