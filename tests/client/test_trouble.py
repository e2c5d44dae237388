"""Lost and repeated answers, leaders and regions that change, budgets, cancelling."""

import asyncio
import time

import pytest

from flaredb.client import courier
from flaredb.client.client import CasResult, Client
from flaredb.client.errors import (
    BusyError,
    DiskFullError,
    InvalidArgumentError,
    TimeoutError,
    UnavailableError,
    UndeterminedError,
)
from flaredb_schemas import failures
from flaredb_schemas.ids import StoreId
from flaredb_schemas.requests import Request, WriteRequest
from tests.client.fake_cluster import STORES, FakeCluster, until

pytestmark = pytest.mark.anyio


async def test_a_lost_answer_is_asked_for_again_under_the_same_numbers(
    db: Client, cluster: FakeCluster
) -> None:
    await db.put(b"k", b"0")
    cluster.lose_answers = 1
    swaps = [db.compare_and_swap(b"k", b"0", b"1"), db.compare_and_swap(b"k", b"0", b"2")]
    assert await asyncio.gather(*swaps) == [CasResult(True, b"0"), CasResult(False, b"1")]
    first, second = cluster.batches[-2:]
    assert (first.lane, first.sequence, first.ops) == (second.lane, second.sequence, second.ops)


async def test_repeated_answers_do_no_harm(db: Client, cluster: FakeCluster) -> None:
    cluster.repeat_answers = True
    for n in range(10):
        await db.put(b"k", b"%d" % n)
    assert await db.get(b"k") == b"9"


async def test_done_below_follows_what_is_settled(db: Client, cluster: FakeCluster) -> None:
    for _ in range(3):
        await db.put(b"k", b"v")
    assert [(batch.sequence, batch.done_below) for batch in cluster.batches] == [
        (0, 0),
        (1, 1),
        (2, 2),
    ]


async def test_a_new_leader_is_found_by_the_refusal(db: Client, cluster: FakeCluster) -> None:
    await db.put(b"a", b"1")
    for store in (STORES[2], STORES[0], STORES[1]):
        cluster.lead(b"a", store)
        await db.put(b"a", b"%d" % store)
        assert await db.get(b"a") == b"%d" % store
    assert cluster.asked_pd == 1


async def test_a_store_that_does_not_listen_is_left_at_once(
    db: Client, cluster: FakeCluster
) -> None:
    await db.put(b"a", b"1")
    leader = cluster.region_of(b"a").leader
    await cluster.stop(leader)
    cluster.lead(b"a", next(store for store in STORES if store != leader))
    begun = time.monotonic()
    await db.put(b"a", b"2")
    assert time.monotonic() - begun < 0.5


async def test_a_silent_store_is_left_after_a_while(db: Client, cluster: FakeCluster) -> None:
    await db.put(b"a", b"1")
    leader = cluster.region_of(b"a").leader
    cluster.silent = {leader}
    write = asyncio.ensure_future(db.put(b"a", b"2"))
    await until(lambda: cluster.frames[-1][0] == leader)
    cluster.lead(b"a", next(store for store in STORES if store != leader))
    await write
    assert cluster.rows.values[b"a"] == b"2"


