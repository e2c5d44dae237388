"""A blocking client that nobody closes goes with its program, or with the last who knew it."""

import asyncio
import gc
import subprocess
import sys
import threading
from typing import Any

import pytest

from flaredb.bus.memory_bus import MemoryBus
from flaredb.client.client import Client
from flaredb.client.sync import BlockingClient
from flaredb.runtime.clock import SystemClock, seeded_jitter
from tests.client.fake_cluster import LiveHub
from tests.nats_server import NatsServer, nats_server

__all__ = ["nats_server"]

DEADLINE = 10.0

PROGRAM = """
import sys, flaredb
db = flaredb.connect(sys.argv[1])
rows = db.scan()
print("the last line", flush=True)
"""


def test_a_program_ends_without_closing(nats_server: NatsServer) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, nats_server.url],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "the last line\n", "")


class Opened:
    """A client, its thread, and the loop and the connection there."""

    def __init__(self) -> None:
        before = {*threading.enumerate()}
        self.client: Any = BlockingClient(lambda: Client(self._connect, jitter=seeded_jitter(7)))
        (self.thread,) = {*threading.enumerate()} - before

    async def _connect(self) -> MemoryBus:
        self.loop = asyncio.get_running_loop()
        self.bus = LiveHub(SystemClock()).connect("client")
        return self.bus

    def assert_gone(self) -> None:
        self.thread.join(DEADLINE)
        assert not self.thread.is_alive() and self.loop.is_closed() and not self.bus.connected


def test_a_forgotten_client_frees_its_thread_and_its_connection() -> None:
    opened = Opened()
    assert opened.bus.connected
    opened.client = None
    opened.assert_gone()


@pytest.mark.parametrize("collector", ["this thread", "its own thread"])
def test_one_that_is_collected_as_garbage_goes_too(collector: str) -> None:
    opened = Opened()
    gc.disable()
    try:
        opened.client.itself = opened.client
        opened.client = None
        if collector == "this thread":
            gc.collect()
        else:
            opened.loop.call_soon_threadsafe(gc.collect)
        opened.assert_gone()
    finally:
        gc.enable()


def test_closing_is_the_same_as_ever() -> None:
    opened = Opened()
    opened.client.close()
    assert not opened.thread.is_alive()
    opened.client.close()
    opened.assert_gone()
