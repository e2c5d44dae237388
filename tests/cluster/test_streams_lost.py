"""The streams are lost, or the journal is an old copy of itself, while everything runs under load.

JetStream is history, not truth: clients notice nothing, PD knows everything again before long, no
id is given twice, and where history ends in a gap that is told.
"""

import asyncio
import json
import signal
import time
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest
from anyio.to_thread import run_sync

from flaredb.bus.bus import Message, StreamRecord
from flaredb.bus.nats_bus import NatsBus
from flaredb.client.client import Client
from flaredb.client.errors import FlareDBError
from flaredb.playground.supervisor import LocalCluster
from flaredb_pd.streams import journal_stream
from flaredb_schemas.envelope import Codec
from flaredb_schemas.ids import StoreId
from flaredb_schemas.journal import Bootstrapped, RebuildFinished, RebuildStarted
from flaredb_schemas.pd_answers import PdStatus, RegionRow
from flaredb_schemas.placement import Alive
from tests.cluster import harm
from tests.cluster.load import Load
from tests.cluster.overheard import SUBJECTS, facts_of, journal_of, overhearing
from tests.cluster.test_moves import absent, all_whole, ended, fill, holders, region_of
from tests.cluster.test_splits import check_coverage, cut_something
from tests.cluster.verdict import BUSY, Measured, judge

pytestmark = [pytest.mark.cluster, pytest.mark.anyio, pytest.mark.timeout(400)]

SETTINGS: Final = {"split_bytes": "1 GiB", "merge_bytes": "0", "balance": "false"}
MIB: Final = 8
COMPLETE_SECONDS: Final = 60.0
"""Two heartbeats: how soon after a loss PD knows everything again."""
PATIENCE: Final = 180.0
_alive: Codec[Alive] = Codec(Alive)

STREAMS: Final = (SUBJECTS.journal_stream, SUBJECTS.event_stream, SUBJECTS.heartbeat_stream)


@asynccontextmanager
async def connected(cluster: LocalCluster) -> AsyncIterator[NatsBus]:
    """A connection to the cluster's nats-server."""
    bus = await NatsBus.connect(cluster.url, name="operator")
    try:
        yield bus
    finally:
        await bus.close()


async def delete(bus: NatsBus, stream: str) -> None:
    await bus.line.client.jetstream().delete_stream(stream)


async def replace_journal(bus: NatsBus, old: list[StreamRecord]) -> None:
    """The journal is as it was when `old` was read."""
    await delete(bus, SUBJECTS.journal_stream)
    await bus.history.ensure(journal_stream(SUBJECTS))
    for record in old:
        await bus.history.append(record.subject, record.payload, record.headers)


async def ids_given(db: Client) -> set[int]:
    """All ids that anything has: regions, peers, stores, operators."""
    found: set[int] = {row.id for row in await db.placement.stores(removed=True)}
    found |= {row.id for row in await db.placement.operators()}
    for region in await db.placement.regions():
        found |= {region.id, *(peer.id for peer in (*region.peers, *region.removed))}
    return found


async def status_when_complete(db: Client, before: PdStatus) -> PdStatus:
    """The status, once a PD of a later reign knows as much as was known before."""
    async with asyncio.timeout(PATIENCE):
        while True:
            await asyncio.sleep(0.05)
            try:
                now = await db.placement.status()
            except FlareDBError:
                continue
            known = now.regions, now.leaders, now.stores, now.stores_up
            wanted = before.regions, before.regions, before.stores, before.stores
            if now.ready and now.pd_epoch > before.pd_epoch and known == wanted:
                return now


async def move_something(cluster: LocalCluster, db: Client) -> RegionRow:
    """Move a replica, and wait until it has; the region as it was."""
    row = await harm.first_led(db)
    source = min(holders(row) - {row.leader_store})
    last = await ended(db, await db.placement.move(row.id, source, absent(cluster, row)))
    assert last.state == "done", last
    await all_whole(db)
    return row


async def split_with_new_ids(db: Client, given: set[int]) -> None:
    """Split something: what is born has ids that nothing ever had."""
    known = {row.id for row in await db.placement.regions()}
    parts = await cut_something(db)
    fresh = [row for row in parts if row.id not in known]
    born = {row.id for row in fresh} | {peer.id for row in fresh for peer in row.peers}
    assert fresh and not born & given, born & given
    check_coverage(await db.placement.regions())