async def test_the_event_of_a_new_leader_saves_the_waiting(
    db: Client, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(courier, "FIRST_PATIENCE", 60.0)
    await db.put(b"a", b"1")
    leader = cluster.region_of(b"a").leader
    cluster.silent = {leader}
    write = asyncio.ensure_future(db.compare_and_swap(b"a", b"1", b"2"))
    await until(lambda: isinstance(cluster.frames[-1][1].requests[0], WriteRequest))
    cluster.tell_leader(b"a")
    cluster.lead(b"a", next(store for store in STORES if store != leader))
    cluster.tell_leader(b"a")
    assert await write == CasResult(True, b"1")


async def test_news_that_make_no_sense_are_ignored(db: Client, cluster: FakeCluster) -> None:
    await db.put(b"a", b"1")
    subject = cluster.subjects.event("region.leader_changed", 1, "1")
    listener = cluster.hub.connect("somebody")
    for payload in (b"", b"{", b"[" * 5_000, b'{"type": "region.exploded"}'):
        listener.send(subject, payload)
    await db.put(b"a", b"2")
    assert cluster.asked_pd == 1


async def test_an_expired_lane_is_replaced_after_a_first_attempt(
    db: Client, cluster: FakeCluster
) -> None:
    await db.put(b"a", b"1")
    sessions = cluster.region_of(b"a").machine.sessions
    for lane in [state.lane for state in sessions.lanes]:
        del sessions._lanes[lane]
    machine = cluster.region_of(b"a").machine
    machine.state = type(machine.state)(time=5_000, forgotten=4_000, bytes=1 << 40, keys=1 << 40)
    await db.put(b"a", b"2")
    first, expired, renewed = cluster.batches
    assert expired.lane == first.lane
    assert renewed.lane != first.lane and renewed.lane.opened > 4_000
    assert cluster.rows.values[b"a"] == b"2"


async def test_an_expired_lane_leaves_a_doubtful_write_undetermined(
    db: Client, cluster: FakeCluster
) -> None:
    await db.put(b"a", b"1")
    cluster.lose_answers = 1
    write = asyncio.ensure_future(db.put(b"a", b"2"))
    await until(lambda: cluster.lose_answers == 0)
    cluster.judge = lambda store, request: failures.SessionExpired(9_000)
    with pytest.raises(UndeterminedError) as caught:
        await write
    assert caught.value.code == "undetermined" and caught.value.region_id == 1


async def test_a_lane_from_before_the_regions_time_was_known_leaves_no_doubt(
    db: Client, cluster: FakeCluster
) -> None:
    """No region executes what was opened at time 0, so a lost answer hides no effect."""
    region = cluster.region_of(b"a")
    region.tells_time = False
    doubts = iter([failures.Undetermined(region.route)])
    cluster.judge = lambda store, request: next(doubts, None)
    await db.put(b"a", b"1")
    expired, renewed = cluster.batches
    assert expired.lane.opened == 0
    assert 0 < renewed.lane.opened < region.machine.state.time
    assert cluster.rows.values[b"a"] == b"1"


async def test_budgets(db: Client, cluster: FakeCluster) -> None:
    """A write that may have arrived is undetermined; one that was refused, and a read, are not."""
    await asyncio.gather(db.put(b"a", b"1"), db.put(b"z", b"1"))
    cluster.silent = set(STORES)
    begun = time.monotonic()
    results = await asyncio.gather(
        db.put(b"a", b"2", timeout=0.2), db.get(b"a", timeout=0.2), return_exceptions=True
    )
    assert time.monotonic() - begun < 0.4
    assert isinstance(results[0], UndeterminedError)
    assert isinstance(results[1], TimeoutError)
    cluster.silent = set()
    cluster.judge = lambda store, request: failures.Busy("full", retry_ms=60_000)
    with pytest.raises(BusyError):
        await db.put(b"z", b"2", timeout=0.2)
    for store in STORES:
        await cluster.stop(store)
    with pytest.raises(UnavailableError):
        await db.put(b"z", b"2", timeout=0.2)


async def test_an_undetermined_refusal_is_settled_by_the_retry(
    db: Client, cluster: FakeCluster
) -> None:
    await db.put(b"a", b"1")
    doubts = iter([failures.Undetermined(cluster.region_of(b"a").route)] * 2)
    cluster.judge = lambda store, request: next(doubts, None)
    assert await db.compare_and_swap(b"a", b"1", b"2") == CasResult(True, b"1")
    assert len({request.batch for request in _writes(cluster)[-3:]}) == 1


def _writes(cluster: FakeCluster) -> list[WriteRequest]:
    return [
        request
        for _, frame in cluster.frames
        for request in frame.requests
        if isinstance(request, WriteRequest)
    ]


async def test_without_pd_calls_wait_within_their_budget(cluster: FakeCluster) -> None:
    cluster.pd_answers = False
    async with cluster.client() as db:
        with pytest.raises(UnavailableError) as caught:
            await db.put(b"a", b"1", timeout=0.1)
        assert caught.value.code == "unavailable"
        waiting = asyncio.ensure_future(db.put(b"a", b"2"))
        await asyncio.sleep(0.05)
        cluster.pd_answers = True
        await waiting
        assert cluster.rows.values == {b"a": b"2"}


async def test_nothing_is_sent_while_disconnected(db: Client, cluster: FakeCluster) -> None:
    await db.put(b"a", b"1")
    cluster.client_bus.disconnect()
    sent = len(cluster.frames)
    waiting = [asyncio.ensure_future(db.put(b"a", b"2")), asyncio.ensure_future(db.get(b"z"))]
    with pytest.raises(UnavailableError):
        await db.put(b"a", b"3", timeout=0.05)
    assert len(cluster.frames) == sent and cluster.client_bus.dropped == 0
    cluster.client_bus.reconnect()
    await asyncio.gather(*waiting)
    assert cluster.rows.values == {b"a": b"2"}


async def test_what_was_under_way_when_the_bus_was_lost_is_asked_again(
    db: Client, cluster: FakeCluster
) -> None:
    await db.put(b"a", b"1")
    cluster.lose_answers = 1
    swap = asyncio.ensure_future(db.compare_and_swap(b"a", b"1", b"2"))
    await until(lambda: cluster.lose_answers == 0)
    cluster.client_bus.disconnect()
    cluster.client_bus.reconnect()
    begun = time.monotonic()
    assert await swap == CasResult(True, b"1")
    assert time.monotonic() - begun < 0.5


async def test_a_cancelled_call_is_left_out_of_the_retry(db: Client, cluster: FakeCluster) -> None:
    await db.put(b"a", b"0")
    cluster.lose_answers = 1
    cancelled = asyncio.ensure_future(db.put(b"a", b"1"))
    other = asyncio.ensure_future(db.put(b"b", b"1"))
    await until(lambda: cluster.lose_answers == 0)
    cancelled.cancel()
    await other
    before, after = cluster.batches[-2:]
    assert (after.lane, after.sequence) == (before.lane, before.sequence)
    assert after.ops == before.ops[1:]


async def test_a_full_store_still_deletes(db: Client, cluster: FakeCluster) -> None:
    await db.put(b"a", b"1")

    def full(store: StoreId, request: Request) -> failures.Refusal | None:
        puts = isinstance(request, WriteRequest) and b"new" in request.batch
        return failures.DiskFull(store) if puts else None

    cluster.judge = full
    results = await asyncio.gather(db.put(b"b", b"new"), db.delete(b"a"), return_exceptions=True)
    assert isinstance(results[0], DiskFullError) and results[1] is None
    assert cluster.rows.values == {}


@pytest.mark.parametrize(
    ("file_system", "cure"), [(False, "quota_bytes"), (True, "free some space")]
)
async def test_what_is_full_is_said(
    db: Client, cluster: FakeCluster, file_system: bool, cure: str
) -> None:
    cluster.judge = lambda store, request: failures.DiskFull(store, file_system)
    with pytest.raises(DiskFullError, match="file system" if file_system else "quota") as refused:
        await db.put(b"a", b"1")
    assert cure in refused.value.hint


async def test_an_invalid_request_is_the_callers_fault(db: Client, cluster: FakeCluster) -> None:
    cluster.judge = lambda store, request: failures.InvalidRequest("no such thing")
    with pytest.raises(InvalidArgumentError, match="no such thing"):
        await db.get(b"a")


async def test_under_load_requests_grow_and_few_are_under_way(
    db: Client, cluster: FakeCluster
) -> None:
    await db.put(b"a", b"0")
    cluster.batches.clear()

    async def writer(number: int) -> None:
        for turn in range(20):
            await db.put(b"k%03d" % number, b"%d" % turn)

    await asyncio.gather(*(writer(number) for number in range(64)))
    assert sum(len(batch.ops) for batch in cluster.batches) == 64 * 20
    assert len(cluster.batches) < 64
