"""A store without room, or with too much to do, says so; what makes room gets through."""

from collections.abc import Callable, Sequence

import pytest

from flaredb.disk.disk import Usage
from flaredb.runtime.settings import StoreSettings
from flaredb.store.room import LOOKED_AT_SECONDS
from flaredb.store.serving import MAX_PROPOSALS_WAITING, MAX_READS_WAITING, REQUESTS
from flaredb_schemas.commands import (
    BATCHES,
    Batch,
    CompareAndSwap,
    Delete,
    DeleteRange,
    Lane,
    Op,
    Put,
)
from flaredb_schemas.commands import (
    Group as Together,
)
from flaredb_schemas.failures import Busy, DiskFull
from flaredb_schemas.ids import RegionId
from flaredb_schemas.requests import (
    Answer,
    GetAnswer,
    GetRequest,
    Refused,
    Request,
    RequestFrame,
    WriteAnswer,
    WriteRequest,
)
from tests.store.group import INBOX, Group
from tests.store.member import Member
from tests.store.regions import region

ONLY = RegionId(1)
QUOTA = 1 << 30


@pytest.fixture
def group() -> Group:
    """Three stores with one region that holds a row."""
    made = Group(StoreSettings(), (region(1, b"", b""),))
    made.put(ONLY, b"here", b"before")
    return made


def ask_all(
    group: Group, member: Member, makes: Sequence[Callable[[int], Request]]
) -> list[Answer]:
    """Ask one store all at once, and wait for all that it says."""
    numbers = range(group.asked + 1, group.asked + 1 + len(makes))
    group.asked = numbers[-1]
    requests = tuple(make(number) for number, make in zip(numbers, makes, strict=True))
    member.store.on_request(REQUESTS.encode(RequestFrame(1, requests)), INBOX)
    group.until(lambda: all(number in group.answers for number in numbers))
    return [group.answers[number] for number in numbers]


def write(group: Group, op: Op, sequence: int = 1) -> Callable[[int], Request]:
    lane = Lane(1, group.wall(), sequence)
    batch = BATCHES.encode(Batch(lane, 1, 0, (op,)))
    return lambda number: WriteRequest(number, ONLY, 1, batch)


def fill(member: Member, monkeypatch: pytest.MonkeyPatch, used: int) -> None:
    """So much of its quota is used."""
    usage = Usage(used=used, quota=QUOTA, free=1 << 30)
    monkeypatch.setattr(member.disk, "usage", lambda: usage)


def test_a_full_disk_takes_what_makes_room_and_nothing_else(
    group: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    leader = group.wait_for_leader(ONLY)
    adding: list[Op] = [
        Put(0, b"a", b"more"),
        CompareAndSwap(0, b"here", b"before", b"more"),
        Together(0, (Put(0, b"a", b"more"), Delete(0, b"b"))),
    ]
    removing: list[Op] = [Delete(0, b"here"), DeleteRange(0, b"a", b"c")]

    fill(leader, monkeypatch, QUOTA)
    wait_for_a_look(group)
    for op in adding:
        (answer,) = ask_all(group, leader, [write(group, op)])
        assert isinstance(answer, Refused) and answer.refusal == DiskFull(leader.id), op
    assert group.get(ONLY, b"here") == b"before" and group.get(ONLY, b"a") is None
    for op in removing:
        (answer,) = ask_all(group, leader, [write(group, op)])
        assert isinstance(answer, WriteAnswer), op
    assert group.get(ONLY, b"here") is None

    fill(leader, monkeypatch, QUOTA // 2)
    wait_for_a_look(group)
    (answer,) = ask_all(group, leader, [write(group, adding[0])])
    assert isinstance(answer, WriteAnswer)


def wait_for_a_look(group: Group) -> None:
    """The stores look at their disks again."""
    later = group.now + LOOKED_AT_SECONDS + 0.2
    group.until(lambda: group.now > later)


def test_too_many_batches_in_one_region(group: Group) -> None:
    leader = group.wait_for_leader(ONLY)
    beyond = 3
    writes = [
        write(group, Put(0, b"a", b""), number) for number in range(MAX_PROPOSALS_WAITING + beyond)
    ]
    check_busy(ask_all(group, leader, writes), beyond, WriteAnswer)
    group.put(ONLY, b"here", b"after")


def test_too_many_reads_in_one_region(group: Group) -> None:
    leader = group.wait_for_leader(ONLY)
    beyond = 3

    def read(number: int) -> Request:
        return GetRequest(number, ONLY, 1, (b"here",))

    answers = ask_all(group, leader, [read] * (MAX_READS_WAITING + beyond))
    check_busy(answers, beyond, GetAnswer)
    assert group.get(ONLY, b"here") == b"before"


def check_busy(answers: list[Answer], beyond: int, served: type[Answer]) -> None:
    """What is within the bound is served, and what is beyond it is not."""
    assert all(isinstance(answer, served) for answer in answers[:-beyond])
    for answer in answers[-beyond:]:
        assert isinstance(answer, Refused) and isinstance(answer.refusal, Busy)
