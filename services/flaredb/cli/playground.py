"""playground: a whole cluster on this machine until it is told to stop."""

import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from flaredb.cli.commands import examples, guarded
from flaredb.cli.condition import find_trouble
from flaredb.cli.output import Format, note
from flaredb.cli.session import HINT_SETTINGS
from flaredb.client.errors import FlareDBError, InvalidArgumentError
from flaredb.playground.ports import LOCALHOST, is_free
from flaredb.playground.process import ProcessFailed
from flaredb.playground.record import FolderUnusable, stores_in
from flaredb.playground.supervisor import LocalCluster
from flaredb.runtime.settings import PdSettings, PlaygroundSettings
from flaredb.runtime.settings_sources import Kind, Origins, SettingsError, load

WATCH_SECONDS = 0.5

NATS_PORT = 4222
"""Where clients look for NATS by default: here, unless somebody else listens there."""

SERVED_SECONDS = 30.0
"""How long every region may take to be led before it is told what is missing."""
POLL_SECONDS = 0.1
CALL_SECONDS = 2.0


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
        int | None,
        typer.Option("--zones", help=r"In how many zones they stand by turns \[as before]."),
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

    Data stays in the folder; other commands find the cluster by it. Started again on it, as many
    stores run as did before, in the same zones.
    """
    settings = partial(_settings, dir_, stores, zones, http)
    guarded(Format.TABLE, lambda: _run(*settings(), nats, analytics))


def _run(settings: PlaygroundSettings, origins: Origins, nats: str, analytics: bool) -> None:
    # An address that was not asked for may be another's already: any other one will do.
    asked = origins["http"] != "default"
    wanted = settings.http if asked or is_free(settings.http) else None
    cluster = LocalCluster(
        Path(settings.dir),
        stores=_how_many(settings, _load(PdSettings, {})[0].replicas),
        analytics=analytics,
        nats_url=nats,
        nats_server=settings.nats_server,
        prefix=settings.prefix,
        http=wanted,
        zones=None if origins["zones"] == "default" else settings.zones,
        nats_port=NATS_PORT if is_free(f"{LOCALHOST}:{NATS_PORT}") else 0,
    )
    with _interrupted_by_sigterm():
        if nats and not stores_in(Path(settings.dir)):
            _check_alone(cluster)
        try:
            cluster.start(on_progress=lambda name: note(f"{name} is up"))
        except (FolderUnusable, ProcessFailed, OSError) as fault:
            raise cannot_start(fault, Path(settings.dir)) from fault
        with _told_to_stop() as stop:
            try:
                _tell_dead(cluster, set())
                _announce(cluster, _wait_until_served(cluster, stop))
                _watch(cluster, stop)
            finally:
                note("stopping")
                cluster.close()


def _check_alone(cluster: LocalCluster) -> None:
    """NATS that is named answers, and stores of a new folder would not join another cluster."""
    with cluster.connect(timeout=CALL_SECONDS) as db:
        try:
            db.status()
        except FlareDBError:
            return  # no PD is there
    raise InvalidArgumentError(
        f"a cluster runs at {cluster.url} already, which stores of a new folder would join",
        hint="use that one: --nats with any command; or keep this one apart: FLAREDB_PREFIX=other "
        "here, and for the commands that use it from elsewhere",
    )


def _how_many(settings: PlaygroundSettings, replicas: int) -> int:
    """As many stores as are asked for, at least as many as were before; enough for `replicas`."""
    before = stores_in(Path(settings.dir))
    if settings.stores < before:
        note(f"{settings.dir} holds {before} stores: all of them are started")
    count = max(settings.stores, before)
    if count < replicas:
        raise InvalidArgumentError(
            f"{replicas} replicas of each region need as many stores, not {count}",
            hint=f"--stores {replicas} or more; or FLAREDB_REPLICAS=1 for one replica",
        )
    return count


def _wait_until_served(cluster: LocalCluster, stop: threading.Event) -> str:
    """Wait until every key is served; what is in the way if that takes long."""
    deadline, trouble = time.monotonic() + SERVED_SECONDS, ""
    try:
        with cluster.connect(timeout=CALL_SECONDS) as db:
            while not stop.wait(POLL_SECONDS):
                try:
                    trouble = find_trouble(db.status())
                except FlareDBError as fault:
                    trouble = str(fault)
                if not trouble or time.monotonic() > deadline:
                    break
    except FlareDBError as fault:  # NATS has gone again
        return str(fault)
    return trouble


def cannot_start(fault: Exception, folder: Path) -> FlareDBError:
    """The error of a cluster that does not come up."""
    told = fault.hint if isinstance(fault, FolderUnusable | ProcessFailed) else ""
    return FlareDBError(str(fault), hint=told or f"what each process says: {folder / 'logs'}")


def _settings(
    folder: Path | None, stores: int | None, zones: int | None, http: str | None
) -> tuple[PlaygroundSettings, Origins]:
    flags = {
        "dir": str(folder) if folder else None,
        "stores": None if stores is None else str(stores),
        "zones": None if zones is None else str(zones),
        "http": http,
    }
    return _load(PlaygroundSettings, flags)


def _load(kind: type[Kind], flags: Mapping[str, object]) -> tuple[Kind, Origins]:
    try:
        return load(kind, flags, os.environ)
    except SettingsError as fault:
        raise InvalidArgumentError(str(fault), hint=HINT_SETTINGS) from fault


def _announce(cluster: LocalCluster, trouble: str) -> None:
    typer.echo(f"NATS      {cluster.url}")
    typer.echo(f"SQL       {cluster.http_url or 'none'}")
    typer.echo(f"Data      {cluster.path}")
    served = f"Not all is served yet ({trouble})" if trouble else "Ready"
    typer.echo(f"{served}. Ctrl-C stops everything. Try in another terminal:")
    at = "" if str(cluster.path) == ".flaredb" else f" --dir {cluster.path}"
    typer.echo(f"  flaredb put a 1{at}")
    typer.echo(f"  flaredb region list{at}")
    typer.echo(f"  flaredb events -f{at}")


def _watch(cluster: LocalCluster, stop: threading.Event) -> None:
    """Tell of processes that end; nothing is started again."""
    known = set(cluster.dead())
    while not stop.wait(WATCH_SECONDS):
        known = _tell_dead(cluster, known)


def _tell_dead(cluster: LocalCluster, known: set[str]) -> set[str]:
    """Tell of the processes that have ended, but for the known ones; all that have."""
    dead = set(cluster.dead())
    for name in sorted(dead - known):
        child = cluster.children[name]
        by_itself = child.exit_code is not None and child.exit_code > 0
        said = f": {child.last_words}" if by_itself else ""
        note(f"{name} {_ending(child.exit_code)}{said}; see {child.log}")
    if dead != known:
        cluster.retire()
        cluster.tell()
    return dead


def _ending(code: int | None) -> str:
    if code is not None and code < 0:
        return f"was ended by {signal.Signals(-code).name}"
    return f"ended with code {code}"


@contextmanager
def _interrupted_by_sigterm() -> Iterator[None]:
    """SIGTERM interrupts as SIGINT does: what was begun is ended in order."""
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


@contextmanager
def _told_to_stop() -> Iterator[threading.Event]:
    """An event that SIGTERM sets, and SIGINT."""
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
