"""import and export: all rows as JSON lines, keys and values as escaped text and as base64.

    {"key": "user:1", "key_b64": "dXNlcjox", "value": "Ada", "value_b64": "QWRh"}

A file made by hand may leave the `_b64` out and write text, or the other way round; where both are
there they must be the same.
"""

import asyncio
import base64
import errno
import json
import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Annotated, Any, BinaryIO, TextIO

import typer

from flaredb.cli.commands import cluster_command
from flaredb.cli.input_lines import input_lines
from flaredb.cli.output import Format, as_json, note
from flaredb.cli.progress import Advance, progress
from flaredb.cli.session import Session
from flaredb.cli.texts import parse, unescape, with_base64
from flaredb.client.checks import check_key, check_value
from flaredb.client.client import Client
from flaredb.client.errors import FlareDBError, InvalidArgumentError

IN_FLIGHT = 256
"""How many rows are written at the same time."""

MAX_LINE_BYTES = 4 * 1024 * 1024
"""The longest line that can be a row: both keys and values, in both forms."""

Row = tuple[int, bytes, bytes]
"""Number of the line, key, value."""

NoBar = Annotated[bool, typer.Option("--no-progress", help="Do not show how far it is.")]


def add_transfer_commands(app: typer.Typer) -> None:
    """Put `import` and `export` into `app`."""
    cluster_command(
        app, "import", "flaredb import rows.jsonl", "flaredb import rows.jsonl --from-line 5001"
    )(import_rows)
    cluster_command(
        app, "export", "flaredb export rows.jsonl", "flaredb export - --prefix user: | gzip >u.gz"
    )(export_rows)


async def import_rows(
    session: Session,
    file: Annotated[Path, typer.Argument(help="JSON lines; - reads standard input.")],
    from_line: Annotated[
        int, typer.Option("--from-line", min=1, help="Leave out the lines before this one.")
    ] = 1,
    no_progress: NoBar = False,
) -> None:
    """Write every row of a file. A row that is there already is replaced.

    A row is {"key": "user:1", "value": "Ada"}, escaped as `scan` prints it (a backslash is
    written twice, any byte as in x00 behind one); or the same in base64 as key_b64 and value_b64.

    Where it stops, every line before the one that it names is written: fix it and go on from there
    with --from-line.
    """
    total = _count_lines(file) if file.is_file() else None
    with _opened(file) as source, progress("imported lines", total, not no_progress) as advance:
        importer = Importer(await session.db(), advance, from_line)
        try:
            await importer.run(_rows(source, from_line))
        except (asyncio.CancelledError, KeyboardInterrupt):
            line = importer.next_line
            note(f"interrupted: all lines before {line} are written; go on with --from-line {line}")
            raise
    told = {"rows": importer.written}
    if session.printer.form is Format.TABLE:
        note(f"{importer.written} rows imported")
    else:
        session.printer.record(told)


class Importer:
    """Writes rows, many at a time.

    Invariants: `written` counts rows that are acknowledged; a line below `_next` is written, or in
    `_under_way`, or in `_failed`.
    """

    def __init__(self, db: Client, advance: Advance, from_line: int) -> None:
        self._db = db
        self._advance = advance
        self.written = 0
        self._next = from_line
        self._under_way: dict[int, None] = {}
        self._failed: dict[int, FlareDBError] = {}

    @property
    def next_line(self) -> int:
        """The first line that is not certainly written."""
        return min((self._next, *self._under_way, *self._failed))

    async def run(self, rows: AsyncIterator[Row]) -> None:
        """Write all rows; raises what the first line that was not written met, with its number."""
        room = asyncio.Semaphore(IN_FLIGHT)
        tasks: set[asyncio.Task[None]] = set()
        fault: FlareDBError | None = None
        try:
            async for row in rows:
                await room.acquire()
                if self._failed:
                    room.release()
                    break
                self._under_way[row[0]] = None
                self._next = row[0] + 1
                task = asyncio.create_task(self._write(row, room))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
        except FlareDBError as error:
            fault = error
        if tasks:
            await asyncio.wait(tasks)
        if self._failed:
            line = min(self._failed)
            raise _at_line(line, self._failed[line]) from self._failed[line]
        if fault is not None:
            raise fault

    async def _write(self, row: Row, room: asyncio.Semaphore) -> None:
        line, key, value = row
        try:
            await self._db.put(key, value)
            del self._under_way[line]
            self.written += 1
            self._advance(1)
        except FlareDBError as error:
            del self._under_way[line]
            self._failed[line] = error
        finally:
            room.release()


