"""status, region list|show|check|split|merge: the cluster as PD knows it."""

import asyncio
import base64
from typing import Annotated, Any

import typer
from msgspec import structs

from flaredb.cli.commands import cluster_command, not_found
from flaredb.cli.condition import find_lacks, find_trouble, is_short, why_without_majority
from flaredb.cli.keys import Typed
from flaredb.cli.operators import Wait, add_operator_commands
from flaredb.cli.output import Format, note
from flaredb.cli.session import Session
from flaredb.cli.stores import add_store_commands
from flaredb.cli.texts import Notation, parse
from flaredb.client.errors import FlareDBError, UnavailableError, UndeterminedError
from flaredb_schemas.ids import RegionId
from flaredb_schemas.pd_answers import MergeRow, RegionRow

REGION_COLUMNS = (
    "id", "state", "start", "end", "leader_store", "peers", "version", "conf_ver", "keys", "bytes",
)  # fmt: skip

RegionNumber = Annotated[int, typer.Argument(metavar="ID", help="The region's number.")]


def add_placement_commands(app: typer.Typer) -> None:
    """Put `status` and the groups `region` and `store` into `app`."""
    cluster_command(app, "status", "flaredb status", "flaredb status -o json")(status)
    regions = typer.Typer(help="Regions: ranges of keys and their replicas.", no_args_is_help=True)
    cluster_command(regions, "list", "flaredb region list -o json")(region_list)
    cluster_command(regions, "show", "flaredb region show 4")(region_show)
    cluster_command(regions, "check", "flaredb region check 4")(region_check)
    cluster_command(
        regions, "split", "flaredb region split 4", "flaredb region split 4 --key user:5000"
    )(region_split)
    cluster_command(regions, "merge", "flaredb region merge 5", "flaredb region merge 5 --into 4")(
        region_merge
    )
    add_operator_commands(app, regions)
    app.add_typer(regions, name="region")
    add_store_commands(app)


async def status(session: Session) -> None:
    """Whether the cluster runs and every region serves. Exit code 5 if not.

    It is `degraded` while it serves, and something is missing: a store, or a replica of a region.
    """
    placement = (await session.db()).placement
    pd = await placement.status()
    regions = await placement.regions()
    playground = session.reach.playground
    trouble = find_trouble(pd)
    lacks = find_lacks(await placement.stores(), regions)
    record: dict[str, Any] = {
        "state": "unavailable" if trouble else "degraded" if lacks else "available",
        "ready": not trouble,
        "doing": trouble,
        "lacks": lacks,
        "nats": session.reach.url,
        "http": playground.http_url if playground else "",
        "cluster": pd.cluster,
        "pd": pd.pd,
        "pd_epoch": pd.pd_epoch,
        "stores": pd.stores,
        "stores_up": pd.stores_up,
        "regions": pd.regions,
        "regions_unavailable": pd.regions_unavailable,
        "regions_degraded": sum(row.state != "unavailable" and is_short(row) for row in regions),
        "leaders": pd.leaders,
        "damaged": pd.damaged,
        "leaders_elected_s": pd.leaders_elected_s,
    }
    if session.printer.form is Format.TABLE:
        record["lacks"] = "; ".join(lacks) or "nothing"
    session.printer.record(record)
    if trouble:
        hint = _HINT_LOST if pd.regions_unavailable else _HINT_WAIT
        raise UnavailableError(f"the cluster is not ready: {trouble}", hint=hint)


_HINT_LOST = (
    "see which stores are not up with `flaredb store list`, look into their logs, and start them "
    "again; which regions wait for them: `flaredb region list`"
)
_HINT_FEW = (
    "in the middle a region is cut between two of its rows: write some, or name the first key of "
    "the new region with --key"
)
_HINT_WAIT = "ask again in a few seconds; if it stays so, look into PD's log"


async def region_list(session: Session) -> None:
    """All regions in key order."""
    rows = await (await session.db()).placement.regions()
    _show_regions(session, [region_record(row) for row in rows])


def _show_regions(session: Session, records: list[dict[str, Any]]) -> None:
    if session.printer.form is Format.TABLE:
        for record in records:
            record["end"] = record["end"] or "∞"
            record["peers"] = " ".join(str(peer["store"]) for peer in record["peers"])
        renamed = [name if name != "peers" else "stores" for name in REGION_COLUMNS]
        cells = [[record[name] for name in REGION_COLUMNS] for record in records]
        session.printer.table(renamed, cells)
    else:
        session.printer.records(records)


async def region_show(session: Session, number: RegionNumber) -> None:
    """One region."""
    session.printer.record(region_record(await _region(session, number)))


