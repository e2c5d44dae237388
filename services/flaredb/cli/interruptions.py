"""Ctrl-C: its exit code, and how it ends a wait that the event loop does not know of.

The loop's own handler cancels the command where it awaits. Raised anywhere else in a loop,
`KeyboardInterrupt` may strike between a future and whoever waits for it, who then waits for ever.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

INTERRUPTED: Final = 128 + signal.SIGINT
"""The exit code after Ctrl-C, as shells have it."""


@contextmanager
def interruptible() -> Iterator[None]:
    """Ctrl-C raises `KeyboardInterrupt` within the block, which must not await."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
