"""One child process: started, killed, paused, stopped; what it says goes to a log file.

A child dies with the process that started it, also when that is killed, where the system can do
that (`setpriv`, which every Linux distribution has). The kernel counts the *thread* that started a
child as its parent, so a supervisor starts all of them from one thread that it keeps.
"""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final

from flaredb.runtime.listening import CANNOT_LISTEN

PREFIX: Final = "FLAREDB_"
"""What the variables of all settings begin with."""

STOP_SECONDS: Final = 15.0
"""How long a child may take to stop cleanly before it is killed."""

LOG_TAIL_BYTES: Final = 2_000

NO_SETTINGS: Final[Mapping[str, str]] = MappingProxyType({})


class ProcessFailed(Exception):
    """A child ended, or does not come up; the text says which, and the end of its log.

    `hint` says what to do where more helps than to look at that.
    """

    def __init__(self, text: str, hint: str = "") -> None:
        super().__init__(text)
        self.hint = hint


class Child:
    """A process of the cluster; `start` after `kill` or `stop` runs it again.

    `ready` says in words why it does not serve yet, and "" when it does. As it was last started,
    `once` are the settings of that start alone, and `ops` is `host:port` of health and metrics,
    empty for none.
    Invariant: at most one process of this child runs at a time.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str],
        log: Path,
        ready: Callable[[], str],
    ) -> None:
        self.name: Final = name
        self.log: Final = log
        self._command: Final = [*_dying_with_parent(), *command]
        self._environment: Final = dict(environment)
        self._ready: Final = ready
        self._process: subprocess.Popen[bytes] | None = None
        self._said_before = 0
        self.once = NO_SETTINGS
        self.ops = ""

    @property
    def settings(self) -> dict[str, str]:
        """The settings that it was given, by their variables, also those of this start alone."""
        told = self._told().items()
        return {name: value for name, value in told if name.startswith(PREFIX)}

    @property
    def pid(self) -> int | None:
        """The process id, None while it does not run."""
        return self._process.pid if self._process and self._process.poll() is None else None

    @property
    def exit_code(self) -> int | None:
        """How it ended, None while it runs or was never started."""
        return self._process.poll() if self._process else None

    @property
    def could_not_listen(self) -> bool:
        """Whether it ended because its operations port was somebody else's by then."""
        ended = bool(self.ops) and self.pid is None
        return ended and f"{CANNOT_LISTEN} {self.ops}:" in self.tail()

    def start(self, once: Mapping[str, str] = NO_SETTINGS) -> None:
        """Run it; `wait_ready` tells when it serves. `once` are settings of this start alone."""
        assert self.pid is None, f"{self.name} runs already"
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._said_before, self.once = log.tell(), once
            self._process = subprocess.Popen(
                self._command,
                env=self._told(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                process_group=0,  # a Ctrl-C on the terminal is for the supervisor alone
            )

    def wait_ready(self, deadline: float) -> None:
        """Wait until it serves. Raises `ProcessFailed` if it ends, or at `deadline` (monotonic)."""
        while reason := self.why_not_ready():
            if self.exit_code is not None:
                raise ProcessFailed(
                    f"{self.name} ended with code {self.exit_code}; its log says:\n{self.tail()}"
                )
            if time.monotonic() > deadline:
                raise ProcessFailed(
                    f"{self.name} does not come up: {reason}; its log says:\n{self.tail()}"
                )
            time.sleep(0.02)

    def why_not_ready(self) -> str:
        """Why it does not serve, in words; "" when it does."""
        return self._ready() if self.pid is not None else "it does not run"

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, if it runs."""
        if self.pid is not None and self._process is not None:
            self._process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self.signal(signal.SIGKILL)
        self.wait(STOP_SECONDS)

    def wait(self, seconds: float) -> None:
        """Wait until it has ended; kill it when it takes longer."""
        if self._process is None:
            return
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    @property
    def last_words(self) -> str:
        """The last line of what it said since it was started."""
        lines = self.tail().strip().splitlines()
        return lines[-1] if lines else ""

    def tail(self) -> str:
        """The end of what it said since it was started."""
        try:
            said = self.log.read_bytes()[self._said_before :]
        except OSError:
            return ""
        return said[-LOG_TAIL_BYTES:].decode(errors="replace")

    def _told(self) -> dict[str, str]:
        return {**self._environment, **variables(self.once)}


def variables(settings: Mapping[str, str]) -> dict[str, str]:
    """What tells a process these settings, names and values, by its environment."""
    return {f"{PREFIX}{name.upper()}": value for name, value in settings.items()}


def _dying_with_parent() -> list[str]:
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL", "--"] if setpriv and os.name == "posix" else []
