"""How a command finds its cluster and talks to it.

A cluster is reached by `--nats URL` (or the setting `nats_url`), else by the folder of a running
playground, `--dir` (default `.flaredb`).
"""

import asyncio
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final, TypeVar

from flaredb.api import AsyncClient
from flaredb.bus.login import login_of
from flaredb.cli.output import Format, Printer
from flaredb.client.client import Client
from flaredb.client.errors import InvalidArgumentError, UnavailableError
from flaredb.playground.record import PlaygroundRecord, read_record
from flaredb.runtime.settings import ClientSettings
from flaredb.runtime.settings_sources import SettingsError, load

T = TypeVar("T")

HINT_SETTINGS: Final = (
    "correct it where the message says: a flag, a variable FLAREDB_... of the environment, or the "
    "TOML file"
)

SHORT_FLAGS: Final = {"nats_url": "--nats", "timeout_seconds": "--timeout"}
"""Flags of commands that are shorter than the names of their settings."""


class Reach:
    """Where a command's cluster is, by flags, environment, settings file and folder."""

    def __init__(self, folder: Path | None, nats: str | None, timeout: float | None) -> None:
        if folder is not None and nats is not None:
            raise InvalidArgumentError(
                "--dir and --nats name a cluster each", hint="leave out the one that is not meant"
            )
        flags = {"dir": str(folder) if folder else None, "nats_url": nats}
        flags["timeout_seconds"] = timeout if timeout is None else str(timeout)
        try:
            self.settings, self._origins = load(
                ClientSettings, flags, os.environ, spelled=SHORT_FLAGS
            )
        except SettingsError as fault:
            raise InvalidArgumentError(str(fault), hint=HINT_SETTINGS) from fault
        self._url_is_given: Final = self._origins["nats_url"] != "default"
        self.playground: Final = self._find_playground(folder)

    @property
    def url(self) -> str:
        """The NATS servers; raises `UnavailableError` where none is known."""
        if self.playground is not None:
            return self.playground.nats_url
        if self._url_is_given:
            return self.settings.nats_url
        raise UnavailableError(
            f"no playground runs in {self.settings.dir}, and no --nats URL is given",
            hint="start one: `flaredb playground`; or name one that runs: --nats URL, --dir DIR",
        )

    @property
    def analytics(self) -> str:
        """Where this cluster's analytics answers; raises `UnavailableError` where nobody knows.

        Only its playground's record tells: what answers elsewhere may be another cluster's.
        """
        here = self.playground or read_record(Path(self.settings.dir))
        if here is None and not self._url_is_given:
            raise UnavailableError(
                f"no playground runs in {self.settings.dir}, and no --http URL is given",
                hint="start one: `flaredb playground`; or name one that runs: --dir DIR, or where "
                "analytics answers: --http URL",
            )
        if here is None or (here.nats_url, here.prefix) != (self.url, self.prefix):
            raise UnavailableError(
                f"it is not known where analytics of the cluster at {self.url} answers",
                hint="name it: --http URL",
            )
        if not here.http_url:
            raise UnavailableError(
                f"the playground in {self.settings.dir} runs without analytics",
                hint="start it without --no-analytics, or name another: --http URL",
            )
        return here.http_url

    @property
    def prefix(self) -> str:
        """The first word of the cluster's subjects."""
        return self.playground.prefix if self.playground else self.settings.prefix

    def client(self) -> Client:
        """A client of the cluster, not open yet; raises `InvalidArgumentError`."""
        try:
            login = login_of(self.settings)
        except OSError as fault:
            raise InvalidArgumentError(
                f"nats_ca ({self._origins['nats_ca']}): {self.settings.nats_ca} cannot be used: "
                f"{fault}",
                hint=HINT_SETTINGS,
            ) from fault
        return AsyncClient(
            self.url,
            prefix=self.prefix,
            timeout=self.settings.timeout_seconds,
            login=login,
        )

    def _find_playground(self, folder: Path | None) -> PlaygroundRecord | None:
        """The playground, unless NATS is named and the folder is not."""
        if self._url_is_given and folder is None:
            return None
        return read_record(Path(self.settings.dir))


class Session:
    """One command's cluster, reached when it is first needed, and its printer."""

    def __init__(self, reach: Reach, form: Format) -> None:
        self.reach: Final = reach
        self.printer: Final = Printer(form)
        self._client: Client | None = None

    async def db(self) -> Client:
        """The open client."""
        if self._client is None:
            self._client = await self.reach.client().open()
        return self._client

    async def close(self) -> None:
        """Leave the cluster."""
        if self._client is not None:
            await self._client.close()


def run_session(
    command: Callable[..., Coroutine[Any, Any, T]], session: Session, arguments: dict[str, Any]
) -> T:
    """Run one command on an event loop of its own.

    Ctrl-C cancels it where it awaits, or interrupts it where it is `interruptible`; then this
    raises `KeyboardInterrupt`.
    """

    async def whole() -> T:
        asyncio.get_running_loop().set_exception_handler(_tell_fault)
        try:
            return await command(session, **arguments)
        finally:
            await session.close()

    return asyncio.run(whole())


def _tell_fault(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Whatever nobody waited for; an interruption struck some task, and is told by the command."""
    if not isinstance(context.get("exception"), KeyboardInterrupt):
        loop.default_exception_handler(context)
