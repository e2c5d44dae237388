"""Only the check of the range counts as a refusal of what lies outside of it."""

import pytest
from msgspec.structs import replace

from flaredb.demo import trespassing
from flaredb.demo.trespassing import KINDS, Trespass, trespass
from flaredb_schemas.failures import (
    Busy,
    EpochMismatch,
    NotLeader,
    Refusal,
)
from flaredb_schemas.ids import StoreId
from flaredb_schemas.keys import KeyRange
from flaredb_schemas.regions import Epoch
from flaredb_schemas.requests import Answer, GetAnswer, GetRequest, Request, StoreStatusRequest
from tests.client.fake_cluster import STORES, FakeCluster, FakeRegion

pytestmark = pytest.mark.anyio

KEYS = [b"a", b"z"]
ALL = len(KEYS) * KINDS
"""Either key is foreign to one region."""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def cluster() -> FakeCluster:
    """Two regions."""
    made = FakeCluster(b"m")
    await made.start()
    return made


async def test_all_is_refused_where_every_region_checks(cluster: FakeCluster) -> None:
    async with cluster.client() as db:
        assert await trespass(db, KEYS) == Trespass(ALL, ALL)


@pytest.mark.parametrize("other", ["leader", "epoch", "load"])
async def test_what_stands_in_the_way_is_no_refusal(
    cluster: FakeCluster, other: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trespassing, "PATIENCE_SECONDS", 0.1)
    monkeypatch.setattr(trespassing, "PAUSE_SECONDS", 0.01)

    def judge(store: StoreId, request: Request) -> Refusal:
        assert not isinstance(request, StoreStatusRequest)
        route = cluster.regions[request.region].route
        refusals: dict[str, Refusal] = {
            "leader": NotLeader(route),
            "epoch": EpochMismatch((route,)),
            "load": Busy("much to do"),
        }
        return refusals[other]

    cluster.judge = judge
    async with cluster.client() as db:
        assert await trespass(db, KEYS) == Trespass(ALL, 0)


async def test_it_is_asked_again_until_the_range_is_checked(cluster: FakeCluster) -> None:
    asked = 0

    def judge(store: StoreId, request: Request) -> Refusal | None:
        nonlocal asked
        asked += 1
        return Busy("much to do") if asked % 2 == 0 else None

    cluster.judge = judge
    async with cluster.client() as db:
        cluster.lead(b"a", STORES[0])
        assert await trespass(db, KEYS) == Trespass(ALL, ALL)
    assert asked > 2 * ALL


async def test_what_is_accepted_is_no_refusal(cluster: FakeCluster) -> None:
    real = cluster._serve

    def serve(found: FakeRegion, request: Request) -> Answer:
        if isinstance(request, GetRequest):
            return GetAnswer(request.number, (b"a stray",))
        return real(found, request)

    cluster._serve = serve  # type: ignore[method-assign]
    async with cluster.client() as db:
        assert await trespass(db, KEYS) == Trespass(ALL, ALL - len(KEYS))


async def test_a_key_that_has_come_into_the_region_is_not_asked_for(cluster: FakeCluster) -> None:
    """The two merge at the first question."""
    first, second = cluster.regions.values()

    def judge(store: StoreId, request: Request) -> Refusal | None:
        if second.region.id in cluster.regions:
            del cluster.regions[second.region.id]
            whole = replace(first.region, keys=KeyRange(b"", b""), epoch=Epoch(1, 9))
            first.machine.region = whole
        return None

    cluster.judge = judge
    async with cluster.client() as db:
        assert await trespass(db, KEYS) == Trespass(0, 0)
    assert not cluster.rows.values