async def region_check(session: Session, number: RegionNumber) -> None:
    """Compare a hash of all replicas at one applied index. Exit code 1 if they differ."""
    db = await session.db()
    await _region(session, number)
    check = await db.inspector.check(RegionId(number))
    replicas = [structs.asdict(replica) for replica in check.replicas]
    if session.printer.form is Format.TABLE:
        session.printer.records(replicas)
    else:
        told = {"region": number, "ok": check.ok, "index": check.index, "replicas": replicas}
        session.printer.record(told)
    silent = [replica.store for replica in check.replicas if replica.hash is None]
    if silent:
        raise UnavailableError(
            f"no answer from store {', '.join(map(str, silent))}",
            hint="see `flaredb store list`; or wait longer with --timeout",
        )
    if not check.ok:
        raise FlareDBError(
            f"the replicas of region {number} differ",
            hint="keep all data folders as they are, and report it with the logs of its stores",
            region_id=number,
        )


async def region_split(
    session: Session,
    number: RegionNumber,
    key: Annotated[
        str | None,
        typer.Option("--key", help=r"The first key of the new region \[the middle by bytes]."),
    ] = None,
    typed: Typed = Notation.UTF8,
) -> None:
    """Cut a region in two while it serves; shows both parts."""
    at = None if key is None else parse(key, typed)
    row = await _serving(session, number)
    try:
        rows = await (await session.db()).placement.split(RegionId(number), at)
    except (UnavailableError, UndeterminedError) as error:
        few = at is None and row.keys < 2 and isinstance(error, UnavailableError)
        raise await _explained(session, number, error, _HINT_FEW if few else "") from error
    _show_regions(session, [region_record(row) for row in rows])


async def region_merge(
    session: Session,
    number: RegionNumber,
    into: Annotated[
        int | None,
        typer.Option(
            "--into", help="The neighbour that absorbs it, by default the nearer, then the smaller."
        ),
    ] = None,
    wait: Wait = True,
) -> None:
    """Make a region a part of its neighbour; shows the region after it.

    If they stand on different stores, its replicas first move to the neighbour's.
    """
    await _serving(session, number)
    neighbour = None if into is None else (await _serving(session, into)).id
    placement = (await session.db()).placement
    try:
        done = await placement.begin_merge(RegionId(number), neighbour)
        if done.begun is not None and not wait:
            session.printer.record(structs.asdict(done.begun))
            return
        if done.begun is not None:
            await _brought_together(session, done.begun)
        row = await placement.merged(RegionId(number), done.region)
    except (UnavailableError, UndeterminedError) as error:
        raise await _explained(session, number, error) from error
    _show_regions(session, [region_record(row)])


async def _brought_together(session: Session, begun: MergeRow) -> None:
    """Wait until the merge is done, and tell what goes on."""
    row, told = begun, ""
    try:
        async for seen in (await session.db()).placement.watch_merge(begun):
            row = seen
            if row.doing not in ("", told):
                note(row.doing)
            told = row.doing
    except (asyncio.CancelledError, KeyboardInterrupt):
        end = f"; end it: flaredb operator cancel {row.operator}" * bool(row.operator)
        note(f"interrupted: the merge of region {row.source} goes on{end}")
        raise


def region_record(row: RegionRow) -> dict[str, Any]:
    """A region as JSON tells it: keys as escaped text, and as base64 under `_b64`."""
    return {
        "id": row.id,
        "state": row.state,
        "start": row.start,
        "end": row.end,
        "start_b64": base64.b64encode(row.start_b64).decode(),
        "end_b64": base64.b64encode(row.end_b64).decode(),
        "leader": row.leader,
        "leader_store": row.leader_store,
        "peers": [structs.asdict(peer) for peer in row.peers],
        "version": row.version,
        "conf_ver": row.conf_ver,
        "term": row.term,
        "keys": row.keys,
        "bytes": row.bytes,
        "asleep": row.asleep,
        "down_peers": list(row.down_peers),
        "pending_peers": list(row.pending_peers),
        "removed": [structs.asdict(peer) for peer in row.removed],
    }


async def _serving(session: Session, number: int) -> RegionRow:
    """The region; raises `UnavailableError` and says which stores it lacks to decide anything."""
    row = await _region(session, number)
    if row.state == "unavailable":
        stores = await (await session.db()).placement.stores()
        raise UnavailableError(why_without_majority(row, stores), hint=_HINT_LOST, region_id=number)
    return row


async def _explained(
    session: Session, number: int, error: UnavailableError | UndeterminedError, hint: str = ""
) -> FlareDBError:
    """The error; if the region has lost its majority meanwhile, with that as its reason."""
    placement = (await session.db()).placement
    rows = [row for row in await placement.regions() if row.id == number]
    text, hint = str(error), hint or error.hint
    if rows and rows[0].state == "unavailable":
        text = f"{text}; {why_without_majority(rows[0], await placement.stores())}"
        hint = _HINT_LOST
    return type(error)(text, hint=hint, region_id=number)


async def _region(session: Session, number: int) -> RegionRow:
    rows = await (await session.db()).placement.regions()
    found = [row for row in rows if row.id == number]
    if not found:
        raise not_found(f"there is no region {number}", "see `flaredb region list`")
    return found[0]
