"""config show: every setting of a kind of process, and where its value came from."""

import enum
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from flaredb.cli.commands import Folder, Output, examples, guarded, not_found
from flaredb.cli.output import Format, Printer, note
from flaredb.cli.session import HINT_SETTINGS, Reach
from flaredb.client.errors import InvalidArgumentError, UnavailableError
from flaredb.playground.record import PlaygroundRecord
from flaredb.runtime.settings import KINDS
from flaredb.runtime.settings_sources import SettingsError, describe, load

HIDDEN = "***"
Kind = enum.StrEnum("Kind", list(KINDS))  # type: ignore[misc]
CLIENT = Kind("client")

SERVERS = ("pd", "store", "analytics")
"""The kinds of which a playground runs processes."""


def add_settings_commands(app: typer.Typer) -> None:
    """Put the group `config` into `app`."""
    group = typer.Typer(help="Settings of all processes.", no_args_is_help=True)
    group.command(
        "show",
        epilog=examples(
            "flaredb config show --origin",
            "flaredb config show --of store --config my.toml",
            "flaredb config show --running store-1",
        ),
    )(show)
    app.add_typer(group, name="config")


def show(
    of: Annotated[Kind, typer.Option("--of", help="Whose settings.")] = CLIENT,
    origin: Annotated[
        bool, typer.Option("--origin", help="Say where each value came from.")
    ] = False,
    config: Annotated[Path | None, typer.Option("--config", help="A TOML file.")] = None,
    running: Annotated[
        str | None,
        typer.Option("--running", help="A process of the playground that runs: pd, store-1, ..."),
    ] = None,
    dir_: Folder = None,
    output: Output = Format.TABLE,
) -> None:
    """Print the settings of a process, as flags, environment, file and defaults make them.

    They are those of a process that would be started here and now, unless --running names one of
    the playground.
    """

    def action() -> None:
        if running is None:
            of_kind = str(of.value)
            _show(of_kind, os.environ, origin, config, output)
            if of_kind in SERVERS and Reach(dir_, None, None).playground is not None:
                note(f"so a new {of_kind} would be started; --running NAME shows one that runs")
        else:
            kind, settings = _running(Reach(dir_, None, None), running)
            _show(kind, settings, origin, config, output)

    guarded(output, action)


def _running(reach: Reach, name: str) -> tuple[str, Mapping[str, str]]:
    """The kind of a process of the playground, and the settings that it was given."""
    playground: PlaygroundRecord | None = reach.playground
    if playground is None:
        raise UnavailableError(
            f"no playground runs in {reach.settings.dir}",
            hint="name its folder: --dir DIR; processes that run elsewhere have what they were "
            "started with: their environment, their flags and their TOML file",
        )
    processes = {each.name: each for each in playground.processes if each.settings}
    if name not in processes:
        raise not_found(f"no process {name} runs there", f"choose from {', '.join(processes)}")
    return name.partition("-")[0], processes[name].settings


def _show(
    of: str, environment: Mapping[str, str], origin: bool, config: Path | None, form: Format
) -> None:
    kind = KINDS[of]
    try:
        settings, origins = load(kind, {}, environment, config)
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