def query(url: str, text: str) -> list[list[Any]]:
    """The rows of a query to analytics."""
    body = json.dumps({"query": text}).encode()
    request = urllib.request.Request(f"{url}/v1/sql", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        rows: list[list[Any]] = json.loads(answer.read())["rows"]
    return rows


async def gaps_told(url: str) -> set[str]:
    """The streams of which history says that they end in a gap, once it says so of all."""
    text = "SELECT DISTINCT stream FROM gaps WHERE reason = 'recreated'"
    async with asyncio.timeout(PATIENCE):
        while len(rows := await run_sync(partial(query, url, text))) < len(STREAMS):
            await asyncio.sleep(0.2)
    return {stream for (stream,) in rows}


@asynccontextmanager
async def with_analytics(folder: Path) -> AsyncIterator[LocalCluster]:
    cluster = LocalCluster(folder, stores=4, settings=SETTINGS)
    await run_sync(cluster.start)
    try:
        yield cluster
    finally:
        await run_sync(cluster.close)


@pytest.mark.parametrize("pd", ["runs on", "is killed, too"])
async def test_all_streams_are_lost(
    pd: str, tmp_path: Path, repeat: int, measured: Measured
) -> None:
    async with (
        with_analytics(tmp_path / "cluster") as cluster,
        cluster.client(timeout=5.0) as db,
        connected(cluster) as bus,
    ):
        load = Load(cluster, repeat)
        async with load.running():
            await load.go_on(2.0, writes=100)
            await cut_something(db)
            await move_something(cluster, db)
            before, given = await db.placement.status(), await ids_given(db)
            load.longest_gap, lost = 0.0, time.monotonic()
            if pd != "runs on":
                await harm.kill(cluster, "pd")
            for stream in STREAMS:
                await delete(bus, stream)
            if pd != "runs on":
                await harm.start(cluster, "pd")
            after = await status_when_complete(db, before)
            took = time.monotonic() - lost
            await split_with_new_ids(db, given)
            await move_something(cluster, db)
            await load.go_on(1.0, writes=50)
            told = await gaps_told(cluster.http_url)
        figures = await judge(cluster, load)
        facts = await facts_of(bus.history)
    measured("all streams lost", pd=pd, complete_s=round(took, 3), **figures)
    assert after.cluster == before.cluster and told == set(STREAMS)
    assert not any(isinstance(fact, Bootstrapped) for fact in facts), "a second bootstrap"
    assert [fact.reason for fact in facts if isinstance(fact, RebuildStarted)]
    assert all(fact.covered for fact in facts if isinstance(fact, RebuildFinished))
    assert load.refused == load.unknown == 0, load.troubles
    assert took <= COMPLETE_SECONDS


async def told_to_drain(bus: NatsBus, store: StoreId) -> None:
    """Return when PD's signs of life have told all stores that this one is drained."""
    told: list[Alive] = []

    def hear(message: Message) -> None:
        alive = _alive.decode(message.payload)
        if isinstance(alive, Alive) and store in alive.decided.draining:
            told.append(alive)

    subscription = await bus.subscribe(SUBJECTS.pd_alive, hear)
    async with asyncio.timeout(PATIENCE):
        while len(told) < 2:  # when the second is said, the first was heard and is saved
            await asyncio.sleep(0.05)
    await subscription.stop()


async def test_a_drain_goes_on_though_the_journal_and_pd_are_lost(tmp_path: Path) -> None:
    async with (
        harm.running(tmp_path / "cluster", SETTINGS, stores=4) as cluster,
        cluster.client(timeout=5.0) as db,
        connected(cluster) as bus,
    ):
        await fill(db, MIB)
        before = await db.placement.status()
        drained = min(row.id for row in await db.placement.stores() if row.regions)
        await db.placement.drain(drained)
        await told_to_drain(bus, drained)
        await harm.kill(cluster, "pd")
        await delete(bus, SUBJECTS.journal_stream)
        await harm.start(cluster, "pd")
        await status_when_complete(db, before)
        async with asyncio.timeout(PATIENCE):
            async for row in db.placement.watch_drain(drained):
                assert row.life == "draining"
        assert all(drained not in holders(row) for row in await db.placement.regions())
        assert len(await db.placement.stores()) == cluster.stores


@pytest.mark.parametrize("pd", ["runs on", "is killed before"])
async def test_the_journal_is_an_old_copy(
    pd: str, tmp_path: Path, repeat: int, measured: Measured
) -> None:
    """As it was before a split and a move, and amid another move."""
    async with (
        harm.running(tmp_path / "cluster", SETTINGS, stores=4) as cluster,
        cluster.client(timeout=5.0) as db,
        overhearing(cluster.url) as heard,
        connected(cluster) as bus,
    ):
        await fill(db, MIB)
        load = Load(cluster, repeat)
        async with load.running():
            old = await journal_of(bus.history)
            await cut_something(db)
            await move_something(cluster, db)
            row, before = await harm.first_led(db), await db.placement.status()

            def harm_pd() -> None:
                if pd != "runs on":
                    cluster.children["pd"].signal(signal.SIGKILL)

            moment = heard.when(row.id, "learner_added", harm_pd)
            source = min(holders(row) - {row.leader_store})
            target = absent(cluster, row)
            await db.placement.move(row.id, source, target)
            async with asyncio.timeout(PATIENCE):
                await moment.wait()
            given = {fact.highest_id for fact in heard.facts if hasattr(fact, "highest_id")}
            lost = time.monotonic()
            await replace_journal(bus, old)
            if pd != "runs on":
                await harm.kill(cluster, "pd")
                await harm.start(cluster, "pd")
            after = await status_when_complete(db, before)
            took = time.monotonic() - lost
            await all_whole(db)
            now = await region_of(db, row.id)
            await split_with_new_ids(db, given | set(range(max(given) + 1)))
            await move_something(cluster, db)
            await load.go_on(1.0, writes=50)
        figures = await judge(cluster, load)
        facts = await facts_of(bus.history)
    moved = holders(now) == (holders(row) - {source}) | {target}
    measured("an old copy of the journal", pd=pd, complete_s=round(took, 3), **figures)
    assert after.cluster == before.cluster
    assert now.conf_ver == row.conf_ver + (4 if moved else 2), (row, now)
    assert moved or holders(now) == holders(row), (row, now)
    assert sum(isinstance(fact, Bootstrapped) for fact in facts) == 1, "a second bootstrap"
    assert any(isinstance(fact, RebuildStarted) for fact in facts)
    assert load.refused == load.unknown == 0, load.troubles
    assert took <= BUSY * COMPLETE_SECONDS
