"""The order of a test run: what is quick first, real processes after it, containers last.

`--rewrite` lets stories and golden files hold what came instead of what was expected.
"""

import atexit
import os
import sys
from pathlib import Path

import pytest
from hypothesis import settings

# How long one example takes says more about the machine than about the code.
settings.register_profile("any-machine", deadline=None)
settings.load_profile("any-machine")


def pace(item: pytest.Item) -> int:
    """How far back in a run a test stands."""
    if item.get_closest_marker("containers"):
        return 2
    return 1 if item.get_closest_marker("cluster") else 0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Within one pace the order stays as it was collected."""
    items.sort(key=pace)


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options that tests share."""
    parser.addoption("--rewrite", action="store_true", help="write expectations anew, for review")
    parser.addoption("--figures", type=Path, help="append what tests measure to this file")
    parser.addoption("--repeats", type=int, default=1, help="how often to run what takes chance")


def pytest_configure() -> None:
    """At the very end only pytest's closing line shall stand."""
    atexit.register(_be_silent)


def _be_silent() -> None:
    """At the interpreter's end DuckDB's binding (nanobind) lists which of its types still live.

    All connections are closed then; but Hypothesis, and pydantic which Typer uses, keep functions
    alive past that end whose annotations name those types. The exit code still tells of a crash.
    """
    if "duckdb" in sys.modules:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 2)
        os.close(nowhere)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that takes `repeat` runs as often as the option says."""
    if "repeat" in metafunc.fixturenames:
        metafunc.parametrize("repeat", range(metafunc.config.getoption("--repeats")))


@pytest.fixture
def rewrite(request: pytest.FixtureRequest) -> bool:
    """Whether expectations are to be written anew."""
    return bool(request.config.getoption("--rewrite"))
