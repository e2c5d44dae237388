"""What all commands that reach a cluster have in common: four options, errors, exit codes."""

import functools
import inspect
import os
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from typer.core import TyperCommand

from flaredb.cli.interruptions import INTERRUPTED
from flaredb.cli.output import ExitCode, Format, NotFoundError, report
from flaredb.cli.session import Reach, Session, run_session
from flaredb.client.errors import FlareDBError

Folder = Annotated[
    Path | None, typer.Option("--dir", help="Folder of a running playground [.flaredb].")
]
NatsUrl = Annotated[str | None, typer.Option("--nats", help="NATS servers, joined by commas.")]
Output = Annotated[Format, typer.Option("--output", "-o", help="How to print the result.")]
Timeout = Annotated[
    float | None,
    typer.Option("--timeout", min=0.001, help="Seconds for one call, or to connect [5]."),
]

Command = Callable[..., Coroutine[Any, Any, None]]
C = TypeVar("C", bound=Callable[..., Any])

_HINT_SYSTEM = "see whether what is read and written is there, and whether its disk is full"

_COMMON = [
    inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
    for name, default, kind in (
        ("dir_", None, Folder),
        ("nats", None, NatsUrl),
        ("output", Format.TABLE, Output),
        ("timeout", None, Timeout),
    )
]


class _Command(TyperCommand):
    """A command whose arguments may begin with "-": it says where they go then."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As usual; a key that was taken for an option is told where to stand."""
        try:
            return super().parse_args(ctx, args)
        except Exception as fault:
            option = getattr(fault, "option_name", None)
            if type(fault).__name__ != "NoSuchOption" or option is None:
                raise
            raise typer.BadParameter(
                f"there is no option {option}. A key or value that begins with - stands behind --, "
                f"after all options: {ctx.command_path} -- {option}",
                ctx=ctx,
            ) from fault


def examples(*lines: str) -> str:
    """The examples at the foot of a command's help."""
    return "Examples:\n\n" + "\n\n".join(f"  {line}" for line in lines)


def cluster_command(app: typer.Typer, name: str, *lines: str) -> Callable[[Command], Command]:
    """Make a function of a `Session` a command; `lines` are its examples.

    The command gets the options by which a cluster is reached and a result is printed; whatever the
    client raises becomes a message and an exit code.
    """

    def register(function: Command) -> Command:
        @functools.wraps(function)
        def command(
            *,
            dir_: Path | None,
            nats: str | None,
            output: Format,
            timeout: float | None,
            **own: Any,
        ) -> None:
            guarded(output, lambda: _run(function, Reach(dir_, nats, timeout), output, own))

        own = list(inspect.signature(function, eval_str=True).parameters.values())[1:]
        shown = [parameter.replace(kind=parameter.KEYWORD_ONLY) for parameter in own] + _COMMON
        command.__dict__["__signature__"] = inspect.Signature(shown)
        command.__annotations__ = {parameter.name: parameter.annotation for parameter in shown}
        app.command(name, cls=_Command, epilog=examples(*lines))(command)
        return function

    return register


def guarded(form: Format, action: Callable[[], None]) -> None:
    """Do it, and have its output written; an error ends the command with its exit code."""
    try:
        try:
            action()
        finally:
            sys.stdout.flush()
    except FlareDBError as error:
        raise typer.Exit(report(error, form)) from error
    except BrokenPipeError:
        _drop_output()  # whoever read has had enough
        raise typer.Exit(ExitCode.OK) from None
    except OSError as fault:
        _drop_output()
        told = FlareDBError(f"the system refuses: {fault}", hint=_HINT_SYSTEM)
        raise typer.Exit(report(told, form)) from fault
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None


def _drop_output() -> None:
    """What is still buffered must not be written, and fail, once more at exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def not_found(text: str, hint: str = "") -> NotFoundError:
    """The error of something that is not there."""
    return NotFoundError(text, hint=hint)


def _run(function: Command, reach: Reach, form: Format, own: dict[str, Any]) -> None:
    run_session(function, Session(reach, form), own)
