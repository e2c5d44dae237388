"""A 3-node etcd, driven by raw HTTP/2 frames at its leader; `h2load` checks the driver."""

import asyncio
import base64
import json
import os
import re
import shutil
from collections.abc import Sequence
from functools import partial
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, Final

from flaredb.playground.ports import LOCALHOST, Ports
from flaredb.playground.process import Child
from tests.bench.grpc_line import GrpcLine, Method
from tests.bench.load import VALUE, KeyOrder, Kind, Measurement, Stopwatch
from tests.bench.subject import CannotRun, start_all, stop_all

NODES: Final = 3
PUT_PATH: Final = "/etcdserverpb.KV/Put"
RANGE_PATH: Final = "/etcdserverpb.KV/Range"
PROBE_SECONDS: Final = 1.0
H2LOAD_IN_FLIGHT: Final = (64, 256)
H2LOAD_WARM_UP: Final = 1
CHECKED_KEY: Final = "bench/one"
H2LOAD_RATE: Final = re.compile(r"finished in .*?, ([\d.]+) req/s")
H2LOAD_FAILED: Final = re.compile(r"(\d+) failed, (\d+) errored, (\d+) timeout")


class EtcdSubject:
    """Three members with a log that is synced before each answer, which is etcd's default."""

    def __init__(self) -> None:
        self._children: list[Child] = []
        self._clients: list[int] = []
        self._line: GrpcLine | None = None
        self._leader_port = 0
        self._folder = Path()

    async def start(self, folder: Path) -> None:
        """Run the members, find the leader and connect to it."""
        etcd = shutil.which("etcd")
        if etcd is None:
            raise CannotRun("there is no etcd on PATH")
        self._folder = folder
        free = Ports()
        self._clients, peers = ([free.claim() for _ in range(NODES)] for _ in range(2))
        self._children = _members(etcd, folder, self._clients, peers)
        await start_all(self._children)
        self._leader_port = await asyncio.to_thread(self._find_leader)
        make_line = partial(GrpcLine, f"{LOCALHOST}:{self._leader_port}")
        _, self._line = await asyncio.get_running_loop().create_connection(
            make_line, LOCALHOST, self._leader_port
        )

    async def drive(self, measurement: Measurement, keys: KeyOrder, stopwatch: Stopwatch) -> None:
        """Keep the calls in flight on one connection."""
        assert self._line is not None, "start comes first"
        if measurement.kind is Kind.PUT:
            method = Method(PUT_PATH, lambda: put_request(keys.next(Kind.PUT)), 1)
        else:
            # A range request is linearizable unless it says otherwise.
            method = Method(RANGE_PATH, lambda: range_request(keys.next(Kind.GET)), len(VALUE))
        await self._line.run(method, measurement.in_flight, stopwatch)

    async def checks(self, seconds: float) -> dict[str, float]:
        """What h2load and this driver reach with one key, which is cheaper for etcd than many.

        RuntimeError: leadership has moved, so the turn measured a forwarding follower.
        """
        if await asyncio.to_thread(self._find_leader) != self._leader_port:
            raise RuntimeError("etcd's leader has changed during the turn")
        if shutil.which("h2load") is None:
            return {}
        rates = {}
        for in_flight in H2LOAD_IN_FLIGHT:
            rates[f"h2load_one_key_{in_flight}"] = await self._h2load(in_flight, seconds)
            rates[f"driver_one_key_{in_flight}"] = await self._one_key(in_flight, seconds)
        return rates

    async def stop(self) -> None:
        """Disconnect and end the members."""
        if self._line is not None:
            self._line.close()
        await stop_all(self._children)

    def _find_leader(self) -> int:
        """The client port of the member that leads."""
        for port in self._clients:
            status = _status(port)
            if status["leader"] == status["header"]["member_id"]:
                return port
        raise RuntimeError("etcd has no leader")

    async def _one_key(self, in_flight: int, seconds: float) -> float:
        """Puts per second of one key through this driver."""
        assert self._line is not None, "start comes first"
        request = put_request(CHECKED_KEY)
        stopwatch = Stopwatch(H2LOAD_WARM_UP, seconds)
        await self._line.run(Method(PUT_PATH, lambda: request, 1), in_flight, stopwatch)
        return stopwatch.sample().per_second

    async def _h2load(self, in_flight: int, seconds: float) -> float:
        """Puts per second of one key over one connection."""
        message = put_request(CHECKED_KEY)
        body = self._folder / "h2load.body"
        body.write_bytes(b"\x00" + len(message).to_bytes(4, "big") + message)
        process = await asyncio.create_subprocess_exec(
            "h2load",
            *(
                "-D",
                str(max(1, round(seconds))),
                "--warm-up-time",
                str(H2LOAD_WARM_UP),
                "-c",
                "1",
                "-t",
                "1",
            ),
            *("-m", str(in_flight), "-d", str(body), "-H", "content-type: application/grpc"),
            *("-H", "te: trailers", f"http://{LOCALHOST}:{self._leader_port}{PUT_PATH}"),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            said = (await process.communicate())[0].decode()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        return read_h2load(said)


def read_h2load(said: str) -> float:
    """Requests per second out of h2load's report. RuntimeError: some failed, or it says nothing."""
    rate, failed = H2LOAD_RATE.search(said), H2LOAD_FAILED.search(said)
    if rate is None or failed is None or any(int(count) for count in failed.groups()):
        raise RuntimeError(f"h2load reports no clean run: {said[-500:]}")
    return float(rate[1])


def put_request(key: str) -> bytes:
    """A `PutRequest` (protobuf): key and value."""
    return _bytes_field(1, key.encode()) + _bytes_field(2, VALUE)


def range_request(key: str) -> bytes:
    """A `RangeRequest` (protobuf) of one key."""
    return _bytes_field(1, key.encode())


def _bytes_field(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | 2]) + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def _members(etcd: str, folder: Path, clients: Sequence[int], peers: Sequence[int]) -> list[Child]:
    """The member processes; ports are free, data lies under `folder`."""
    cluster = ",".join(f"node{n}=http://{LOCALHOST}:{port}" for n, port in enumerate(peers))
    return [
        Child(
            f"etcd-{n}",
            [
                *(etcd, "--name", f"node{n}", "--data-dir", str(folder / f"node{n}")),
                *("--listen-client-urls", f"http://{LOCALHOST}:{client}"),
                *("--advertise-client-urls", f"http://{LOCALHOST}:{client}"),
                *("--listen-peer-urls", f"http://{LOCALHOST}:{peer}"),
                *("--initial-advertise-peer-urls", f"http://{LOCALHOST}:{peer}"),
                *("--initial-cluster", cluster, "--initial-cluster-state", "new"),
                *("--logger", "zap", "--log-level", "warn"),
            ],
            {name: value for name, value in os.environ.items() if not name.startswith("ETCD_")},
            folder / f"node{n}.log",
            partial(_fault, client),
        )
        for n, (client, peer) in enumerate(zip(clients, peers, strict=True))
    ]


def _fault(port: int) -> str:
    """Why the member does not serve yet; "" when it knows a leader and answers a quorum read."""
    try:
        if _status(port).get("leader", "0") == "0":
            return "it knows no leader"
        key = base64.b64encode(b"bench").decode()
        _post(port, "/v3/kv/range", {"key": key})
    except (OSError, HTTPException, ValueError, KeyError) as fault:
        return str(fault)
    return ""


def _status(port: int) -> dict[str, Any]:
    return _post(port, "/v3/maintenance/status", {})


def _post(port: int, path: str, body: dict[str, str]) -> dict[str, Any]:
    """Ask etcd's JSON gateway. ValueError: it refuses."""
    connection = HTTPConnection(f"{LOCALHOST}:{port}", timeout=PROBE_SECONDS)
    try:
        connection.request("POST", path, json.dumps(body))
        answer = connection.getresponse()
        said = answer.read()
        if answer.status != 200:
            raise ValueError(said.decode(errors="replace"))
        document: dict[str, Any] = json.loads(said)
        return document
    finally:
        connection.close()
