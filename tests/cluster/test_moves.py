"""Replicas move from store to store while clients write: nobody loses a write, and few notice."""

import asyncio
import random
import time
from pathlib import Path
from typing import Final

import pytest

from flaredb.client.client import Client
from flaredb.client.errors import InvalidArgumentError, UnavailableError, UndeterminedError
from flaredb.playground.supervisor import LocalCluster
from flaredb_schemas.ids import NO_STORE, RegionId, StoreId
from flaredb_schemas.pd_answers import OperatorRow, RegionRow
from tests.cluster import harm
from tests.cluster.load import Load
from tests.cluster.test_splits import check_coverage
from tests.cluster.verdict import BUSY, Measured, judge

pytestmark = [pytest.mark.cluster, pytest.mark.anyio]

KIB: Final = 1024
MIB: Final = 1024 * KIB
SETTINGS: Final = {"split_bytes": "1 GiB", "merge_bytes": "0"}
LONGEST_SECONDS: Final = 60.0
LONGEST_GAP: Final = 2.0
ROUNDS: Final = 6
PATIENCE: Final = 120.0


async def fill(db: Client, mib: int) -> None:
    """Put so much into the first region."""
    value = random.Random(1).randbytes(64 * KIB)
    for first in range(0, mib * 16, 16):
        await asyncio.gather(*(db.put(b"c%06d" % n, value) for n in range(first, first + 16)))


async def ended(db: Client, begun: OperatorRow) -> OperatorRow:
    """The operator once it has ended."""
    last = begun
    async with asyncio.timeout(PATIENCE):
        async for row in db.placement.watch(begun.id):
            last = row
    return last


def holders(row: RegionRow) -> set[StoreId]:
    return {peer.store for peer in row.peers}


async def region_of(db: Client, region: RegionId) -> RegionRow:
    return next(row for row in await db.placement.regions() if row.id == region)


def absent(cluster: LocalCluster, row: RegionRow) -> StoreId:
    """A store without a replica of the region; 0 if there is none just now."""
    stores = [harm.store_id(cluster, number) for number in harm.store_numbers(cluster)]
    return next((store for store in stores if store not in holders(row)), NO_STORE)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("who", ["a follower", "the leader"])
async def test_a_region_moves_while_clients_write(
    who: str, tmp_path: Path, measured: Measured, request: pytest.FixtureRequest
) -> None:
    is_figure = request.config.getoption("--figures") is not None
    mib = 96 if is_figure else 8
    async with (
        harm.running(tmp_path / "cluster", SETTINGS, stores=4) as cluster,
        cluster.client(timeout=30.0) as db,
    ):
        await fill(db, mib)
        load = Load(cluster)
        async with load.running():
            await load.go_on(2.0, writes=100)
            row = await harm.first_led(db)
            followers = sorted(holders(row) - {row.leader_store})
            source = row.leader_store if who == "the leader" else followers[0]
            target = absent(cluster, row)
            load.longest_gap, begun = 0.0, time.monotonic()
            last = await ended(db, await db.placement.move(row.id, source, target))
            took = time.monotonic() - begun
            await load.go_on(1.0, writes=50)
        assert last.state == "done", last
        after = await region_of(db, row.id)
        figures = await judge(cluster, load)
    measured(
        f"{who} moved, {mib} MiB",
        seconds=round(took, 3),
        failed_share=round((load.refused + load.unknown) / load.writes, 6),
        **figures,
    )
    assert holders(after) == (holders(row) - {source}) | {target}
    assert all(peer.role == "voter" for peer in after.peers)
    assert took <= BUSY * LONGEST_SECONDS
    assert load.longest_gap <= BUSY * LONGEST_GAP
    assert load.refused == load.unknown == 0, load.troubles


async def try_to_move(db: Client, dice: random.Random, cluster: LocalCluster) -> None:
    """Have some replica go somewhere, whatever comes of it."""
    try:
        row = dice.choice(await db.placement.regions())
        source, target = dice.choice(sorted(holders(row))), absent(cluster, row)
        if target:
            await ended(db, await db.placement.move(row.id, source, target))
    except (UnavailableError, UndeterminedError, InvalidArgumentError):
        return


async def all_whole(db: Client) -> None:
    """Wait until nothing runs, and every region has three voters and nobody who is leaving."""
    async with asyncio.timeout(PATIENCE):
        while True:
            await asyncio.sleep(0.2)
            try:
                running = [row for row in await db.placement.operators() if row.state == "running"]
                rows = await db.placement.regions()
            except UnavailableError:
                continue
            roles = [[peer.role for peer in row.peers] for row in rows]
            if not running and all(some == ["voter"] * 3 for some in roles):
                return


@pytest.mark.timeout(600)
async def test_processes_are_killed_while_replicas_move(
    tmp_path: Path, repeat: int, measured: Measured
) -> None:
    dice = random.Random(repeat)
    async with harm.running(tmp_path / "cluster", SETTINGS, stores=4) as cluster:
        load = Load(cluster, repeat)
        names = [*harm.store_names(cluster), "pd", "nats"]
        async with load.running(), cluster.client(timeout=10.0) as db:
            await load.go_on(2.0, writes=100)
            for _ in range(ROUNDS):
                moving = asyncio.create_task(try_to_move(db, dice, cluster))
                await asyncio.sleep(dice.random() * 2.0)
                victim = dice.choice(names)
                await harm.kill(cluster, victim)
                if victim == "nats":  # without it nothing is written
                    await asyncio.sleep(dice.random() * 2.0)
                else:
                    await load.go_on(dice.random() * 2.0, writes=10)
                await harm.start(cluster, victim)
                await moving
            await all_whole(db)
            await load.go_on(1.0, writes=50)
        figures = await judge(cluster, load)
        async with cluster.client(timeout=10.0) as db:
            rows = await db.placement.regions()
            moves = [row for row in await db.placement.operators() if row.kind == "move"]
    measured(
        "killed amid moves",
        rounds=ROUNDS,
        moves=len(moves),
        done=sum(row.state == "done" for row in moves),
        **figures,
    )
    check_coverage(rows)
