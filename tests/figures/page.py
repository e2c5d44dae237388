"""The page of figures, written from what was kept."""

from collections.abc import Iterable, Mapping
from typing import Final

from msgspec import Struct

from tests.bench.machine import Machine
from tests.figures.cut_rows import CUTS
from tests.figures.growth_rows import GROWTH
from tests.figures.move_rows import MOVES
from tests.figures.rows import CORRECTNESS, SPEED, Row
from tests.figures.runs import Found
from tests.figures.scale_rows import SCALE

BEGIN: Final = "<!-- measured: written by `make figures` -->"
END: Final = "<!-- end of what was measured -->"

TITLE: Final = "# Figures\n"


class Kept(Struct, frozen=True):
    """One run: what it found, and everything that is needed to doubt it.

    `commands` are as somebody would type them. `dirty` says that the checkout held changes beyond
    the commit.
    """

    found: Found
    commands: tuple[str, ...]
    commit: str
    dirty: bool
    date: str
    seconds: float
    exit_codes: tuple[int, ...]
    memory_gib: float
    machine: Machine


def write_page(before: str, kept: Mapping[str, Kept]) -> str:
    """The page with its measured part renewed; whatever stands outside the markers stays."""
    head, begin, rest = before.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        head, tail = before or TITLE, "\n"
    return f"{head.rstrip()}\n\n{BEGIN}\n{measured_part(kept)}\n{END}{tail}"


def measured_part(kept: Mapping[str, Kept]) -> str:
    """The tables of all lines."""
    return (
        f"\n## Correctness\n\n{_table(CORRECTNESS, kept)}\n"
        f"\n## Regions that split and are merged\n\n{_table(GROWTH, kept)}\n"
        f"\n## Replicas that move\n\n{_table(MOVES, kept)}\n"
        f"\n## Wires cut, PD killed, streams lost\n\n{_table(CUTS, kept)}\n"
        f"\n## Speed and memory\n\n{_table((*SPEED, *SCALE), kept)}\n"
        f"\n## When and where\n\n{_runs(kept)}\n"
    )


def _table(rows: Iterable[Row], kept: Mapping[str, Kept]) -> str:
    lines = ["| what | must hold | measured | verdict | run |", "|---|---|---|---|---|"]
    lines += [_line(row, kept.get(row.run)) for row in rows]
    return "\n".join(lines)


def _line(row: Row, kept: Kept | None) -> str:
    if kept is None:
        return f"| {row.what} | {row.must} | not measured yet | | {row.run} |"
    try:
        judged = row.judge(kept.found)
    except KeyError as missing:
        return f"| {row.what} | {row.must} | the run told no {missing} | **open** | {row.run} |"
    holds = judged.holds and not any(kept.exit_codes)
    verdict = "holds" if holds else "**open**"
    return f"| {row.what} | {row.must} | {judged.text} | {verdict} | {row.run} |"


def _runs(kept: Mapping[str, Kept]) -> str:
    lines = ["| run | commit | date | took | machine | command |", "|---|---|---|---|---|---|"]
    for name, run in kept.items():
        machine = run.machine
        where = (
            f"{machine.cores} cores, {run.memory_gib:g} GiB, Linux {machine.kernel}, Python "
            f"{machine.python}, {machine.file_system}, one sync {machine.sync_ms:.2f} ms"
        )
        commit = f"{run.commit}{' and changes' if run.dirty else ''}"
        commands = " ; ".join(f"`{command}`" for command in run.commands)
        lines.append(
            f"| {name} | {commit} | {run.date} | {run.seconds:.0f} s | {where} | {commands} |"
        )
    return "\n".join(lines)
