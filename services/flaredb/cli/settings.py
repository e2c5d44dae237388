"""config show: every setting of a kind of process, and where its value came from."""

import enum
import os
from pathlib import Path
from typing import Annotated

import typer

from flaredb.cli.commands import Output, examples, guarded
from flaredb.cli.output import Format, Printer
from flaredb.cli.session import HINT_SETTINGS
from flaredb.client.errors import InvalidArgumentError
from flaredb.runtime.settings import KINDS
from flaredb.runtime.settings_sources import SettingsError, describe, load

HIDDEN = "***"
Kind = enum.StrEnum("Kind", list(KINDS))  # type: ignore[misc]
CLIENT = Kind("client")


def add_settings_commands(app: typer.Typer) -> None:
    """Put the group `config` into `app`."""
    group = typer.Typer(help="Settings of all processes.", no_args_is_help=True)
    group.command(
        "show",
        epilog=examples(
            "flaredb config show --origin",
            "flaredb config show --of store --config my.toml",
        ),
    )(show)
    app.add_typer(group, name="config")


def show(
    of: Annotated[Kind, typer.Option("--of", help="Whose settings.")] = CLIENT,
    origin: Annotated[
        bool, typer.Option("--origin", help="Say where each value came from.")
    ] = False,
    config: Annotated[Path | None, typer.Option("--config", help="A TOML file.")] = None,
    output: Output = Format.TABLE,
) -> None:
    """Print the settings of a process, as flags, environment, file and defaults make them."""
    guarded(output, lambda: _show(str(of.value), origin, config, output))


def _show(of: str, origin: bool, config: Path | None, form: Format) -> None:
    kind = KINDS[of]
    try:
        settings, origins = load(kind, {}, os.environ, config)
    except SettingsError as fault:
        raise InvalidArgumentError(str(fault), hint=HINT_SETTINGS) from fault
    records = []
    for setting in describe(kind):
        value = getattr(settings, setting.name)
        shown = HIDDEN if setting.secret and value else value
        record = {"name": setting.name, "value": shown, "unit": setting.unit}
        if origin:
            record["origin"] = origins[setting.name]
        records.append({**record, "meaning": setting.description})
    Printer(form).records(records)
