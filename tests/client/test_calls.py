"""What the calls mean, with nothing going wrong."""

import asyncio

import pytest

from flaredb.client.client import CasResult, Client
from flaredb.client.errors import (
    ClosedError,
    InvalidArgumentError,
    SeveralRegionsError,
)
from flaredb_schemas.ids import RegionId
from flaredb_schemas.keys import KeyRange
from flaredb_schemas.requests import GetRequest
from tests.client.fake_cluster import STORES, FakeCluster

pytestmark = pytest.mark.anyio


async def test_put_get_delete(db: Client) -> None:
    assert await db.get(b"a") is None
    await db.put(b"a", b"1")
    assert await db.get(b"a") == b"1"
    await db.put(b"a", b"")
    assert await db.get(b"a") == b""
    await db.delete(b"a")
    await db.delete(b"a")
    assert await db.get(b"a") is None


async def test_get_many_tells_what_is_there(db: Client) -> None:
    await asyncio.gather(*(db.put(key, key.upper()) for key in (b"a", b"b", b"x")))
    found = await db.get_many([b"x", b"a", b"nothing", b"a"])
    assert found == {b"a": b"A", b"x": b"X"}
    assert await db.get_many([]) == {}


async def test_compare_and_swap(db: Client) -> None:
    assert await db.compare_and_swap(b"k", None, b"1") == CasResult(True, None)
    assert await db.compare_and_swap(b"k", None, b"2") == CasResult(False, b"1")
    assert await db.compare_and_swap(b"k", b"1", None) == CasResult(True, b"1")
    assert await db.get(b"k") is None


async def test_scan_across_regions(db: Client) -> None:
    keys = [bytes([letter]) for letter in range(ord("a"), ord("z") + 1)]
    await asyncio.gather(*(db.put(key, b"v" + key) for key in keys))
    rows = [(key, b"v" + key) for key in keys]
    assert [row async for row in db.scan()] == rows
    assert [row async for row in db.scan(reverse=True)] == rows[::-1]
    assert [row async for row in db.scan(b"k", b"p")] == rows[10:15]
    assert [row async for row in db.scan(b"k", b"p", reverse=True)] == rows[10:15][::-1]
    assert [row async for row in db.scan(b"k", limit=4)] == rows[10:14]
    assert [row async for row in db.scan(end=b"n", limit=3, reverse=True)] == rows[10:13][::-1]
    assert [row async for row in db.scan(prefix=b"m")] == rows[12:13]
    assert [row async for row in db.scan(limit=0)] == []
    assert [row async for row in db.scan(b"p", b"k")] == []


async def test_scan_takes_as_many_pages_as_it_needs(db: Client, cluster: FakeCluster) -> None:
    cluster.rows.values = {b"key%04d" % n: b"v" for n in range(2_500)}
    keys = [key async for key, _ in db.scan()]
    assert keys == sorted(cluster.rows.values)
    backwards = [key async for key, _ in db.scan(reverse=True, limit=1_800)]
    assert backwards == keys[:-1_801:-1]


async def test_scan_goes_on_after_the_longest_key(db: Client, cluster: FakeCluster) -> None:
    longest = [b"k" * 399 + bytes([last]) for last in range(1, 9)]
    cluster.rows.values = dict.fromkeys(longest, b"v" * 200_000)
    assert [key async for key, _ in db.scan()] == longest


async def test_large_values_are_read_in_several_answers(db: Client, cluster: FakeCluster) -> None:
    cluster.rows.values = {b"k%d" % n: bytes([n]) * 300_000 for n in range(7)}
    assert await db.get_many(list(cluster.rows.values)) == cluster.rows.values


async def test_batch_is_atomic_within_one_region(db: Client, cluster: FakeCluster) -> None:
    await db.put(b"b", b"old")
    async with db.batch() as batch:
        batch.put(b"a", b"1")
        batch.delete(b"b")
    assert cluster.rows.values == {b"a": b"1"}
    with pytest.raises(SeveralRegionsError) as caught:
        async with db.batch() as batch:
            batch.put(b"a", b"2")
            batch.put(b"z", b"2")
    assert caught.value.code == "several_regions"
    with pytest.raises(ZeroDivisionError):
        async with db.batch() as batch:
            batch.put(b"a", b"3")
            raise ZeroDivisionError
    async with db.batch():
        pass
    assert cluster.rows.values == {b"a": b"1"}


async def test_delete_range(db: Client, cluster: FakeCluster) -> None:
    cluster.rows.values = {
        b"%s%04d" % (letter, n): b"v" for n in range(1_200) for letter in (b"a", b"z")
    }
    assert await db.delete_range(b"a0001", b"z0001") == 1_199 + 1
    assert sorted(cluster.rows.values)[:2] == [b"a0000", b"z0001"]
    assert await db.delete_range(prefix=b"z") == 1_199
    assert sorted(cluster.rows.values) == [b"a0000"]
    for unbounded in (
        db.delete_range(),
        db.delete_range(start=b"a"),
        db.delete_range(end=b"a"),
        db.delete_range(prefix=b""),
    ):
        with pytest.raises(InvalidArgumentError):
            await unbounded


async def test_limits_are_checked_before_anything_is_sent(db: Client, cluster: FakeCluster) -> None:
    big = b"v" * (512 * 1024 + 1)
    wrong = [
        db.put(b"", b"v"),
        db.put(b"k" * 401, b"v"),
        db.put(b"k", big),
        db.put("k", b"v"),  # type: ignore[arg-type]
        db.put(b"k", "v"),  # type: ignore[arg-type]
        db.get(b""),
        db.compare_and_swap(b"k", big[:400_000], big[:400_000]),
        db.get(b"k", timeout=0),
        anext(db.scan(prefix=b"a", end=b"b")),
        anext(db.scan(limit=-1)),
        anext(db.scan(end=b"")),
    ]
    for call in wrong:
        with pytest.raises(InvalidArgumentError) as caught:
            await call
        assert caught.value.hint
    assert cluster.frames == []
    await db.put(b"k" * 400, big[:-1])
    assert await db.get(b"k" * 400) == big[:-1]


async def test_concurrent_calls_travel_together(db: Client, cluster: FakeCluster) -> None:
    await asyncio.gather(db.get(b"a"), db.get(b"z"))
    cluster.frames.clear()
    await asyncio.gather(*(db.put(b"a%d" % n, b"v") for n in range(100)))
    assert len(cluster.batches) == 1 and len(cluster.batches[0].ops) == 100
    await asyncio.gather(*(db.get(b"a%d" % n) for n in range(100)))
    (_, frame) = cluster.frames[-1]
    (request,) = frame.requests
    assert isinstance(request, GetRequest) and len(request.keys) == 100


async def test_a_closed_client_says_so(cluster: FakeCluster) -> None:
    client = cluster.client()
    with pytest.raises(ClosedError):
        await client.get(b"a")
    async with client:
        await client.put(b"a", b"1")
        cluster.silent = set(STORES)
        pending = asyncio.ensure_future(client.get(b"a"))
        await asyncio.sleep(0.01)
    with pytest.raises(ClosedError):
        await pending


async def test_region_check_asks_every_replica(db: Client, cluster: FakeCluster) -> None:
    check = await db.inspector.check(RegionId(1))
    assert check.ok and [replica.store for replica in check.replicas] == [1, 2, 3]
    routes = await db.inspector.routes()
    assert [route.region.keys for route in routes] == [KeyRange(b"", b"m"), KeyRange(b"m", b"")]
