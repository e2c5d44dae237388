"""Regions that grow are cut while clients go on writing: quickly, and hardly anybody notices."""

import asyncio
import random
import time
from itertools import pairwise
from pathlib import Path
from typing import Final

import pytest

from flaredb.client.client import Client
from flaredb.client.errors import FlareDBError
from flaredb.demo.splits import SplitFigures, read_splits
from flaredb.playground.supervisor import LocalCluster
from flaredb_schemas.keys import KeyRange
from tests.cluster import harm
from tests.cluster.verdict import BUSY, Measured, all_replicas_agree

pytestmark = [pytest.mark.cluster, pytest.mark.anyio]

KIB: Final = 1024
MIB: Final = 1024 * KIB
CLIENTS: Final = 8
BUCKETS: Final = 8
"""Parts of the key space of which the longest gaps are watched, each by itself."""

PATIENCE: Final = 240.0


class Writers:
    """Clients that write fresh keys all over the key space, one call after the other each.

    Invariant: `longest_gap` is the longest time, in seconds, between two acknowledged writes in a
    row in any part of the key space.
    """

    def __init__(self, cluster: LocalCluster, value_bytes: int) -> None:
        self._cluster: Final = cluster
        self._value: Final = random.Random(1).randbytes(value_bytes)
        self._last: Final[dict[int, float]] = {}
        self._stopped = False
        self.acknowledged: Final[set[bytes]] = set()
        self.failed: Final[list[FlareDBError]] = []
        self.longest_gap = 0.0

    async def until_split(self, db: Client, splits: int) -> SplitFigures:
        """Write until so many splits are known; what became of them."""
        deadline = time.monotonic() + PATIENCE
        async with asyncio.TaskGroup() as clients:
            for number in range(CLIENTS):
                clients.create_task(self._write(number))
            try:
                while len(await db.placement.regions()) < 2 + splits:
                    assert time.monotonic() < deadline, "the regions do not split any more"
                    await asyncio.sleep(0.2)
            finally:
                self._stopped = True
        return await read_splits(db)

    async def _write(self, number: int) -> None:
        dice = random.Random(number)
        async with self._cluster.client(timeout=10.0) as db:
            while not self._stopped:
                bucket = dice.randrange(BUCKETS)
                key = bytes([ord("a") + 3 * bucket]) + b"%06d" % dice.randrange(10**6)
                try:
                    await db.put(key, self._value)
                except FlareDBError as error:
                    self.failed.append(error)
                else:
                    self._acknowledge(bucket, key)

    def _acknowledge(self, bucket: int, key: bytes) -> None:
        now = time.monotonic()
        self.longest_gap = max(self.longest_gap, now - self._last.get(bucket, now))
        self._last[bucket] = now
        self.acknowledged.add(key)


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("mib", "value_bytes", "splits"),
    [
        (1, 4 * KIB, 6),
        (8, 64 * KIB, 20),
        (96, 64 * KIB, 3),
    ],
)
async def test_growing_regions_split_under_writers(
    mib: int,
    value_bytes: int,
    splits: int,
    tmp_path: Path,
    measured: Measured,
    request: pytest.FixtureRequest,
) -> None:
    if mib > 1 and request.config.getoption("--figures") is None:
        pytest.skip("takes long, and is measured by `make figures`")
    settings = {"split_bytes": str(mib * MIB)}
    async with (
        harm.running(tmp_path / "cluster", settings) as cluster,
        cluster.client(timeout=30.0) as db,
    ):
        writers = Writers(cluster, value_bytes)
        figures = await writers.until_split(db, splits)
        found = {key async for key, _ in db.scan()}
        routes = await db.inspector.routes()
        await all_replicas_agree(cluster)
        snapshots = [
            await harm.figure(cluster, number, "snapshots_sent_total")
            for number in harm.store_numbers(cluster)
        ]
    measured(
        f"splits at {mib} MiB",
        splits=len(figures.seconds),
        new_regions=figures.new_regions,
        registered_median_s=figures.median,
        registered_worst_s=figures.worst,
        acknowledged=len(writers.acknowledged),
        failed=len(writers.failed),
        longest_gap_s=round(writers.longest_gap, 3),
        snapshots=sum(snapshots),
        lost=len(writers.acknowledged - found),
    )
    assert writers.acknowledged <= found
    assert not writers.failed, writers.failed[:3]
    assert not figures.unregistered and figures.new_regions >= splits
    assert figures.worst <= 5.0 * BUSY and writers.longest_gap <= 1.0 * BUSY
    ranges = sorted((route.region.keys for route in routes), key=_start)
    assert ranges[0].start == ranges[-1].end == b""
    assert all(left.end == right.start for left, right in pairwise(ranges))


def _start(keys: KeyRange) -> bytes:
    return keys.start
