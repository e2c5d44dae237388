"""The blocking client does what the asynchronous one does."""

import threading
from collections.abc import AsyncIterator, Iterator

import pytest
from msgspec import Struct

from flaredb.bus.memory_bus import MemoryBus
from flaredb.client.client import CasResult, Client
from flaredb.client.errors import (
    ClosedError,
    InvalidArgumentError,
    UnavailableError,
    UndeterminedError,
)
from flaredb.client.placement import PlacementReader
from flaredb.client.sync import BlockingClient
from flaredb.runtime.clock import seeded_jitter
from flaredb_schemas.ids import OperatorId, RegionId, StoreId
from flaredb_schemas.pd_answers import OperatorRow
from tests.client.fake_cluster import FakeCluster
from tests.schemas.samples import sample


@pytest.fixture
def db() -> Iterator[BlockingClient]:
    cluster = FakeCluster(b"m")

    async def connect() -> MemoryBus:
        await cluster.start()
        return cluster.hub.connect("client")

    with BlockingClient(lambda: Client(connect, jitter=seeded_jitter(7))) as client:
        yield client


def test_every_call(db: BlockingClient) -> None:
    db.put(b"a", b"1")
    db.put(b"z", b"2")
    assert db.get(b"a") == b"1" and db.get(b"b") is None
    assert db.get_many([b"a", b"b", b"z"]) == {b"a": b"1", b"z": b"2"}
    assert db.compare_and_swap(b"a", b"1", b"3") == CasResult(True, b"1")
    with db.batch() as batch:
        batch.put(b"b", b"4")
        batch.delete(b"a")
    assert list(db.scan()) == [(b"b", b"4"), (b"z", b"2")]
    assert next(db.scan(reverse=True)) == (b"z", b"2")
    db.delete(b"z")
    assert db.delete_range(prefix=b"b") == 1
    assert list(db.scan()) == []
    assert db.check_region(RegionId(1)).ok


def test_errors_come_through(db: BlockingClient) -> None:
    with pytest.raises(InvalidArgumentError):
        db.put(b"", b"")
    with pytest.raises(UnavailableError, match="region 999 is not known"):
        db.check_region(RegionId(999))
    with pytest.raises(UnavailableError):
        db.stores()


def test_pd_is_asked_to_change_the_cluster(db: BlockingClient) -> None:
    """Here nobody answers: what changes something may have done so."""
    region, one, two = RegionId(1), StoreId(1), StoreId(2)
    for call in (
        lambda: db.move(region, one, two),
        lambda: db.transfer(region, two),
        lambda: db.cancel(OperatorId(9)),
        lambda: db.drain(one),
        lambda: db.keep(one),
        lambda: db.remove(one),
        lambda: db.split(region),
        lambda: db.merge(region),
    ):
        with pytest.raises(UndeterminedError):
            call()
    for question in (db.operators, db.status):
        with pytest.raises(UnavailableError):
            question()


def test_what_takes_its_time_is_watched(
    db: BlockingClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [sample(OperatorRow), sample(OperatorRow)]

    async def watch(self: PlacementReader, number: OperatorId) -> AsyncIterator[Struct]:
        assert number == 9
        for row in rows:
            yield row

    monkeypatch.setattr(PlacementReader, "watch", watch)
    assert list(db.watch(OperatorId(9))) == rows


def test_threads_share_one_client(db: BlockingClient) -> None:
    def write(number: int) -> None:
        for turn in range(20):
            db.put(b"k%d" % number, b"%d" % turn)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert dict(db.scan(prefix=b"k")) == {b"k%d" % number: b"19" for number in range(8)}


def test_after_close_calls_say_so(db: BlockingClient) -> None:
    db.close()
    with pytest.raises(ClosedError):
        db.get(b"a")
