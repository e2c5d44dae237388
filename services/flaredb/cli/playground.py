"""playground: a whole cluster on this machine until it is told to stop."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from flaredb.cli.commands import examples, guarded
from flaredb.cli.output import Format, note
from flaredb.cli.session import HINT_SETTINGS
from flaredb.client.errors import FlareDBError, InvalidArgumentError
from flaredb.playground.process import ProcessFailed
from flaredb.playground.programs import is_free
from flaredb.playground.record import FolderUnusable
from flaredb.playground.supervisor import LocalCluster
from flaredb.runtime.settings import PlaygroundSettings
from flaredb.runtime.settings_sources import SettingsError, load

WATCH_SECONDS = 0.5


def add_playground_command(app: typer.Typer) -> None:
    """Put `playground` into `app`."""
    app.command(
        "playground",
        epilog=examples(
            "flaredb playground", "flaredb playground --stores 5 --dir /tmp/five",
            "flaredb playground --stores 6 --zones 3",
            "flaredb playground --nats nats://127.0.0.1:4222",
        ),
    )(playground)  # fmt: skip


def playground(
    dir_: Annotated[
        Path | None, typer.Option("--dir", help="Folder of all data and logs [.flaredb].")
    ] = None,
    stores: Annotated[int | None, typer.Option("--stores", help="How many stores [3].")] = None,
    zones: Annotated[
        int | None, typer.Option("--zones", help="In how many zones they stand by turns [0].")
    ] = None,
    nats: Annotated[
        str, typer.Option("--nats", help="Use this NATS instead of starting one.")
    ] = "",
    http: Annotated[
        str | None, typer.Option("--http", help="Where SQL answers, host:port [127.0.0.1:7480].")
    ] = None,
    analytics: Annotated[
        bool, typer.Option("--analytics/--no-analytics", help="Keep history and answer SQL.")
    ] = True,
) -> None:
    """Run NATS, PD, stores and analytics on this machine until Ctrl-C.

    Data stays in the folder; other commands find the cluster by it.
    """
    settings = partial(_settings, dir_, stores, zones, http)
    guarded(Format.TABLE, lambda: _run(settings(), nats, http, analytics))


def _run(settings: PlaygroundSettings, nats: str, http: str | None, analytics: bool) -> None:
    # An address that was not asked for may be another's already: any other one will do.
    wanted = settings.http if http or is_free(settings.http) else None
    cluster = LocalCluster(
        Path(settings.dir),
        stores=settings.stores,
        analytics=analytics,
        nats_url=nats,
        nats_server=settings.nats_server,
        prefix=settings.prefix,
        http=wanted,
        zones=settings.zones,
    )
    with _told_to_stop() as stop:
        try:
            cluster.start(on_progress=lambda name: note(f"{name} is up"))
        except (FolderUnusable, ProcessFailed, OSError) as fault:
            raise cannot_start(fault, Path(settings.dir)) from fault
        try:
            _announce(cluster)
            _watch(cluster, stop)
        finally:
            note("stopping")
            cluster.close()


def cannot_start(fault: Exception, folder: Path) -> FlareDBError:
    """The error of a cluster that does not come up."""
    told = fault.hint if isinstance(fault, FolderUnusable) else ""
    return FlareDBError(str(fault), hint=told or f"what each process says: {folder / 'logs'}")


def _settings(
    folder: Path | None, stores: int | None, zones: int | None, http: str | None
) -> PlaygroundSettings:
    flags = {
        "dir": str(folder) if folder else None,
        "stores": None if stores is None else str(stores),
        "zones": None if zones is None else str(zones),
        "http": http,
    }
    try:
        return load(PlaygroundSettings, flags, os.environ)[0]
    except SettingsError as fault:
        raise InvalidArgumentError(str(fault), hint=HINT_SETTINGS) from fault


def _announce(cluster: LocalCluster) -> None:
    typer.echo(f"NATS      {cluster.url}")
    typer.echo(f"SQL       {cluster.http_url or 'none'}")
    typer.echo(f"Data      {cluster.path}")
    typer.echo("Ready. Ctrl-C stops everything. Try in another terminal:")
    at = "" if str(cluster.path) == ".flaredb" else f" --dir {cluster.path}"
    typer.echo(f"  flaredb put a 1{at}")
    typer.echo(f"  flaredb region list{at}")
    typer.echo(f"  flaredb events -f{at}")


def _watch(cluster: LocalCluster, stop: threading.Event) -> None:
    """Tell of processes that end; nothing is started again."""
    known: set[str] = set()
    while not stop.wait(WATCH_SECONDS):
        dead = set(cluster.dead())
        for name in sorted(dead - known):
            child = cluster.children[name]
            note(f"{name} {_ending(child.exit_code)}; see {child.log}")
        if dead != known:
            cluster.tell()
        known = dead


def _ending(code: int | None) -> str:
    if code is not None and code < 0:
        return f"was ended by {signal.Signals(-code).name}"
    return f"ended with code {code}"


@contextmanager
def _told_to_stop() -> Iterator[threading.Event]:
    """An event that SIGTERM sets, and SIGINT; before it is looked at, they interrupt."""
    stop = threading.Event()
    previous = {
        number: signal.signal(number, lambda *_: stop.set())
        for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
