"""How far long work has come: a bar on a terminal, a line now and then in a pipe."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from flaredb.cli.output import note

LINE_SECONDS: Final = 2.0

Advance = Callable[[int], None]
"""To be told how much more is done."""


@contextmanager
def progress(what: str, total: int | None, wanted: bool = True) -> Iterator[Advance]:
    """Show on standard error how much of `total` (None: not known) is done."""
    if not wanted:
        yield lambda count: None
    elif sys.stderr.isatty():
        with _bar(what, total) as advance:
            yield advance
    else:
        with _lines(what, total) as advance:
            yield advance


@contextmanager
def _bar(what: str, total: int | None) -> Iterator[Advance]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(what, total=total)
        yield lambda count: bar.advance(task, count)


@contextmanager
def _lines(what: str, total: int | None) -> Iterator[Advance]:
    done = 0
    told = time.monotonic()
    of = f" of {total}" if total is not None else ""

    def advance(count: int) -> None:
        nonlocal done, told
        done += count
        if time.monotonic() - told >= LINE_SECONDS:
            told = time.monotonic()
            note(f"{what}: {done}{of}")

    yield advance
    note(f"{what}: {done}{of}")
