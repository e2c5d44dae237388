"""What the stores bear, as it changes: a table on a terminal, a line at each change in a pipe."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.live import Live
from rich.table import Table

from flaredb.cli.output import note
from flaredb.demo.spreading import Share

MIB: Final = 2**20
BAR: Final = 24
"""Characters of the longest bar."""

Show = Callable[[Sequence[Share]], None]


@contextmanager
def board(title: str, wanted: bool = True) -> Iterator[Show]:
    """Show on standard error what stores bear; without `wanted` only under which title."""
    note(title)
    if not wanted:
        yield lambda shares: None
    elif sys.stderr.isatty():
        with Live(console=Console(stderr=True), refresh_per_second=8) as live:
            yield lambda shares: live.update(drawn(shares))
    else:
        yield _lines()


def drawn(shares: Sequence[Share]) -> Table:
    """A row per store, with a bar as long as it bears replicas; those that lead are dark."""
    table = Table("store", "", "replicas", "leaders", "MiB", header_style="bold")
    most = max((one.replicas for one in shares), default=0)
    for one in shares:
        leaders, replicas = (
            round(BAR * count / max(1, most)) for count in (one.leaders, one.replicas)
        )
        bar = "█" * leaders + "░" * (replicas - leaders)
        counts = str(one.replicas), str(one.leaders), f"{one.bytes / MIB:.1f}"
        table.add_row(str(one.store), bar, *counts)
    return table


def in_a_line(shares: Sequence[Share]) -> str:
    """The same for a pipe."""
    parts = (f"store {one.store}: {one.replicas}, {one.leaders} lead" for one in shares)
    return "replicas: " + "; ".join(parts)


def _lines() -> Show:
    told = ""

    def show(shares: Sequence[Share]) -> None:
        nonlocal told
        if (line := in_a_line(shares)) != told:
            told = line
            note(line)

    return show
