"""The order of a test run: what is quick first, real processes after it, containers last.

`--rewrite` lets stories and golden files hold what came instead of what was expected.
"""

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
    """The option of all tests that compare with a file."""
    parser.addoption("--rewrite", action="store_true", help="write expectations anew, for review")


@pytest.fixture
def rewrite(request: pytest.FixtureRequest) -> bool:
    """Whether expectations are to be written anew."""
    return bool(request.config.getoption("--rewrite"))
