"""put, get, del, cas, scan."""

import sys
from typing import Annotated

import typer

from flaredb.cli.commands import cluster_command, not_found
from flaredb.cli.interruptions import interruptible
from flaredb.cli.output import Format, as_json
from flaredb.cli.session import Session
from flaredb.cli.texts import Notation, parse, readable, with_base64
from flaredb.client.errors import ConflictError, InvalidArgumentError
from flaredb_schemas.keys import MAX_VALUE_BYTES, show_key

Key = Annotated[
    str, typer.Argument(help="The key; one that begins with - stands behind --, after the options.")
]
Typed = Annotated[Notation, typer.Option("--as", help="How keys and values are typed here.")]


def add_key_commands(app: typer.Typer) -> None:
    """Put the commands about single keys and scans into `app`."""
    cluster_command(app, "put", "flaredb put user:1 Ada", "flaredb put big - <file")(put)
    cluster_command(app, "get", "flaredb get user:1", "flaredb get big --raw >file")(get)
    cluster_command(app, "del", "flaredb del user:1")(delete)
    cluster_command(app, "cas", "flaredb cas lock '' me", "flaredb cas lock --absent me")(swap)
    cluster_command(
        app, "scan", "flaredb scan --prefix user:", "flaredb scan a m --limit 10 --reverse -o jsonl"
    )(scan)


async def put(
    session: Session,
    key: Key,
    value: Annotated[str, typer.Argument(help="The value; - reads standard input.")],
    typed: Typed = Notation.UTF8,
) -> None:
    """Store a value under a key."""
    data = _all_of_input() if value == "-" else parse(value, typed)
    await (await session.db()).put(parse(key, typed), data)
    _confirm(session)


async def get(
    session: Session,
    key: Key,
    raw: Annotated[bool, typer.Option("--raw", help="The value's bytes, nothing else.")] = False,
    typed: Typed = Notation.UTF8,
) -> None:
    """Print the value of a key. Exit code 3 if there is none."""
    name = parse(key, typed)
    value = await (await session.db()).get(name)
    if value is None:
        raise not_found(
            f"there is no key {show_key(name)}", "see which there are: `flaredb scan --keys-only`"
        )
    if raw:
        sys.stdout.buffer.write(value)
    elif session.printer.form is Format.TABLE:
        session.printer.line(readable(value))
    else:
        session.printer.record({**with_base64("key", name), **with_base64("value", value)})


async def delete(session: Session, key: Key, typed: Typed = Notation.UTF8) -> None:
    """Remove a key; removing what is absent is fine."""
    await (await session.db()).delete(parse(key, typed))
    _confirm(session)


async def swap(
    session: Session,
    key: Key,
    values: Annotated[list[str], typer.Argument(metavar="[OLD] NEW", help="Expected and new.")],
    absent: Annotated[
        bool, typer.Option("--absent", help="Expect that there is no such key; OLD is left out.")
    ] = False,
    typed: Typed = Notation.UTF8,
) -> None:
    """Store NEW if the key holds OLD. Exit code 4 if it does not."""
    given = [parse(value, typed) for value in values]
    if len(given) != (1 if absent else 2):
        raise InvalidArgumentError(
            "cas needs KEY OLD NEW, or KEY NEW with --absent",
            hint="flaredb cas lock nobody me; flaredb cas lock --absent me",
        )
    expected = None if absent else given[0]
    name = parse(key, typed)
    result = await (await session.db()).compare_and_swap(name, expected, given[-1])
    if not result.ok:
        found = "nothing" if result.previous is None else readable(result.previous)
        raise ConflictError(f"the key holds {found}", actual=result.previous)
    _confirm(session)


async def scan(
    session: Session,
    start: Annotated[str | None, typer.Argument(help="First key.")] = None,
    end: Annotated[str | None, typer.Argument(help="Key to stop before.")] = None,
    prefix: Annotated[str | None, typer.Option("--prefix", help="Keys that start so.")] = None,
    limit: Annotated[int | None, typer.Option("--limit", min=0, help="At most so many.")] = None,
    reverse: Annotated[bool, typer.Option("--reverse", help="Largest key first.")] = False,
    keys_only: Annotated[bool, typer.Option("--keys-only", help="Leave the values out.")] = False,
    typed: Typed = Notation.UTF8,
) -> None:
    """Print keys and values in key order: one line each, tab between them, escaped."""
    bounds = [None if text is None else parse(text, typed) for text in (start, end, prefix)]
    rows = (await session.db()).scan(
        bounds[0], bounds[1], prefix=bounds[2], limit=limit, reverse=reverse
    )
    as_list: list[dict[str, str | None]] = []
    async for key, value in rows:
        record = {**with_base64("key", key), **({} if keys_only else with_base64("value", value))}
        match session.printer.form:
            case Format.TABLE:
                session.printer.line(
                    show_key(key) if keys_only else f"{show_key(key)}\t{show_key(value)}"
                )
            case Format.JSONL:
                session.printer.line(as_json(record))
            case Format.JSON:
                as_list.append(record)
    if session.printer.form is Format.JSON:
        session.printer.records(as_list)


def _all_of_input() -> bytes:
    """Standard input, as far as it could be a value: whoever stores it sees whether it is more."""
    with interruptible():
        return sys.stdin.buffer.read(MAX_VALUE_BYTES + 1)


def _confirm(session: Session) -> None:
    if session.printer.form is Format.TABLE:
        session.printer.line("OK")
    else:
        session.printer.record({"ok": True})
