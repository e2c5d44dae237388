"""Regions that are split while calls are under way."""

import asyncio

import pytest

from flaredb.client.client import CasResult, Client
from flaredb.client.errors import (
    SeveralRegionsError,
)
from flaredb_schemas import failures
from flaredb_schemas.requests import WriteRequest
from tests.client.fake_cluster import STORES, FakeCluster, until

pytestmark = pytest.mark.anyio


async def test_what_is_in_doubt_is_split_over_both_regions(
    db: Client, cluster: FakeCluster
) -> None:
    """Both parts keep their numbers, and what was executed before the split is not done again."""
    await asyncio.gather(db.put(b"a", b"0"), db.put(b"k", b"0"))
    cluster.lose_answers = 1
    swaps = [db.compare_and_swap(key, b"0", b"1") for key in (b"a", b"k")]
    waiting = asyncio.gather(*swaps)
    await until(lambda: cluster.lose_answers == 0)
    cluster.split(b"g")
    assert await waiting == [CasResult(True, b"0"), CasResult(True, b"0")]
    before = cluster.batches[-3]
    parts = cluster.batches[-2:]
    assert {(batch.lane, batch.sequence) for batch in parts} == {(before.lane, before.sequence)}
    assert {part.ops for part in parts} == {(op,) for op in before.ops}


async def test_a_split_before_the_write_is_no_trouble(db: Client, cluster: FakeCluster) -> None:
    await db.put(b"a", b"0")
    cluster.split(b"g")
    await asyncio.gather(*(db.put(key, b"1") for key in (b"a", b"b", b"h", b"i")))
    assert cluster.rows.values == dict.fromkeys((b"a", b"b", b"h", b"i"), b"1")


async def test_the_event_of_a_split_is_enough_to_know_the_parts(
    db: Client, cluster: FakeCluster
) -> None:
    await db.put(b"a", b"0")
    parent = cluster.region_of(b"a")
    child = cluster.split(b"g")
    child.leader = parent.leader
    cluster.tell_split(parent, child)
    await until(lambda: db._parts.routes.by_id(child.region.id) is not None)
    cluster.frames.clear()
    await asyncio.gather(db.put(b"b", b"1"), db.put(b"h", b"1"))
    sent = [request for _, frame in cluster.frames for request in frame.requests]
    asked = [request for request in sent if isinstance(request, WriteRequest)]
    assert {(request.region, request.version) for request in asked} == {
        (parent.region.id, 2),
        (child.region.id, 2),
    }
    assert len(asked) == len(sent) == 2, "nothing was refused"


async def test_a_batch_in_doubt_is_settled_after_a_split_went_through_it(
    db: Client, cluster: FakeCluster
) -> None:
    await db.get(b"a")
    cluster.lose_answers = 1
    async with asyncio.timeout(5):
        write = asyncio.ensure_future(_batch(db))
        await until(lambda: cluster.lose_answers == 0 and cluster.batches)
        cluster.split(b"g")
        await write
    assert cluster.rows.values == {b"a": b"1", b"k": b"1"}


async def test_a_batch_that_a_split_went_through_first_is_refused(
    db: Client, cluster: FakeCluster
) -> None:
    await db.get(b"a")
    cluster.split(b"g")
    with pytest.raises(SeveralRegionsError):
        await _batch(db)
    assert cluster.rows.values == {}


async def _batch(db: Client) -> None:
    async with db.batch() as batch:
        batch.put(b"a", b"1")
        batch.put(b"k", b"1")


async def test_a_range_deletion_in_doubt_survives_a_split(db: Client, cluster: FakeCluster) -> None:
    cluster.rows.values = {b"%c" % letter: b"v" for letter in range(ord("a"), ord("k"))}
    await db.get(b"a")
    cluster.lose_answers = 1
    deletion = asyncio.ensure_future(db.delete_range(b"a", b"z"))
    await until(lambda: cluster.batches)
    cluster.split(b"e")
    assert await deletion == 10
    assert cluster.rows.values == {}


async def test_a_scan_goes_on_while_its_region_is_split(db: Client, cluster: FakeCluster) -> None:
    cluster.rows.values = {b"a%05d" % n: b"v" for n in range(3_000)}
    seen = []
    async for key, _ in db.scan():
        seen.append(key)
        if len(seen) == 500:
            cluster.split(b"a01500")
            cluster.lead(b"a", STORES[0])
    assert seen == sorted(cluster.rows.values)


async def test_a_store_that_is_behind_does_not_spoil_the_routes(
    db: Client, cluster: FakeCluster
) -> None:
    """It knows the old epoch: wait for it, and do not believe it."""
    await db.put(b"a", b"1")
    stale = cluster.region_of(b"a").route
    cluster.split(b"g")
    await db.put(b"a", b"2")
    refusals = iter([failures.EpochMismatch((stale,))] * 3)
    cluster.judge = lambda store, request: next(refusals, None)
    await db.put(b"a", b"3")
    assert cluster.rows.values[b"a"] == b"3"
