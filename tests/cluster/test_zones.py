"""Replicas that share a zone are moved apart by themselves, and their record says why."""

import asyncio
from pathlib import Path
from typing import Final

import pytest

from flaredb.client.client import Client
from flaredb_schemas.ids import StoreId
from flaredb_schemas.pd_answers import OperatorRow
from tests.cluster import harm
from tests.cluster.test_moves import ended

pytestmark = [pytest.mark.cluster, pytest.mark.anyio]

PATIENCE: Final = 120.0
SETTINGS: Final = {"initial_boundaries": "g,p", "merge_bytes": "0"}


async def zones_of(db: Client) -> dict[StoreId, str]:
    """In which zone each store says to stand."""
    return {row.id: row.labels["zone"] for row in await db.placement.stores()}


async def apart(db: Client) -> list[OperatorRow]:
    """Wait until no region has two replicas in one zone and nothing is under way; what was done."""
    zones = await zones_of(db)
    async with asyncio.timeout(PATIENCE):
        while True:
            rows, done = await db.placement.regions(), await db.placement.operators()
            stand = [{zones[peer.store] for peer in row.peers} for row in rows]
            whole = all(len(row.peers) == 3 for row in rows)
            still = all(one.state != "running" for one in done)
            if whole and still and all(len(found) == 3 for found in stand):
                return done
            await asyncio.sleep(0.2)


async def test_what_somebody_moves_together_is_moved_apart_again(tmp_path: Path) -> None:
    async with (
        harm.running(tmp_path / "cluster", SETTINGS, stores=4, zones=3) as cluster,
        cluster.client(timeout=20.0) as db,
    ):
        await db.put(b"a", b"1")
        await apart(db)
        zones, [first, *_] = await zones_of(db), await db.placement.regions()
        spare = next(store for store in zones if store not in {peer.store for peer in first.peers})
        goes = next(peer.store for peer in first.peers if zones[peer.store] != zones[spare])
        moved = await ended(db, await db.placement.move(first.id, goes, spare))
        assert moved.state == "done"
        done = await apart(db)
        last = max(one.id for one in done if one.region == first.id and one.trigger == "repair")
        row = await db.placement.operator(last)
        assert row.ledger is not None and row.ledger.decision.policy == "repair-misplaced"
        shared = {one.figure: one for one in row.ledger.outcomes}["shared_labels"]
        assert (shared.before, shared.predicted, shared.realised) == (1, 0, 0)
        assert await db.get(b"a") == b"1"
