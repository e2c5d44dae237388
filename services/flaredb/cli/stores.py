"""store list|show|drain|remove: the stores as PD knows them, and how one leaves the cluster."""

import asyncio
import sys
import time
from collections.abc import Mapping
from typing import Annotated, Any

import typer
from msgspec import structs

from flaredb.cli.commands import cluster_command, not_found
from flaredb.cli.output import Format, note
from flaredb.cli.session import Session
from flaredb.client.drain_news import blocks_of
from flaredb.playground.record import PlaygroundRecord
from flaredb_schemas.ids import StoreId
from flaredb_schemas.pd_answers import DrainProgress, StoreRow

COLUMNS = ("id", "state", "last_seen", "regions", "leaders", "damaged", "used", "labels")

NAME = "name"
"""The label by which a playground knows its stores."""

StoreNumber = Annotated[int, typer.Argument(metavar="ID", help="The store's number.")]


def add_store_commands(app: typer.Typer) -> None:
    """Put the group `store` into `app`."""
    stores = typer.Typer(help="Stores: processes that hold replicas.", no_args_is_help=True)
    cluster_command(stores, "list", "flaredb store list", "flaredb store list --all")(store_list)
    cluster_command(stores, "show", "flaredb store show 1 -o json")(store_show)
    drain = "flaredb store drain 3", "flaredb store drain 3 --cancel"
    cluster_command(stores, "drain", *drain)(store_drain)
    cluster_command(stores, "remove", "flaredb store remove 3")(store_remove)
    app.add_typer(stores, name="store")


async def store_list(
    session: Session,
    every: Annotated[bool, typer.Option("--all", help="Also those that were removed.")] = False,
) -> None:
    """The stores of the cluster."""
    rows = await (await session.db()).placement.stores(removed=every)
    records = [store_record(row, session.reach.playground) for row in rows]
    if session.printer.form is Format.TABLE:
        for row, record in zip(rows, records, strict=True):
            record["last_seen"] = _ago(record["last_seen_ms"])
            record["state"] = _state(row)
            record["labels"] = labels_text(row.labels)
    here, away = ("pid", "data", "log"), ("free", "cpu", "boot")
    more = away if session.reach.playground is None else here
    session.printer.records(records, (*COLUMNS, *more))


async def store_show(session: Session, number: StoreNumber) -> None:
    """One store; also one that was removed."""
    _show(session, await _store(session, number))


async def store_drain(
    session: Session,
    number: StoreNumber,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until it is empty.")] = True,
    cancel: Annotated[bool, typer.Option("--cancel", help="Empty it no more.")] = False,
) -> None:
    """Empty a store while the cluster serves: leaders and replicas go to others.

    Nothing comes to it meanwhile. Once it is empty it can be removed. Exit code 5 if nothing can
    leave it for ten seconds, and why; PD goes on as soon as something can.
    """
    await _store(session, number)
    placement = (await session.db()).placement
    if cancel:
        row = await placement.keep(StoreId(number))
    else:
        row = await placement.drain(StoreId(number))
        row = await _drained(session, row) if wait else row
    _show(session, row)


async def store_remove(session: Session, number: StoreNumber) -> None:
    """Take an empty store out of the cluster for ever: its process ends.

    Its number and its data folder are not accepted again. Also one that is down for good, once its
    replicas have been made anew elsewhere.
    """
    await _store(session, number)
    _show(session, await (await session.db()).placement.remove(StoreId(number)))


def store_record(row: StoreRow, playground: PlaygroundRecord | None) -> dict[str, Any]:
    """A store as JSON tells it; with its process, where it runs in a playground of this machine."""
    record = structs.asdict(row)
    if row.drain is not None:
        blocked = [structs.asdict(block) for block in row.drain.blocked]
        record["drain"] = {**structs.asdict(row.drain), "blocked": blocked}
    for process in playground.processes if playground else ():
        if process.name == row.labels.get(NAME):
            told = structs.asdict(process)
            record |= {name: told[name] for name in ("name", "pid", "log", "ops", "data")}
    return record


def labels_text(labels: Mapping[str, str]) -> str:
    """Where a store stands, in a cell, but not what it is called."""
    told = [f"{name}={value}" for name, value in sorted(labels.items()) if name != NAME]
    return ", ".join(told) or "-"


def progress_of(drain: DrainProgress) -> str:
    """How far a drain is, in one line."""
    if drain.is_empty:
        return "empty"
    began = f" of {drain.began_with}" if drain.began_with else ""  # lost with the journal
    parts = [f"{drain.replicas}{began} replicas left"]
    parts += [f"{drain.leaders} leaders left"] if drain.leaders else []
    parts += [f"{drain.bytes / 2**20:.1f} MiB left"]
    parts += [f"{drain.cleaning} being cleaned up"] if drain.cleaning else []
    parts += [f"{drain.moving} under way"] if drain.moving else []
    if drain.seconds_left is not None and drain.replicas:
        parts.append(f"about {drain.seconds_left:.0f} s")
    return ", ".join(parts)


def _show(session: Session, row: StoreRow) -> None:
    record = store_record(row, session.reach.playground)
    if session.printer.form is Format.TABLE:
        record["labels"] = labels_text(row.labels)
        record["last_seen"] = _ago(record.pop("last_seen_ms"))
    if session.printer.form is Format.TABLE and row.drain is not None:
        record["drain"] = progress_of(row.drain)
        if row.drain.blocked:
            record["waits"] = blocks_of(row.drain)
    session.printer.record(record)


async def _drained(session: Session, row: StoreRow) -> StoreRow:
    """The store once it is empty, or kept; who looks at a terminal sees how far it is."""
    number = row.id
    try:
        async for seen in (await session.db()).placement.watch_drain(number):
            row = seen
            if row.drain is not None and sys.stderr.isatty():
                note(progress_of(row.drain))
    except (asyncio.CancelledError, KeyboardInterrupt):
        note(f"interrupted: PD goes on; end it: flaredb store drain {number} --cancel")
        raise
    return row


def _state(row: StoreRow) -> str:
    """Health and life in a cell."""
    if row.drain is None:
        return row.state
    away = f", {row.health}" if row.health != "up" else ""
    return f"draining{away}, {'empty' if row.drain.is_empty else f'{row.drain.replicas} left'}"


def _ago(moment_ms: int | None) -> str:
    if moment_ms is None:
        return "not yet"
    return f"{max(0.0, time.time() - moment_ms / 1000):.0f} s ago"


async def _store(session: Session, number: int) -> StoreRow:
    rows = await (await session.db()).placement.stores(removed=True)
    found = [row for row in rows if row.id == number]
    if not found:
        raise not_found(f"there is no store {number}", "see `flaredb store list`")
    return found[0]
