"""Analytics as a process of its own, asked over HTTP as its users do."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any, Final, NamedTuple

from flaredb.playground.ports import free_port
from tests.nats_server import dying_with_parent

SECONDS: Final = 30.0


class Reply(NamedTuple):
    """An HTTP answer."""

    status: int
    headers: dict[str, str]
    body: Any


class AnalyticsProcess:
    """`python -m flaredb_analytics` on a folder, a bus and a free port."""

    def __init__(self, folder: Path, nats_url: str) -> None:
        self.folder: Final = folder
        self.port: Final = free_port()
        self._nats_url: Final = nats_url
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start; `wait_until_ready` says when it serves."""
        self._process = subprocess.Popen(
            [
                *(*dying_with_parent(), sys.executable, "-m", "flaredb_analytics"),
                *("--data", str(self.folder), "--nats-url", self._nats_url),
                *("--http", f"127.0.0.1:{self.port}"),
            ],
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "FLAREDB_MEMORY_LIMIT": "128MiB", "FLAREDB_STATEMENT_SECONDS": "1"},
        )

    def end(self, how: signal.Signals) -> tuple[int, str]:
        """Send a signal; returns the exit code and what was logged."""
        assert self._process is not None, "it is not running"
        process, self._process = self._process, None
        process.send_signal(how)
        _, log = process.communicate(timeout=SECONDS)
        return process.returncode, log

    def wait(self) -> tuple[int, str]:
        """Wait until it ends by itself."""
        assert self._process is not None, "it is not running"
        process, self._process = self._process, None
        _, log = process.communicate(timeout=SECONDS)
        return process.returncode, log

    def close(self) -> None:
        """End it if it still runs."""
        if self._process is not None:
            self.end(signal.SIGKILL)

    def wait_until_ready(self, ready: bool = True) -> None:
        """Wait for `/readyz` to say that it serves, or that it does not."""
        deadline = time.monotonic() + SECONDS
        last = ""
        while time.monotonic() < deadline:
            try:
                reply = self.get("/readyz")
                last = f"{reply.status} {reply.body}"
                if (reply.status == 200) == ready:
                    return
            except OSError as error:
                last = str(error)
            time.sleep(0.02)
        raise AssertionError(f"analytics is not {'ready' if ready else 'unready'}: {last}")

    def wait_for(self, query: str, rows: list[list[Any]]) -> None:
        """Wait until `query` has this answer."""
        deadline = time.monotonic() + SECONDS
        reply = self.sql(query)
        while reply.body.get("rows") != rows:
            assert time.monotonic() < deadline, f"{query}: {reply.body}, expected {rows}"
            time.sleep(0.02)
            reply = self.sql(query)

    def sql(self, query: str) -> Reply:
        """`POST /v1/sql`."""
        body = json.dumps({"query": query})
        return self.ask("POST", "/v1/sql", body, {"content-type": "application/json"})

    def get(self, path: str, **headers: str) -> Reply:
        """`GET`."""
        return self.ask("GET", path, None, headers)

    def ask(self, method: str, path: str, body: str | None, headers: dict[str, str]) -> Reply:
        """One request on a connection of its own; JSON comes decoded."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=SECONDS)
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        text = response.read().decode()
        connection.close()
        known = {name.lower(): value for name, value in response.getheaders()}
        is_json = "json" in known.get("content-type", "")
        return Reply(response.status, known, json.loads(text) if is_json else text)

    @contextmanager
    def following(self, after: str = "") -> Iterator[HTTPResponse]:
        """The tail of events, as an open response."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=SECONDS)
        connection.request("GET", f"/v1/events{after}")
        yield connection.getresponse()
        connection.close()


def next_event(response: HTTPResponse) -> tuple[int, dict[str, Any]]:
    """The next event of a tail: its number and its fields."""
    number = 0
    while line := response.readline().decode():
        if line.startswith("id: "):
            number = int(line.removeprefix("id: "))
        elif line.startswith("data: "):
            return number, json.loads(line.removeprefix("data: "))
    raise AssertionError("the tail ended")
