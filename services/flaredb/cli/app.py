"""All commands in one application."""

import io
import sys

import typer

from flaredb.cli.demo import add_demo_command
from flaredb.cli.events import add_event_commands
from flaredb.cli.keys import add_key_commands
from flaredb.cli.placement import add_placement_commands
from flaredb.cli.playground import add_playground_command
from flaredb.cli.settings import add_settings_commands
from flaredb.cli.sql import add_sql_commands
from flaredb.cli.transfer import add_transfer_commands


def make_app() -> typer.Typer:
    """The application with all its commands."""
    app = typer.Typer(
        name="flaredb",
        help="An ordered, range-sharded, replicated key-value store on NATS.",
        epilog="Exit codes: 0 ok, 1 error, 2 usage, 3 not found, 4 conflict, 5 unavailable, "
        "6 undetermined.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    add_demo_command(app)
    add_playground_command(app)
    add_placement_commands(app)
    add_key_commands(app)
    add_transfer_commands(app)
    add_event_commands(app)
    add_sql_commands(app)
    add_settings_commands(app)
    app.callback()(_options)
    return app


def run() -> int:
    """Run the command of this process; returns its exit code."""
    assert __debug__, "FlareDB checks its invariants by assert: do not run it under -O"
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal that cannot show all characters
            stream.reconfigure(errors="backslashreplace")
    try:
        result = make_app()(standalone_mode=True)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(bool(end.code))
    return int(result or 0)


def _options(
    version: bool = typer.Option(False, "--version", help="Print the version."),
) -> None:
    """An ordered, range-sharded, replicated key-value store on NATS."""
    if version:
        from importlib.metadata import version as installed

        sys.stdout.write(f"flaredb {installed('flaredb')}\n")
        raise typer.Exit