async def export_rows(
    session: Session,
    file: Annotated[Path, typer.Argument(help="The file to write; - is standard output.")],
    prefix: Annotated[str | None, typer.Option("--prefix", help="Keys that start so.")] = None,
    no_progress: NoBar = False,
) -> None:
    """Write every row to a file, in key order. The file appears when it is complete."""
    chosen = None if prefix is None else parse(prefix)
    with nullcontext(sys.stdout) if str(file) == "-" else completed_file(file) as target:
        db = await session.db()
        total = None if chosen is not None else await _known_keys(db)
        with progress("exported rows", total, not no_progress) as advance:
            written = await _write_rows(db.scan(prefix=chosen), target, advance)
    if session.printer.form is Format.TABLE or str(file) == "-":
        note(f"{written} rows exported")
    else:
        session.printer.record({"rows": written})


@contextmanager
def completed_file(file: Path) -> Iterator[TextIO]:
    """A file to write that appears when the block has ended well; nothing is left otherwise.

    A link is followed, and a device or a pipe is written to as it is: nothing takes its place.

    Raises `FlareDBError`: before the block where it could not be written, and where it cannot.
    """
    if os.path.isdir(file):  # Path's own raises where it may not look
        raise FlareDBError(
            f"cannot write {file}: it is a folder", hint=f"name a file in it: {file / 'rows.jsonl'}"
        )
    whole = Path(os.path.realpath(file))
    there = os.path.exists(whole)
    replaces = not there or os.path.isfile(whole)
    unfinished = whole.with_name(f"{whole.name}.unfinished") if replaces else whole
    try:
        if there and not os.access(whole, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        with unfinished.open("w", encoding="ascii") as target:
            yield target
        if replaces:
            unfinished.replace(whole)
    except FlareDBError:
        raise  # its timeout is an OSError too
    except OSError as fault:
        raise FlareDBError(
            f"cannot write {file}: {fault.strerror}",
            hint="name a file in a folder that exists and may be written, or - for a pipe",
        ) from fault
    finally:
        with suppress(OSError):
            if replaces:
                unfinished.unlink()


async def _write_rows(
    rows: AsyncIterator[tuple[bytes, bytes]], target: TextIO, advance: Advance
) -> int:
    written = 0
    async for key, value in rows:
        target.write(as_json({**with_base64("key", key), **with_base64("value", value)}) + "\n")
        written += 1
        advance(1)
    return written


async def _known_keys(db: Client) -> int:
    return sum(region.keys for region in await db.placement.regions())


async def _rows(source: BinaryIO, from_line: int) -> AsyncIterator[Row]:
    number = 0
    async for line in input_lines(source, MAX_LINE_BYTES):
        number += 1
        if len(line) > MAX_LINE_BYTES:
            raise InvalidArgumentError(
                f"line {number}: longer than any row can be",
                hint=f"take it out, then go on with --from-line {number}",
            )
        if number >= from_line and line.strip():
            yield number, *_parse_row(number, line)
    if from_line > max(number, 1):
        raise InvalidArgumentError(
            f"there is no line {from_line} to begin with: {number} lines are all",
            hint="name a smaller one with --from-line; if all are imported, nothing is left to do",
        )


def _parse_row(number: int, line: bytes) -> tuple[bytes, bytes]:
    try:
        row = json.loads(line)
        key, value = _field(row, "key"), _field(row, "value")
        check_key(key)
        check_value(value)
    except (ValueError, KeyError, TypeError, RecursionError) as fault:
        what = f"no {fault}" if isinstance(fault, KeyError) else str(fault)
        raise InvalidArgumentError(
            f"line {number}: {what}",
            hint=f"repair it, then go on with --from-line {number}",
        ) from fault
    return key, value


def _field(row: Any, name: str) -> bytes:
    if not isinstance(row, dict):
        raise TypeError("a line holds one JSON object")
    encoded, text = row.get(f"{name}_b64"), row.get(name)
    data = None if encoded is None else base64.b64decode(encoded, validate=True)
    if text is None and data is not None:
        return data
    if not isinstance(text, str):
        raise KeyError(name) if text is None else TypeError(f"{name} is not text")
    if data is not None and data != unescape(text):
        raise ValueError(f"{name} and {name}_b64 are not the same; leave one of them out")
    return unescape(text)


def _at_line(number: int, error: FlareDBError) -> FlareDBError:
    return type(error)(
        f"line {number}: {error}",
        hint=f"{error.hint}; then go on with --from-line {number}".lstrip("; "),
        region_id=error.region_id,
    )


def _count_lines(file: Path) -> int:
    with _opened(file) as source:
        return sum(chunk.count(b"\n") for chunk in iter(lambda: source.read(1 << 20), b""))


@contextmanager
def _opened(file: Path) -> Iterator[BinaryIO]:
    if str(file) == "-":
        yield sys.stdin.buffer
        return
    try:
        source = file.open("rb")
    except OSError as fault:
        raise InvalidArgumentError(
            f"cannot read {file}: {fault.strerror}",
            hint="name a file of JSON lines, as `flaredb export` writes them, or - for a pipe",
        ) from fault
    with source:
        yield source
