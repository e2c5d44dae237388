"""demo: a cluster under load loses a store, gets one more, and empties another; in figures."""

import asyncio
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from flaredb.cli.board import board
from flaredb.cli.commands import Output, examples, guarded
from flaredb.cli.output import ExitCode, Format, Printer, as_json, note
from flaredb.cli.playground import cannot_start
from flaredb.cli.progress import progress
from flaredb.demo import run as demonstration
from flaredb.demo.library import standard_library
from flaredb.playground.process import ProcessFailed
from flaredb.playground.record import FolderUnusable
from flaredb.playground.supervisor import LocalCluster
from flaredb_schemas.keys import show_range

STORES = 3

SPLIT_SHARE = 10
"""A region may hold a tenth of the library, however large it is: it splits several times."""


def add_demo_command(app: typer.Typer) -> None:
    """Put `demo` into `app`."""
    app.command("demo", epilog=examples("flaredb demo", "flaredb demo -o json --dir /tmp/demo"))(
        demo
    )


def demo(
    dir_: Annotated[
        Path | None, typer.Option("--dir", help="Keep the data here, not in a temporary folder.")
    ] = None,
    output: Output = Format.TABLE,
    no_progress: Annotated[bool, typer.Option("--no-progress", help="Show no bars.")] = False,
) -> None:
    """Start three stores, load Python's standard library, kill a store meanwhile, check it all.

    A region may hold a tenth of it here, so regions split while they are loaded. Then, while
    clients go on writing, a fourth store joins and gets its share, a region moves by hand, and a
    store is drained.

    Exit code 1 if a promise was not kept.
    """
    guarded(output, lambda: _run(dir_, output, not no_progress))


def _run(folder: Path | None, form: Format, bars: bool) -> None:
    rows = standard_library()
    note(f"{len(rows)} rows of the standard library, {sum(map(len, rows.values())):,} bytes")
    most = sum(map(len, rows.values())) // SPLIT_SHARE
    cluster = LocalCluster(folder, stores=STORES, settings={"split_bytes": str(most)})
    try:
        cluster.start(on_progress=lambda name: note(f"{name} is up"))
        screen = demonstration.Screen(
            note,
            lambda what, total: progress(what, total, bars),
            partial(board, wanted=bars),
        )
        outcome = asyncio.run(demonstration.demonstrate(cluster, rows, screen))
    except (FolderUnusable, ProcessFailed, OSError) as fault:
        raise cannot_start(fault, cluster.path) from fault
    finally:
        cluster.close()
    if form is Format.TABLE:
        _show(outcome)
    else:
        Printer(form).line(as_json(demonstration.as_json(outcome)))
    if not outcome.ok:
        raise typer.Exit(ExitCode.ERROR)


def _show(outcome: demonstration.Outcome) -> None:
    printer = Printer(Format.TABLE)
    printer.table(
        ("region", "range", "leader", "stores", "keys", "bytes"),
        [
            (
                region.route.region.id,
                show_range(region.route.region.keys),
                f"store {region.route.store}",
                " ".join(map(str, region.route.region.stores)),
                f"{region.rows:,}",
                f"{region.bytes:,}",
            )
            for region in outcome.regions
        ],
        title="Regions",
    )
    printer.table(
        ("", "criterion", "figure", "meaning"),
        [
            ("ok" if one.ok else "MISSED", name, one.value, one.meaning)
            for name, one in outcome.criteria.items()
        ],
        title="Criteria",
    )
    printer.line(
        f"loaded in {outcome.load_s:.1f} s, {outcome.splits} splits; {outcome.writes:,} writes, "
        f"{outcome.writes_failed} failed; "
        f"{outcome.keys_verified:,} keys read back and equal; "
        f"longest time without an acknowledged write {outcome.longest_gap_s:.2f} s"
    )
