"""What a playground runs: nats-server, PD, stores and analytics, each told by its environment."""

import json
import os
import shutil
import socket
import sys
import sysconfig
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Final

from msgspec import Struct

from flaredb.playground.ports import LOCALHOST, Ports
from flaredb.playground.process import NO_SETTINGS, Child, ProcessFailed, variables
from flaredb.playground.record import ProcessRecord
from flaredb.runtime.settings import KINDS
from flaredb.runtime.settings_sources import describe

PROBE_SECONDS: Final = 1.0


def find_nats_server(chosen: str = "") -> str:
    """The nats-server to run: the chosen one, else from PATH, else from the wheel."""
    if chosen:
        if os.access(chosen, os.X_OK):
            return chosen
        raise ProcessFailed(f"{chosen} is no program that can be run")
    found = shutil.which("nats-server") or shutil.which(
        "nats-server", path=sysconfig.get_path("scripts")
    )
    if not found:
        raise ProcessFailed(
            "there is no nats-server: pip install 'flaredb[playground]', or give --nats URL"
        )
    return found


def nats_child(folder: Path, logs: Path, port: int, binary: str) -> Child:
    """A nats-server with JetStream that has on disk what it acknowledges."""
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "nats.conf"
    config.write_text(
        f'server_name: "flaredb-playground-{port}"\n'
        f'listen: "{LOCALHOST}:{port}"\n'
        "jetstream {\n"
        f"    store_dir: {json.dumps(str(folder.resolve()))}\n"
        "    # The default syncs every two minutes: a power cut would lose acknowledged events.\n"
        "    sync_interval: always\n"
        "}\n"
    )
    ready = partial(_nats_fault, port)
    command = [binary, "--config", str(config)]
    return Child("nats", command, os.environ, logs / "nats.log", ready)


class PythonChild(Child):
    """A process of this project, which tells on its operations port whether it serves.

    `choose` says at each start where that is, from where it was, and the process is told by its
    setting `listens_by`: while it does not run, its port can become anybody's.
    """

    def __init__(
        self,
        name: str,
        module: str,
        settings: Mapping[str, str],
        log: Path,
        listens_by: str,
        choose: Callable[[str], str],
    ) -> None:
        environment = {**os.environ, **variables(settings), "PYTHONUNBUFFERED": "1"}
        command = [sys.executable, "-m", module]
        super().__init__(name, command, environment, log, lambda: _ops_fault(self.ops))
        self._listens_by: Final = listens_by
        self._choose: Final = choose

    def start(self, once: Mapping[str, str] = NO_SETTINGS) -> None:
        self.ops = self._choose(self.ops)
        super().start({**once, self._listens_by: self.ops})


class Programs(Struct, frozen=True):
    """The processes of this project in one cluster, all of them told the same.

    `urls` holds those that reach nats-server by another URL than `url`, until they are made.
    """

    path: Path
    url: str
    urls: Mapping[str, str]
    prefix: str
    settings: Mapping[str, str]
    ports: Ports
    store_module: str

    def folder(self, name: str) -> Path:
        """Where the data of a process lies."""
        return self.path / name

    def pd(self, name: str, stores: int) -> Child:
        """A PD that waits for so many stores before it begins a cluster."""
        settings = {"wanted_stores": str(stores)}
        return self._child(name, "flaredb_pd", settings, "ops", self.ports.another)

    def store(self, number: int, zones: int) -> Child:
        """A store that tells PD its name, which gives it the same number in a new cluster."""
        name = f"store-{number}"
        zone = f"zone=zone-{(number - 1) % zones + 1}" if zones else ""
        given = self.settings.get("labels", ""), zone, f"name={name}"
        labels = ",".join(filter(None, given))
        settings = {"data": str(self.folder(name).resolve()), "labels": labels}
        return self._child(name, self.store_module, settings, "ops", self.ports.another)

    def analytics(self, http: str) -> Child:
        """Analytics, which tells of itself where it answers SQL: its users know that address."""
        settings = {"data": str(self.folder("analytics").resolve())}
        return self._child("analytics", "flaredb_analytics", settings, "http", lambda _: http)

    def _child(
        self,
        name: str,
        module: str,
        settings: Mapping[str, str],
        listens_by: str,
        choose: Callable[[str], str],
    ) -> Child:
        given = {
            "nats_url": self.urls.get(name, self.url),
            "prefix": self.prefix,
            "log_format": "text",
            **self.settings,
            **settings,
        }
        log = self.path / "logs" / f"{name}.log"
        return PythonChild(name, module, given, log, listens_by, choose)


def record_of(child: Child, path: Path) -> ProcessRecord:
    """What others may know of a process of the playground in the folder `path`."""
    data = "" if child.name.startswith("pd") else str(path / child.name)
    settings = masked(child.settings) if child.name != "nats" else {}
    return ProcessRecord(child.name, child.pid, str(child.log), child.ops, data, settings)


def masked(settings: Mapping[str, str]) -> dict[str, str]:
    """Settings by their variables, as anybody may read them."""
    secret = {
        f"FLAREDB_{each.name.upper()}"
        for kind in KINDS.values()
        for each in describe(kind)
        if each.secret
    }
    return {name: "***" if name in secret else value for name, value in settings.items()}


def metrics_of(address: str) -> dict[str, float]:
    """The figures without labels that the process at this operations address counts.

    Raises `OSError` where none answers.
    """
    connection = HTTPConnection(address, timeout=PROBE_SECONDS)
    try:
        connection.request("GET", "/metrics")
        lines = connection.getresponse().read().decode().splitlines()
    except HTTPException as fault:
        raise OSError(f"{address} does not tell its figures: {fault}") from fault
    finally:
        connection.close()
    pairs = (line.split() for line in lines if line and not line.startswith("#"))
    return {pair[0]: float(pair[1]) for pair in pairs if len(pair) == 2 and "{" not in pair[0]}


def _nats_fault(port: int) -> str:
    """Why no client can connect to nats-server yet; "" when one can."""
    with suppress(OSError), socket.create_connection((LOCALHOST, port), PROBE_SECONDS) as line:
        line.settimeout(PROBE_SECONDS)
        if line.recv(4_096).startswith(b"INFO "):
            return ""
    return f"nothing answers on port {port}"


def _ops_fault(address: str) -> str:
    """Why the process at this operations address does not serve yet; "" when it does."""
    connection = HTTPConnection(address, timeout=PROBE_SECONDS)
    try:
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        said = answer.read(2_000).decode(errors="replace").strip()
        return "" if answer.status == 200 else said or f"it answers {answer.status}"
    except (OSError, HTTPException) as fault:
        return f"its operations port does not answer ({fault})"
    finally:
        connection.close()
