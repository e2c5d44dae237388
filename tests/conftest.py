"""The order of a test run: what is quick first, real processes after it, containers last."""

import pytest


def pace(item: pytest.Item) -> int:
    """How far back in a run a test stands."""
    if item.get_closest_marker("containers"):
        return 2
    return 1 if item.get_closest_marker("cluster") else 0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Within one pace the order stays as it was collected."""
    items.sort(key=pace)
