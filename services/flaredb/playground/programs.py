"""What a playground runs: nats-server, PD, stores and analytics, each told by its environment."""

import json
import os
import shutil
import socket
import sys
import sysconfig
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Final

from flaredb.playground.process import Child, ProcessFailed
from flaredb.runtime.settings import KINDS
from flaredb.runtime.settings_sources import describe

LOCALHOST: Final = "127.0.0.1"
PROBE_SECONDS: Final = 1.0


def free_port() -> int:
    """A TCP port of this machine that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind((LOCALHOST, 0))
        port: int = probe.getsockname()[1]
    return port


def with_port(address: str) -> str:
    """`host:port`, with a free port in place of 0."""
    host, _, port = address.rpartition(":")
    return f"{host}:{free_port()}" if port == "0" else address


def why_taken(address: str) -> str:
    """Why nobody can begin to listen at `host:port` now, in the system's words; "" if one can."""
    host, _, port = address.rpartition(":")
    try:
        (family, kind, _, _, place), *_ = socket.getaddrinfo(
            host.strip("[]"), int(port), type=socket.SOCK_STREAM
        )
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(place)
    except OSError as fault:
        return fault.strerror or str(fault)
    return ""


def is_free(address: str) -> bool:
    """Whether somebody could listen at `host:port` now."""
    return not why_taken(address)


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


def python_child(
    name: str, module: str, settings: Mapping[str, str], ops: str, logs: Path
) -> Child:
    """A process of this project; `settings` are names of settings and their values.

    `ops` is the `host:port` that tells whether it serves.
    """
    given = {f"FLAREDB_{setting.upper()}": value for setting, value in settings.items()}
    environment = {
        **os.environ,
        **given,
        "PYTHONUNBUFFERED": "1",
    }
    ready = partial(_ops_fault, ops)
    command = [sys.executable, "-m", module]
    return Child(name, command, environment, logs / f"{name}.log", ready)


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
