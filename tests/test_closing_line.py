"""Whoever reads the end of `make test` reads pytest's closing line there."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]

MIX = ("tests/analytics/test_positions.py", "tests/schemas/test_keys.py")
"""DuckDB together with Hypothesis: what its binding complained of."""


def test_nothing_is_said_after_it() -> None:
    said = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *MIX],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert re.fullmatch(r"=+ \d+ passed in .* =+", said.stdout.splitlines()[-1]), said.stdout
