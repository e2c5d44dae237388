"""`python -m flaredb_pd` as a process: settings refused, killed and taken over, stopped cleanly."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from flaredb.bus.nats_bus import NatsBus
from flaredb.playground.ports import free_port
from tests.nats_server import NatsServer, dying_with_parent
from tests.pd.fake_store import SUBJECTS, FakeStore


@contextmanager
def pd_process(server: NatsServer, *flags: str) -> Iterator[subprocess.Popen[bytes]]:
    """A running PD; killed in the end if it still runs."""
    command = [sys.executable, "-m", "flaredb_pd", "--nats-url", server.url, *flags]
    environment = {key: value for key, value in os.environ.items() if "FLAREDB" not in key}
    process = subprocess.Popen(
        [*dying_with_parent(), *command], env=environment, stderr=subprocess.PIPE
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


async def ask(bus: NatsBus, what: str) -> Any:
    """PD's JSON answer, or None if nobody leads."""
    payload = await bus.request(SUBJECTS.pd_get(what), b"", timeout=0.2)
    return json.loads(payload) if payload else None


async def status_when(bus: NatsBus, seconds: float, least_epoch: int) -> Any:
    """The status of a ready PD of at least this epoch."""
    async with asyncio.timeout(seconds):
        while True:
            status = await ask(bus, "status")
            if status and status["ready"] and status["pd_epoch"] >= least_epoch:
                return status


@pytest.mark.cluster
def test_the_survivor_takes_over_within_five_seconds(nats_server: NatsServer) -> None:
    async def story(processes: list[subprocess.Popen[bytes]]) -> None:
        bus = await NatsBus.connect(nats_server.url, name="stores")
        stores = [FakeStore(bus, letter) for letter in "abc"]
        for store in stores:
            await store.start()
        before = await status_when(bus, 20, least_epoch=1)
        leader = await find_leader(bus, processes)
        leader.send_signal(signal.SIGKILL)
        killed = time.monotonic()
        after = await status_when(bus, 10, least_epoch=before["pd_epoch"] + 1)
        assert time.monotonic() - killed <= 5
        assert after["cluster"] == before["cluster"] and after["pd"] != before["pd"]
        assert [store.created for store in stores] == [1, 1, 1]
        for store in stores:
            await store.stop()
        await bus.close()

    with pd_process(nats_server) as first, pd_process(nats_server) as second:
        asyncio.run(story([first, second]))


async def find_leader(
    bus: NatsBus, processes: list[subprocess.Popen[bytes]]
) -> subprocess.Popen[bytes]:
    """The process whose pause silences PD."""
    async with asyncio.timeout(10):
        while True:
            for process in processes:
                process.send_signal(signal.SIGSTOP)
                silent = await ask(bus, "status") is None
                process.send_signal(signal.SIGCONT)
                if silent and await ask(bus, "status"):
                    return process


@pytest.mark.cluster
def test_health_and_a_clean_stop(nats_server: NatsServer) -> None:
    port = free_port()
    flags = ("--ops", f"127.0.0.1:{port}", "--answer-seconds", "0.2")
    with pd_process(nats_server, *flags) as process:
        deadline = time.monotonic() + 20
        while fetch(port, "readyz")[0] != 200:
            assert time.monotonic() < deadline, "PD did not become ready"
            time.sleep(0.05)
        assert fetch(port, "livez") == (200, "ok\n")
        assert re.search(r"^flaredb_pd_leads\{.*\} 1\.0$", fetch(port, "metrics")[1], re.MULTILINE)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=10) == 0


def fetch(port: int, path: str) -> tuple[int, str]:
    """Status and text of one page; 0 if nobody listens."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=2) as answer:
            return answer.status, answer.read().decode()
    except OSError as error:
        return getattr(error, "code", 0), ""


@pytest.mark.cluster
@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--initial-boundaries", "t,m"), "initial_boundaries"),
        (("--initial-regions", "..m,k.."), 'overlap between ["", "m") and ["k", ∞)'),
        (("--initial-regions", "..m,n.."), 'hole between ["", "m") and ["n", ∞)'),
        (("--wanted-stores", "1"), "3 replicas cannot be spread over 1 stores"),
    ],
)
def test_settings_that_cannot_be_used_stop_it(
    nats_server: NatsServer, flags: tuple[str, ...], said: str
) -> None:
    with pd_process(nats_server, *flags) as process:
        _, told = process.communicate(timeout=20)
        assert process.returncode == 2 and said in told.decode()
