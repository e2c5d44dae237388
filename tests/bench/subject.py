"""What can be measured: something with three replicas that is started, driven and stopped."""

import asyncio
import signal
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final, Protocol

from flaredb.playground.process import Child
from tests.bench.load import KeyOrder, Measurement, Stopwatch

START_SECONDS: Final = 40.0
STOP_SECONDS: Final = 10.0


class Subject(Protocol):
    """One turn: `start`, some `drive`, `checks`, `stop`. A subject is used for one turn only."""

    async def start(self, folder: Path) -> None:
        """Run it with its data in `folder`, empty, and be connected."""
        ...

    async def drive(self, measurement: Measurement, keys: KeyOrder, stopwatch: Stopwatch) -> None:
        """Keep the calls in flight until the stopwatch is done; raise if any call fails."""
        ...

    async def checks(self, seconds: float) -> dict[str, float]:
        """Answers per second that another driver reaches, by name, to judge this one's."""
        ...

    async def stop(self) -> None:
        """End whatever `start` began, also if it did not come to its end."""
        ...


class CannotRun(Exception):
    """The subject is not installed here; the text says what is missing."""


async def start_all(children: Iterable[Child]) -> None:
    """Start the processes and wait until all serve. Raises `ProcessFailed`.

    They are started from the loop's own thread, because children die with the thread that did.
    """
    children = list(children)
    deadline = time.monotonic() + START_SECONDS
    for child in children:
        child.start()
    for child in children:
        await asyncio.to_thread(child.wait_ready, deadline)


async def stop_all(children: Iterable[Child]) -> None:
    """End the processes, each by its id, and wait until they are gone."""
    children = list(children)
    for child in children:
        child.signal(signal.SIGTERM)
    for child in children:
        await asyncio.to_thread(child.wait, STOP_SECONDS)
