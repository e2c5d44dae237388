"""Deliberate bugs, each behind one flag: the simulator must find every one of them.

Each is a patch of production code (or, where the rule is the client's, of the simulated client)
that takes one safeguard away; production code has no flags. A bug is named and described in one of
the `bugs_` modules; `python -m tests.simulator --bugs` looks for all of them.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

from msgspec import Struct

Change = tuple[object, str, Any]
"""An object, the name of its attribute, and what stands there while the bug is in."""


class Bug(Struct, frozen=True):
    """One missing safeguard."""

    what: str
    """What is wrong, in one line."""
    make: Callable[[], list[Change]]


BUGS: dict[str, Bug] = {}


def bug(name: str, what: str) -> Callable[[Callable[[], list[Change]]], Callable[[], list[Change]]]:
    """Register a bug; the function says which attributes it changes."""

    def register(make: Callable[[], list[Change]]) -> Callable[[], list[Change]]:
        assert name not in BUGS, f"two bugs are called {name}"
        BUGS[name] = Bug(what, make)
        return make

    return register


@contextmanager
def planted(name: str | None) -> Iterator[None]:
    """The bug is there while the context lasts."""
    with ExitStack() as stack:
        for target, attribute, value in BUGS[name].make() if name is not None else ():
            stack.enter_context(patch.object(target, attribute, value))
        yield
