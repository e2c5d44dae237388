"""Who is not of this project: a reader with nats-py alone, and a PD that hands out nonsense."""

import asyncio
import json
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest
from anyio.to_thread import run_sync

from flaredb.bus.bus import Message
from flaredb.bus.nats_bus import NatsBus
from flaredb.playground.supervisor import LocalCluster
from flaredb_schemas.envelope import Codec
from flaredb_schemas.ids import (
    ClusterId,
    JournalSequence,
    PdEpoch,
    PeerId,
    RegionId,
    StoreId,
)
from flaredb_schemas.keys import KeyRange
from flaredb_schemas.placement import CreateRegions, JoinAnswer, Joined, Order
from flaredb_schemas.regions import Epoch, Peer, Region
from flaredb_schemas.subjects import Subjects
from tests.cluster import harm
from tests.cluster.alone import Ended, run_alone
from tests.cluster.verdict import Measured
from tests.nats_server import NatsServer

pytestmark = [pytest.mark.cluster, pytest.mark.anyio]

SUBJECTS: Final = Subjects()
CLUSTER: Final = ClusterId("c" * 32)
ORDER_SECONDS: Final = 0.2


def read_plainly(url: str) -> list[dict[str, Any]]:
    """What the reader prints, which finds nothing of this project on its path."""
    script = Path(__file__).with_name("plain_reader.py")
    command = [sys.executable, "-I", str(script), url]
    said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert said.returncode == 0, said.stderr
    return [json.loads(line) for line in said.stdout.splitlines()]


async def test_a_plain_script_reads_leaders_splits_and_heartbeats(
    cluster: LocalCluster, measured: Measured
) -> None:
    async with cluster.client(timeout=20.0) as db:
        await db.put(b"a", b"1")
        await db.put(b"z", b"1")
        async with asyncio.timeout(20):  # PD hears of leaders a little later than clients
            while any(row.leader == 0 for row in await db.placement.regions()):
                await asyncio.sleep(0.05)
        first = min(row.id for row in await db.placement.regions())
        parts = await db.placement.split(first, b"b")
        leaders = {route.region.id: route.leader for route in await db.inspector.routes()}
    lines = await run_sync(read_plainly, cluster.url)
    changes = [line for line in lines if line["type"] == "region.leader_changed"]
    beats = [line for line in lines if line["type"] == "store.heartbeat"]
    assert {line["region"]: line["leader"] for line in changes} == leaders
    (split,) = [line for line in lines if line["type"] == "region.split"]
    assert [part["id"] for part in split["parts"]] == [row.id for row in parts]
    assert [part["start_text"] for part in split["parts"]] == ["", "b"]
    assert {line["store"]["store"] for line in beats} == set(harm.store_numbers(cluster))
    assert all(line["store"]["free"] > 0 for line in beats)
    measured("plain reader", leader_changes=len(changes), heartbeats=len(beats))


class BadPd:
    """Accepts a store, and hands it initial regions that clash."""

    def __init__(self, bus: NatsBus, ranges: list[KeyRange]) -> None:
        self._bus: Final = bus
        peers = (Peer(PeerId(9), StoreId(1)),)
        self._regions: Final = tuple(
            Region(RegionId(number), keys, Epoch(1, 1), peers)
            for number, keys in enumerate(ranges, start=2)
        )

    async def run(self) -> None:
        """Answer and order until cancelled."""
        await self._bus.subscribe(SUBJECTS.pd_request(StoreId(0), "join"), self._accept)
        order = Order(PdEpoch(1), JournalSequence(1), CreateRegions(CLUSTER, self._regions))
        payload = Codec[Order](Order).encode(order)
        while True:
            self._bus.send(SUBJECTS.pd_order(StoreId(1)), payload)
            await asyncio.sleep(ORDER_SECONDS)

    def _accept(self, message: Message) -> None:
        joined = Joined(CLUSTER, StoreId(1), PdEpoch(1), JournalSequence(1), 9)
        self._bus.send(message.reply, Codec[JoinAnswer](JoinAnswer).encode(joined))


@pytest.mark.parametrize(
    ("ranges", "told"),
    [
        (
            [KeyRange(b"", b"m"), KeyRange(b"k", b"")],
            'overlap between ["", "m") and ["k", ∞)',
        ),
        (
            [KeyRange(b"", b"m"), KeyRange(b"n", b"")],
            'hole between ["", "m") and ["n", ∞)',
        ),
    ],
)
async def test_a_store_refuses_initial_regions_that_clash(
    nats_server: NatsServer, tmp_path: Path, ranges: list[KeyRange], told: str
) -> None:
    bus = await NatsBus.connect(nats_server.url, name="bad-pd")
    pd = asyncio.create_task(BadPd(bus, ranges).run())
    settings = {"nats_url": nats_server.url, "data": str(tmp_path / "store")}
    try:
        ended: Ended = await run_sync(partial(run_alone, "flaredb.store", settings=settings))
    finally:
        pd.cancel()
        await bus.close()
    assert ended.code == 1 and told in ended.said and "Traceback" not in ended.said, ended


def test_pd_refuses_initial_regions_that_clash(nats_server: NatsServer) -> None:
    settings = {"nats_url": nats_server.url, "initial_regions": "..m,k.."}
    ended = run_alone("flaredb_pd", settings=settings)
    assert ended.code == 2 and 'overlap between ["", "m") and ["k", ∞)' in ended.said, ended
