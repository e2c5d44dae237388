"""Deliberate bugs, each behind one flag: the simulator must find every one of them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

Plant = Callable[[], Callable[[], None]]
"""Plants a bug; what it returns takes the bug out again."""

BUGS: dict[str, Plant] = {}


@contextmanager
def planted(name: str | None) -> Iterator[None]:
    """The bug is there while the context lasts."""
    if name is None:
        yield
        return
    remove = BUGS[name]()
    try:
        yield
    finally:
        remove()
