"""What becomes of wishes that PD is told: refusals, and that a merge has ended when PD shows it."""

from collections.abc import Callable

import msgspec
import pytest
from msgspec.structs import replace

from flaredb.bus.bus import Message
from flaredb.client import pd_line
from flaredb.client.errors import (
    FlareDBError,
    InvalidArgumentError,
    UnavailableError,
    UndeterminedError,
)
from flaredb.client.placement import PlacementReader
from flaredb.runtime.clock import SystemClock
from flaredb_schemas.ids import RegionId
from flaredb_schemas.pd_answers import MergeDone, MergeQuery, PdFailure, RegionRow, RegionsPage
from flaredb_schemas.splits import IN_DOUBT
from flaredb_schemas.subjects import Subjects
from tests.client.fake_cluster import LiveHub
from tests.schemas.samples import sample

pytestmark = pytest.mark.anyio

SUBJECTS = Subjects()


Answer = Callable[[bytes], msgspec.Struct]


async def told_by_pd(**answers: Answer) -> PlacementReader:
    """A client of a PD that answers what it is asked by these, and nothing else."""
    hub = LiveHub(SystemClock())
    pd, client = hub.connect("pd"), hub.connect("client")

    def answering(answer: Answer) -> Callable[[Message], None]:
        def tell(asked: Message) -> None:
            pd.send(asked.reply, msgspec.json.encode(answer(asked.payload)))

        return tell

    for what, answer in answers.items():
        ask = SUBJECTS.pd_get if what == "regions" else SUBJECTS.pd_admin
        await pd.subscribe(ask(what), answering(answer))
    return PlacementReader(client, SUBJECTS, timeout=5.0)


def region(number: int) -> RegionRow:
    row = sample(RegionRow)
    assert isinstance(row, RegionRow)
    return replace(row, id=RegionId(number))


@pytest.mark.parametrize("what", ["split", "merge"])
@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("this store does not lead region 4", UnavailableError),
        (f"this store does not lead region 4; {IN_DOUBT}", UndeterminedError),
    ],
)
async def test_what_is_in_doubt_is_no_refusal(
    what: str, message: str, kind: type[FlareDBError]
) -> None:
    client = await told_by_pd(**{what: lambda payload: PdFailure("refused", message, "look")})
    with pytest.raises(kind, match="does not lead") as caught:
        if what == "split":
            await client.split(RegionId(4))
        else:
            await client.merge(RegionId(4))
    assert caught.value.hint == "look"


async def test_a_merge_has_ended_when_pd_shows_one_region_instead_of_two() -> None:
    wishes: list[MergeQuery] = []
    pages = iter([(4, 5, 6), (4, 5, 6), (4, 6)])

    def merge(payload: bytes) -> MergeDone:
        wishes.append(msgspec.json.decode(payload, type=MergeQuery))
        return MergeDone(RegionId(4))

    def show(payload: bytes) -> RegionsPage:
        return RegionsPage(tuple(map(region, next(pages))), None, 3)

    client = await told_by_pd(merge=merge, regions=show)
    assert await client.merge(RegionId(5), RegionId(4)) == region(4)
    assert wishes == [MergeQuery(RegionId(5), RegionId(4))]
    assert not list(pages), "PD was asked until region 5 was gone"


async def test_a_merge_with_no_neighbour_is_the_askers_fault() -> None:
    refused = PdFailure("not_neighbours", "region 5 is no neighbour of region 9", "look")
    client = await told_by_pd(merge=lambda payload: refused)
    with pytest.raises(InvalidArgumentError, match="no neighbour"):
        await client.merge(RegionId(5), RegionId(9))


async def test_a_region_that_has_just_lost_its_leader_is_waited_for() -> None:
    leaderless = PdFailure("no_leader", "region 4 has no leader", "look")
    answers = iter([leaderless, leaderless, PdFailure("refused", "region 4 is too small", "look")])
    client = await told_by_pd(split=lambda payload: next(answers))
    with pytest.raises(UnavailableError, match="too small"):
        await client.split(RegionId(4))


async def test_a_region_that_gets_no_leader_is_not_waited_for_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pd_line, "ELECTION_PATIENCE", 0.3)
    leaderless = PdFailure("no_leader", "region 4 has no leader", "look")
    client = await told_by_pd(split=lambda payload: leaderless)
    with pytest.raises(UnavailableError, match="no leader"):
        await client.split(RegionId(4))
