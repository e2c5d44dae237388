"""A store is lost for good: its replicas are made anew elsewhere, with a majority at any time."""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pytest
from msgspec.structs import replace

from flaredb.client.client import Client
from flaredb_schemas.ids import PeerId, RegionId, StoreId
from flaredb_schemas.pd_answers import RegionRow
from flaredb_schemas.placement import (
    PeerReport,
    RoleName,
)
from tests.cluster import harm
from tests.cluster.filling import MIB, UNSPLIT, fill_regions, store_row
from tests.cluster.load import Load
from tests.cluster.test_balance import boundaries
from tests.cluster.test_moves import holders
from tests.cluster.verdict import BUSY, Measured, check_coverage, judge

pytestmark = [pytest.mark.cluster, pytest.mark.anyio]

REGIONS: Final = 12
STORES: Final = 4
IMPATIENT: Final = {
    "store_disconnected_seconds": "2",
    "store_down_seconds": "4",
    "replace_after_seconds": "4",
}
WHOLE_SECONDS: Final = 120.0
LONGEST_GAP: Final = 5.0
EMPTY_ROW: Final = RegionRow(
    id=RegionId(4),
    state="available",
    start="",
    end="",
    start_b64=b"",
    end_b64=b"",
    leader=PeerId(10),
    leader_store=StoreId(1),
    peers=(),
    version=1,
    conf_ver=1,
    term=6,
    keys=0,
    bytes=0,
    asleep=False,
    down_peers=(),
    pending_peers=(),
)


def live_share(row: RegionRow, gone: StoreId) -> float:
    """Which share of those who vote lives; in joint majorities, of the worse of the two."""
    shares: list[float] = []
    for roles in (("voter", "demoting_voter"), ("voter", "incoming_voter")):
        voters = [peer for peer in row.peers if peer.role in roles]
        shares.append(sum(peer.store != gone for peer in voters) / len(voters))
    return min(shares)


def is_whole(rows: Sequence[RegionRow], gone: StoreId) -> bool:
    """Whether each region has three voters, none of them on the store that is gone."""
    roles = [[peer.role for peer in row.peers] for row in rows]
    return all(some == ["voter"] * 3 for some in roles) and not any(
        gone in holders(row) for row in rows
    )


async def until_down(db: Client, store: StoreId) -> None:
    """Wait until PD counts the store as down."""
    async with asyncio.timeout(WHOLE_SECONDS):
        while (await store_row(db, store)).health != "down":
            await asyncio.sleep(0.05)


async def until_whole(db: Client, gone: StoreId) -> tuple[float, float]:
    """Wait until all is whole; how many seconds that took, and the least share that lived."""
    begun, least = time.monotonic(), 1.0
    while True:
        rows = await db.placement.regions()
        least = min(least, *(live_share(row, gone) for row in rows))
        if is_whole(rows, gone):
            return time.monotonic() - begun, least
        assert time.monotonic() - begun < BUSY * WHOLE_SECONDS, "it is not repaired"
        await asyncio.sleep(0.1)


@pytest.mark.timeout(600)
async def test_a_store_is_killed_for_good(
    tmp_path: Path, repeat: int, measured: Measured, request: pytest.FixtureRequest
) -> None:
    is_figure = request.config.getoption("--figures") is not None
    mib = 100 if is_figure else 12
    settings = {"initial_boundaries": boundaries(REGIONS), **UNSPLIT, **IMPATIENT}
    async with (
        harm.running(tmp_path / "cluster", settings, stores=STORES) as cluster,
        cluster.client(timeout=30.0) as db,
    ):
        await fill_regions(db, -(-mib * MIB // REGIONS))
        load = Load(cluster, repeat)
        async with load.running():
            await load.go_on(2.0, writes=100)
            victim = await harm.busiest(cluster)
            gone = harm.store_id(cluster, victim)
            lost = sum(gone in holders(row) for row in await db.placement.regions())
            await harm.kill(cluster, f"store-{victim}")
            await until_down(db, gone)
            took, least = await until_whole(db, gone)
            await load.go_on(1.0, writes=50)
        operators = await db.placement.operators()
        check_coverage(await db.inspector.routes())
        figures = await judge(cluster, load)
    measured(
        f"a store is killed for good, {mib} MiB",
        seconds=round(took, 1),
        replicas=lost,
        least_live_share=round(least, 3),
        not_done=sum(row.trigger == "repair" and row.state != "done" for row in operators),
        **figures,
    )
    assert took <= BUSY * WHOLE_SECONDS
    assert least > 0.5, "a majority of each region lives at any time"
    assert load.longest_gap <= BUSY * LONGEST_GAP


def test_who_lives_is_counted_in_both_majorities() -> None:
    def row(*peers: tuple[int, RoleName]) -> RegionRow:
        told = tuple(PeerReport(PeerId(10 * at), StoreId(at), role) for at, role in peers)
        return replace(EMPTY_ROW, peers=told)

    gone = StoreId(3)
    assert live_share(row((1, "voter"), (2, "voter"), (3, "voter"), (4, "learner")), gone) == 2 / 3
    assert live_share(row((1, "voter"), (2, "voter"), (4, "voter")), gone) == 1
    joint = row((1, "voter"), (3, "demoting_voter"), (4, "incoming_voter"))
    assert live_share(joint, gone) == 1 / 2
