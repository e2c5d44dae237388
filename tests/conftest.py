"""The order of a test run: what is quick first, real processes after it, containers last.

`--rewrite` lets stories and golden files hold what came instead of what was expected.
"""

from pathlib import Path

import pytest


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


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that takes `repeat` runs as often as the option says."""
    if "repeat" in metafunc.fixturenames:
        metafunc.parametrize("repeat", range(metafunc.config.getoption("--repeats")))


@pytest.fixture
def rewrite(request: pytest.FixtureRequest) -> bool:
    """Whether expectations are to be written anew."""
    return bool(request.config.getoption("--rewrite"))
