"""JetStream KV with three replicas on three clustered nats-servers, driven by nats-py."""

import asyncio
import json
import os
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

import nats
from nats.aio.client import Client
from nats.errors import Error
from nats.js.api import KeyValueConfig, StorageType
from nats.js.kv import KeyValue

from flaredb.playground.ports import LOCALHOST, Ports
from flaredb.playground.process import Child, ProcessFailed
from flaredb.playground.programs import find_nats_server
from tests.bench.load import VALUE, KeyOrder, Kind, Measurement, Stopwatch, closed_loop
from tests.bench.subject import START_SECONDS, CannotRun, start_all, stop_all

NODES: Final = 3
BUCKET: Final = "bench"
PROBE_SECONDS: Final = 1.0
RETRY_SECONDS: Final = 0.1


class JetStreamSubject:
    """A bucket on disk, with `sync_interval: always`, read and written at the stream's leader."""

    def __init__(self) -> None:
        self._children: list[Child] = []
        self._client: Client | None = None
        self._bucket: KeyValue | None = None

    async def start(self, folder: Path) -> None:
        """Run the servers, make the bucket and connect to the server that leads its stream."""
        try:
            binary = find_nats_server()
        except ProcessFailed as missing:
            raise CannotRun(str(missing)) from missing
        free = Ports()
        ports, routes = ([free.claim() for _ in range(NODES)] for _ in range(2))
        self._children = _servers(binary, folder, ports, routes)
        await start_all(self._children)
        leader = await _make_bucket(ports[0])
        self._client = await _connect(ports[int(leader.removeprefix("node"))])
        self._bucket = await self._client.jetstream().key_value(BUCKET)

    async def drive(self, measurement: Measurement, keys: KeyOrder, stopwatch: Stopwatch) -> None:
        """Keep the calls in flight on one connection."""
        bucket = self._bucket
        assert bucket is not None, "start comes first"

        async def put() -> None:
            await bucket.put(keys.next(Kind.PUT), VALUE)

        async def get() -> None:
            entry = await bucket.get(keys.next(Kind.GET))
            assert entry.value == VALUE, "a get does not find what was put"

        call = put if measurement.kind is Kind.PUT else get
        await closed_loop(call, measurement.in_flight, stopwatch)

    async def checks(self, seconds: float) -> dict[str, float]:
        """There is no second driver."""
        return {}

    async def stop(self) -> None:
        """Disconnect and end the servers."""
        if self._client is not None:
            await self._client.close()
        await stop_all(self._children)


async def _make_bucket(port: int) -> str:
    """Make the bucket once the cluster has a leader; the name of the server that leads its stream.

    Its gets go to that leader, not to any replica (`direct`), which might lag.
    """
    deadline = time.monotonic() + START_SECONDS
    client = await _connect(port)
    config = KeyValueConfig(
        bucket=BUCKET, history=1, replicas=NODES, storage=StorageType.FILE, direct=False
    )
    try:
        while True:
            with suppress(Error):
                await client.jetstream().create_key_value(config)
                stream = await client.jetstream().stream_info(f"KV_{BUCKET}")
                if stream.cluster is not None and stream.cluster.leader:
                    return stream.cluster.leader
            if time.monotonic() > deadline:
                raise RuntimeError("the JetStream cluster does not make a bucket")
            await asyncio.sleep(RETRY_SECONDS)
    finally:
        await client.close()


async def _connect(port: int) -> Client:
    return await nats.connect(f"nats://{LOCALHOST}:{port}", allow_reconnect=False)


def _servers(binary: str, folder: Path, ports: Sequence[int], routes: Sequence[int]) -> list[Child]:
    """The server processes; each knows the others' ports."""
    children = []
    for n, (port, route) in enumerate(zip(ports, routes, strict=True)):
        config = folder / f"node{n}.conf"
        config.write_text(_config(n, port, route, routes, folder / f"node{n}"))
        command = [binary, "--config", str(config)]
        log = folder / f"node{n}.log"
        children.append(Child(f"nats-{n}", command, os.environ, log, partial(_fault, port)))
    return children


def _config(number: int, port: int, route: int, routes: Sequence[int], data: Path) -> str:
    urls = ", ".join(f'"nats://{LOCALHOST}:{other}"' for other in routes)
    return (
        f'server_name: "node{number}"\n'
        f'listen: "{LOCALHOST}:{port}"\n'
        f"jetstream {{ store_dir: {json.dumps(str(data))}, sync_interval: always }}\n"
        f'cluster {{ name: "bench", listen: "{LOCALHOST}:{route}", routes: [{urls}] }}\n'
    )


def _fault(port: int) -> str:
    """Why no client can connect yet; "" when one can."""
    with suppress(OSError), socket.create_connection((LOCALHOST, port), PROBE_SECONDS) as line:
        line.settimeout(PROBE_SECONDS)
        if line.recv(4_096).startswith(b"INFO "):
            return ""
    return f"nothing answers on port {port}"
