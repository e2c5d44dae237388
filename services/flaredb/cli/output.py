"""What a command prints: tables for people, JSON for programs; errors and progress on the side."""

import enum
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from rich.console import Console
from rich.markup import escape as plain
from rich.table import Column, Table

from flaredb.client.errors import (
    ClosedError,
    ConflictError,
    FlareDBError,
    InvalidArgumentError,
    ResourceExhaustedError,
    TimeoutError,
    UnavailableError,
    UndeterminedError,
)

WIDE: Final = 240
"""Columns of a table that goes into a pipe."""


class Format(enum.StrEnum):
    """How results are printed."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"


class ExitCode(enum.IntEnum):
    """What a command's exit tells."""

    OK = 0
    ERROR = 1
    USAGE = 2
    NOT_FOUND = 3
    CONFLICT = 4
    UNAVAILABLE = 5
    UNDETERMINED = 6


class NotFoundError(FlareDBError):
    """What was asked for is not there."""

    code = "not_found"
    advice = "look for its name: `flaredb scan`, `flaredb region list`, `flaredb store list`"


Record = Mapping[str, Any]


class Printer:
    """Prints results in one format. Invariant: nothing but results goes to standard output."""

    def __init__(self, form: Format) -> None:
        self.form: Final = form

    def records(self, records: Sequence[Record], columns: Sequence[str] = ()) -> None:
        """A list of objects; a table shows these `columns` (by default all of the first one)."""
        match self.form:
            case Format.JSON:
                self.line(as_json(list(records), indent=2))
            case Format.JSONL:
                for record in records:
                    self.line(as_json(record))
            case Format.TABLE:
                shown = list(columns or (records[0] if records else ()))
                self.table(shown, [[record.get(name) for name in shown] for record in records])

    def record(self, record: Record) -> None:
        """One object."""
        match self.form:
            case Format.JSON:
                self.line(as_json(record, indent=2))
            case Format.JSONL:
                self.line(as_json(record))
            case Format.TABLE:
                self.table(("", ""), list(record.items()))

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[Any]], title: str = "") -> None:
        """A table for people, whatever the format; without a head where no column has a name."""
        table = Table(
            *(Column(name, overflow="fold") for name in columns),
            title=title or None,
            title_justify="left",
            header_style="bold",
            show_header=any(columns),
        )
        for row in rows:
            table.add_row(*(plain(_cell(value)) for value in row))
        console = Console() if sys.stdout.isatty() else Console(width=WIDE)
        with console.capture() as drawn:  # written below, where a closed pipe is an error like any
            console.print(table)
        sys.stdout.write(drawn.get())

    def line(self, text: str, *, at_once: bool = False) -> None:
        """One line as it is; `at_once` where somebody waits for it behind a pipe."""
        sys.stdout.write(text + "\n")
        if at_once:
            sys.stdout.flush()


def as_json(value: Any, indent: int | None = None) -> str:
    """JSON with the characters as they are."""
    return json.dumps(value, indent=indent, ensure_ascii=False, default=str)


def note(text: str) -> None:
    """Something for the person in front of it, not for the pipe."""
    sys.stderr.write(text + "\n")


def exit_code(error: FlareDBError) -> ExitCode:
    """What the command's exit says of this error."""
    match error:
        case NotFoundError():
            return ExitCode.NOT_FOUND
        case ConflictError():
            return ExitCode.CONFLICT
        case UndeterminedError():
            return ExitCode.UNDETERMINED
        case InvalidArgumentError():
            return ExitCode.USAGE
        case TimeoutError() | UnavailableError() | ResourceExhaustedError() | ClosedError():
            return ExitCode.UNAVAILABLE
        case _:
            return ExitCode.ERROR


def report(error: FlareDBError, form: Format) -> ExitCode:
    """Tell of an error on standard error, and say how to exit."""
    if form is Format.TABLE:
        note(f"error: {error}\nhint: {error.hint}")
    else:
        told = {"code": error.code, "message": str(error), "hint": error.hint}
        note(as_json({"error": told}))
    return exit_code(error)


def _cell(value: Any) -> str:
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:.3f}".rstrip("0").rstrip(".")
        case list() | tuple() | dict():
            return as_json(value)
        case _:
            return str(value)
