"""A real nats-server for a test: on a free port, JetStream in a folder, killed and paused at will.

    def test_something(nats_server: NatsServer) -> None: ...

A test folder gets the fixture by `from tests.nats_server import nats_server` in its `conftest.py`
(and `__all__ = ["nats_server"]`, so that the import counts as used). The server dies with the
process that started it.
"""

import json
import shutil
import signal
import socket
import subprocess
import sysconfig
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import pytest

from flaredb.playground.ports import free_port

START_SECONDS: Final = 10.0


class NatsServer:
    """One server and its folder; `start` after `kill` or `stop` comes back on the same port.

    `extra` is appended to the configuration text, for example `max_payload: 4096`.
    """

    def __init__(self, folder: Path, extra: str = "", port: int = 0) -> None:
        self.folder: Final = folder
        self.extra = extra
        self.port: Final = port or free_port()
        self.name: Final = f"test-{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """What a client connects to."""
        return f"nats://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """The process, which must be running."""
        assert self._process is not None, "the server is not running"
        return self._process.pid

    def config_text(self) -> str:
        """The whole configuration, as written before each start."""
        return (
            f'server_name: {self.name}\nlisten: "127.0.0.1:{self.port}"\n'
            f'jetstream {{ store_dir: "{self.folder / "jetstream"}", sync_interval: always }}\n'
            f"{self.extra}\n"
        )

    def start(self) -> None:
        """Start, and return when clients can connect to this server and no other."""
        assert self._process is None, "the server is running already"
        self.folder.mkdir(parents=True, exist_ok=True)
        config = self.folder / "nats.conf"
        config.write_text(self.config_text())
        with (self.folder / "nats.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*dying_with_parent(), find_nats_server(), "-c", str(config)],
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self._wait_until_up()

    def kill(self) -> None:
        """SIGKILL: nothing is flushed, nobody is told."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """SIGTERM, and wait."""
        self._end(signal.SIGTERM)

    def pause(self) -> None:
        """SIGSTOP: connections stand, nothing moves."""
        assert self._process is not None, "the server is not running"
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        assert self._process is not None, "the server is not running"
        self._process.send_signal(signal.SIGCONT)

    def reload(self) -> None:
        """Write the configuration again, with what `extra` says now, and SIGHUP."""
        assert self._process is not None, "the server is not running"
        (self.folder / "nats.conf").write_text(self.config_text())
        self._process.send_signal(signal.SIGHUP)

    def lose_data(self) -> None:
        """Remove all that JetStream kept; only while the server is down."""
        assert self._process is None, "stop the server before its folder is removed"
        shutil.rmtree(self.folder / "jetstream", ignore_errors=True)

    def close(self) -> None:
        """End whatever still runs."""
        if self._process is not None:
            self.kill()

    def _end(self, how: signal.Signals) -> None:
        assert self._process is not None, "the server is not running"
        process, self._process = self._process, None
        process.send_signal(how)
        process.send_signal(signal.SIGCONT)
        process.wait(timeout=START_SECONDS)

    def _wait_until_up(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            assert self._process is not None
            if self._process.poll() is not None:
                break
            with suppress(OSError, ValueError):
                if self._greeting()["server_name"] == self.name:
                    return
            time.sleep(0.01)
        log = (self.folder / "nats.log").read_text(errors="replace")[-2_000:]
        raise AssertionError(f"nats-server did not come up on port {self.port}:\n{log}")

    def _greeting(self) -> dict[str, Any]:
        with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
            line = connection.makefile("rb").readline()
        greeting: dict[str, Any] = json.loads(line.removeprefix(b"INFO "))
        return greeting


def find_nats_server() -> str:
    """The server's binary: from PATH, else beside this interpreter."""
    found = shutil.which("nats-server") or shutil.which(
        "nats-server", path=sysconfig.get_path("scripts")
    )
    assert found, "no nats-server: install the extra `playground`"
    return found


def dying_with_parent() -> list[str]:
    """The words before a command that end it with the process that started it, where known."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL"] if setpriv else []


@pytest.fixture
def nats_server(tmp_path: Path) -> Iterator[NatsServer]:
    """A running server for one test."""
    server = NatsServer(tmp_path / "nats")
    server.start()
    yield server
    server.close()
