"""The help of every command is shown as it was written."""

from collections.abc import Iterator
from typing import Any

from rich.text import Text
from typer.main import get_command

from flaredb.cli.app import make_app


def commands(command: Any) -> Iterator[Any]:
    """A command and all those below it."""
    yield command
    for each in getattr(command, "commands", {}).values():
        yield from commands(each)


def test_nothing_in_square_brackets_is_taken_for_markup() -> None:
    found = list(commands(get_command(make_app())))
    assert len(found) > 30
    for command in found:
        described = [command, *command.params]
        texts = [getattr(each, "help", None) or "" for each in described]
        for text in (*texts, command.epilog or ""):
            assert Text.from_markup(text).plain == text.replace(r"\[", "["), command.name
