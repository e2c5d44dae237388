"""region move|transfer, operator list|show|cancel: replicas and leaders that go elsewhere."""

import asyncio
import sys
from typing import Annotated, Any

import typer
from msgspec import structs

from flaredb.cli.commands import cluster_command, not_found
from flaredb.cli.ledgers import ledger_record, show_ledger
from flaredb.cli.output import Format, note
from flaredb.cli.session import Session
from flaredb.client.errors import FlareDBError, UnavailableError
from flaredb_schemas.ids import OperatorId, RegionId, StoreId
from flaredb_schemas.pd_answers import OperatorRow

COLUMNS = (
    "id", "kind", "region", "state", "from_store", "to_store", "steps", "doing", "seconds",
    "trigger",
)  # fmt: skip

RegionNumber = Annotated[int, typer.Argument(metavar="ID", help="The region's number.")]
OperatorNumber = Annotated[int, typer.Argument(metavar="ID", help="The operator's number.")]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until it has ended.")]


def add_operator_commands(app: typer.Typer, regions: typer.Typer) -> None:
    """Put `move` and `transfer` into the group `regions`, and the group `operator` into `app`."""
    move = "flaredb region move 4 1 5", "flaredb region move 4 1 5 --no-wait -o json"
    cluster_command(regions, "move", *move)(region_move)
    cluster_command(regions, "transfer", "flaredb region transfer 4 2")(region_transfer)
    operators = typer.Typer(
        help="Operators: what PD does to replicas, step by step.", no_args_is_help=True
    )
    cluster_command(operators, "list", "flaredb operator list -o json")(operator_list)
    cluster_command(operators, "show", "flaredb operator show 57")(operator_show)
    cluster_command(operators, "cancel", "flaredb operator cancel 57")(operator_cancel)
    app.add_typer(operators, name="operator")


async def region_move(
    session: Session,
    number: RegionNumber,
    source: Annotated[int, typer.Argument(metavar="FROM", help="The store that has a replica.")],
    target: Annotated[int, typer.Argument(metavar="TO", help="The store that is to get it.")],
    wait: Wait = True,
) -> None:
    """Move a replica of a region to another store while the region serves."""
    await _expect(session, number, source, target)
    placement = (await session.db()).placement
    row = await placement.move(RegionId(number), StoreId(source), StoreId(target))
    await _finish(session, row, wait)


async def region_transfer(
    session: Session,
    number: RegionNumber,
    store: Annotated[int, typer.Argument(metavar="STORE", help="The store that is to lead.")],
    wait: Wait = True,
) -> None:
    """Have the replica on another store lead a region."""
    await _expect(session, number, store)
    row = await (await session.db()).placement.transfer(RegionId(number), StoreId(store))
    await _finish(session, row, wait)


async def operator_list(session: Session) -> None:
    """What PD does to replicas now, and has done of late."""
    rows = await (await session.db()).placement.operators()
    records = [operator_record(row) for row in rows]
    if session.printer.form is Format.TABLE:
        for record in records:
            record["steps"] = ", ".join(record["steps"])
    session.printer.records(records, COLUMNS)


async def operator_show(session: Session, number: OperatorNumber) -> None:
    """One operator: its steps, what it waits for, why it was chosen, and what came of it."""
    await _operator(session, number)
    row = await (await session.db()).placement.operator(OperatorId(number))
    if session.printer.form is Format.TABLE and row.ledger is not None:
        session.printer.record(operator_record(structs.replace(row, ledger=None)))
        show_ledger(session.printer, row.ledger)
    else:
        session.printer.record(operator_record(row))


async def operator_cancel(session: Session, number: OperatorNumber) -> None:
    """Give an operator up. A replica that it has begun to make is removed again by itself."""
    await _operator(session, number)
    row = await (await session.db()).placement.cancel(OperatorId(number))
    session.printer.record(operator_record(row))


def operator_record(row: OperatorRow) -> dict[str, Any]:
    """An operator as JSON tells it; with its ledger, where it was told."""
    record = {**structs.asdict(row), "steps": list(row.steps)}
    del record["ledger"]
    return record if row.ledger is None else {**record, **ledger_record(row.ledger)}


async def _finish(session: Session, row: OperatorRow, wait: bool) -> None:
    """Show what PD has undertaken, and before that wait for its end, if wanted."""
    if wait:
        row = await _ended(session, row)
    session.printer.record(operator_record(structs.replace(row, ledger=None)))
    if row.state not in ("running", "done"):
        raise _unfinished(row)


async def _ended(session: Session, row: OperatorRow) -> OperatorRow:
    """The operator at its end; who looks at a terminal sees how far it is."""
    number = row.id
    try:
        async for seen in (await session.db()).placement.watch(number):
            row = seen
            if sys.stderr.isatty():
                note(_progress(row))
    except (asyncio.CancelledError, KeyboardInterrupt):
        note(f"interrupted: operator {number} goes on; end it: flaredb operator cancel {number}")
        raise
    return row


def _progress(row: OperatorRow) -> str:
    what = row.doing if row.state == "running" else row.state
    return f"{row.seconds:7.1f} s  {', '.join(row.steps) or 'begun'}; {what}"


def _unfinished(row: OperatorRow) -> FlareDBError:
    text = f"operator {row.id} was not finished: {row.state}, {row.doing}"
    if row.state == "cancelled":
        return FlareDBError(text, hint="see `flaredb region show`", region_id=row.region)
    hint = "see `flaredb region show` and `flaredb store list`, and try again"
    return UnavailableError(text, hint=hint, region_id=row.region)


async def _expect(session: Session, region: int, *stores: int) -> None:
    """Raises if there is no such region, or no such store."""
    placement = (await session.db()).placement
    if region not in {row.id for row in await placement.regions()}:
        raise not_found(f"there is no region {region}", "see `flaredb region list`")
    known = {row.id for row in await placement.stores()}
    for store in stores:
        if store not in known:
            raise not_found(f"there is no store {store}", "see `flaredb store list`")


async def _operator(session: Session, number: int) -> OperatorRow:
    rows = await (await session.db()).placement.operators()
    found = [row for row in rows if row.id == number]
    if not found:
        raise not_found(f"there is no operator {number}", "see `flaredb operator list`")
    return found[0]
