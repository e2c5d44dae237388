"""sql: one read-only statement over the history, answered by analytics."""

import json
import sys
import urllib.error
import urllib.request
from http.client import HTTPException
from typing import Annotated, Any

import typer

from flaredb.cli.commands import cluster_command
from flaredb.cli.session import Session
from flaredb.client.errors import FlareDBError, InvalidArgumentError, UnavailableError

DEFAULT_HTTP = "http://127.0.0.1:7480"


def add_sql_commands(app: typer.Typer) -> None:
    """Put `sql` into `app`."""
    cluster_command(
        app, "sql", 'flaredb sql "select * from leader_changes"', "flaredb sql -o json <query.sql"
    )(sql)


async def sql(
    session: Session,
    query: Annotated[str, typer.Argument(help="The statement; - reads standard input.")] = "-",
    http: Annotated[str | None, typer.Option("--http", help="Where analytics answers.")] = None,
) -> None:
    """Print the rows of a read-only SQL statement over the cluster's history."""
    statement = sys.stdin.read() if query == "-" else query
    playground = session.reach.playground
    address = http or (playground.http_url if playground else "") or DEFAULT_HTTP
    rows = ask(address, statement, session.reach.settings.timeout_seconds)
    session.printer.records(rows)


def ask(address: str, statement: str, timeout: float) -> list[dict[str, Any]]:
    """The rows of `statement` as analytics at `address` (a URL, or `host:port`) answers it."""
    base = address if "://" in address else f"http://{address}"
    try:
        request = urllib.request.Request(
            f"{base.rstrip('/')}/v1/sql",
            data=json.dumps({"query": statement}).encode(),
            headers={"Content-Type": "application/json", "Accept": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return _rows(json.load(answer))
    except urllib.error.HTTPError as refusal:
        raise _refused(refusal) from refusal
    except (OSError, HTTPException, ValueError, KeyError, TypeError) as fault:
        raise UnavailableError(
            f"analytics does not answer at {base}: {str(fault)[:200].strip()}",
            hint="start it with `flaredb playground`, or name it: --http URL",
        ) from fault


def _rows(answer: Any) -> list[dict[str, Any]]:
    return [dict(zip(answer["columns"], row, strict=True)) for row in answer["rows"]]


def _refused(refusal: urllib.error.HTTPError) -> FlareDBError:
    """The error behind a problem document (RFC 9457)."""
    text = refusal.read().decode(errors="replace")
    try:
        detail = str(json.loads(text)["detail"])
    except (ValueError, KeyError, TypeError):
        detail = text or str(refusal)
    if refusal.code in (400, 403):
        return InvalidArgumentError(detail, hint='see what can be asked: flaredb sql "show tables"')
    if refusal.code in (503, 504):
        return UnavailableError(detail, hint="ask for less, or later")
    return FlareDBError(detail)
