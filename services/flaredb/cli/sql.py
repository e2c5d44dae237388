"""sql: one read-only statement over the history, answered by analytics."""

import builtins
import json
import sys
import urllib.error
import urllib.request
from http.client import HTTPException
from typing import Annotated, Any, Final, NamedTuple

import typer

from flaredb.cli.commands import cluster_command
from flaredb.cli.interruptions import interruptible
from flaredb.cli.output import note
from flaredb.cli.session import Session
from flaredb.client.errors import (
    FlareDBError,
    InvalidArgumentError,
    TimeoutError,
    UnavailableError,
)

OLD_SECONDS: Final = 5.0
"""From what lag on it is told that an answer does not know the latest."""


def add_sql_commands(app: typer.Typer) -> None:
    """Put `sql` into `app`."""
    cluster_command(
        app,
        "sql",
        'flaredb sql "show tables"',
        'flaredb sql "from moves"',
        "flaredb sql -o json <query.sql",
    )(sql)


async def sql(
    session: Session,
    query: Annotated[str, typer.Argument(help="The statement; - reads standard input.")] = "-",
    http: Annotated[
        str | None, typer.Option("--http", help=r"Where analytics answers \[the playground's].")
    ] = None,
) -> None:
    """Print the rows of a read-only SQL statement over the cluster's history.

    Without a statement it reads one from standard input. `show tables` lists what can be asked.
    """
    if query == "-" and sys.stdin.isatty():
        note("type a statement, then Ctrl-D")
    with interruptible():
        statement = sys.stdin.read() if query == "-" else query
        seconds = session.reach.settings.timeout_seconds
        answer = ask(http or session.reach.analytics, statement, seconds)
    session.printer.records(answer.records, answer.columns)
    if answer.cut:
        note(f"cut at {len(answer.records)} rows by the limit of {answer.cut}: ask for less")
    if answer.lag > OLD_SECONDS:
        note(f"the history was last complete {answer.lag:.0f} s ago")


class History(NamedTuple):
    """An answer: its columns, a record of each row, by which limit it was cut, if so, and for how
    many seconds the history has not been complete."""

    columns: list[str]
    records: list[dict[str, Any]]
    cut: str
    lag: float


def ask(address: str, statement: str, timeout: float) -> History:
    """What analytics at `address` (a URL, or `host:port`) answers to `statement`."""
    base = address if "://" in address else f"http://{address}"
    try:
        request = urllib.request.Request(
            f"{base.rstrip('/')}/v1/sql",
            data=json.dumps({"query": statement}).encode(),
            headers={"Content-Type": "application/json", "Accept": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return _read(json.load(answer), answer.headers.get("FlareDB-Lag-Seconds", "0"))
    except urllib.error.HTTPError as refusal:
        raise _refused(refusal) from refusal
    except builtins.TimeoutError as fault:  # to connect in vain is a `URLError`
        raise TimeoutError(
            f"the statement has no answer after {timeout:g} s: it is too slow, or waits for others",
            hint="give it more time: --timeout SECONDS; or ask for less",
        ) from fault
    except (OSError, HTTPException, ValueError, KeyError, TypeError) as fault:
        raise UnavailableError(
            f"analytics does not answer at {base}: {str(fault)[:200].strip()}",
            hint="start it with `flaredb playground`, or name it: --http URL",
        ) from fault


def _read(answer: Any, lag: str) -> History:
    columns = _told_apart(answer["columns"])
    records = [dict(zip(columns, row, strict=True)) for row in answer["rows"]]
    return History(columns, records, str(answer["cut"]), float(lag))


def _told_apart(names: list[str]) -> list[str]:
    """The columns' names; of several that are alike the later ones get a number."""
    told: list[str] = []
    for name in names:
        count, unique = 1, name
        while unique in told:
            count += 1
            unique = f"{name}_{count}"
        told.append(unique)
    return told


def _refused(refusal: urllib.error.HTTPError) -> FlareDBError:
    """The error behind a problem document (RFC 9457)."""
    text = refusal.read().decode(errors="replace")
    try:
        detail = str(json.loads(text)["detail"])
    except (ValueError, KeyError, TypeError):
        detail = text or str(refusal)
    if refusal.code in (400, 403):
        return InvalidArgumentError(detail, hint='see what can be asked: flaredb sql "show tables"')
    if refusal.code == 504:
        return TimeoutError(
            f"the statement is too slow: {detail}",
            hint="ask for less; --timeout helps up to the setting statement_seconds of analytics",
        )
    if refusal.code == 503:
        return UnavailableError(detail, hint="ask for less, or later")
    return FlareDBError(detail)
