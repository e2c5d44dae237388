"""What is asked of a region that a store does not host is refused, counted and logged (FR-002)."""

import logging
from collections.abc import Callable
from typing import Final

import pytest

from flaredb.runtime.settings import StoreSettings
from flaredb.store.outgoing import FRAMES
from flaredb_schemas.commands import BATCHES, Batch, Lane, Put
from flaredb_schemas.envelope import Malformed
from flaredb_schemas.failures import RegionNotFound
from flaredb_schemas.frames import Item, NotHosted, RaftItem, StoreFrame
from flaredb_schemas.ids import BootCounter, Index, PeerId, RegionId, StoreId, Term
from flaredb_schemas.raft import Append, Heartbeat, Message
from flaredb_schemas.regions import Epoch
from flaredb_schemas.requests import (
    CheckRequest,
    GetRequest,
    Refused,
    Request,
    ScanRequest,
    WriteRequest,
)
from tests.store.group import Group
from tests.store.member import Member
from tests.store.regions import region

HOSTED, ELSEWHERE = RegionId(1), RegionId(77)
SENDER, ADDRESSED = PeerId(7702), PeerId(7701)
WRITE: Final = BATCHES.encode(Batch(Lane(1, 1, 1), 1, 0, (Put(0, b"a", b"stray"),)))


@pytest.fixture
def group() -> Group:
    """Three stores with one region."""
    made = Group(StoreSettings(), (region(1, b"", b""),))
    made.wait_for_leader(HOSTED)
    return made


@pytest.mark.parametrize(
    "make",
    [
        lambda number: WriteRequest(number, ELSEWHERE, 1, WRITE),
        lambda number: GetRequest(number, ELSEWHERE, 1, (b"a",)),
        lambda number: ScanRequest(number, ELSEWHERE, 1, b"", b"", 10),
        lambda number: CheckRequest(number, ELSEWHERE, 1),
    ],
    ids=["write", "get", "scan", "check"],
)
def test_a_client(
    group: Group, make: Callable[[int], Request], caplog: pytest.LogCaptureFixture
) -> None:
    asked = group.wait_for_leader(HOSTED)
    before = asked.store.counters.frames_refused
    with caplog.at_level(logging.INFO, "flaredb.store"):
        answer = group.ask(asked, make)
    assert isinstance(answer, Refused)
    assert answer.refusal == RegionNotFound(ELSEWHERE, asked.id)
    assert asked.store.counters.frames_refused == before + 1
    assert f"region {ELSEWHERE} is not hosted here" in caplog.text
    assert group.get(HOSTED, b"a") is None


@pytest.mark.parametrize("number", [0, -1, 2**64 - 1])
@pytest.mark.parametrize(
    "make",
    [
        lambda number, region: WriteRequest(number, region, 1, WRITE),
        lambda number, region: GetRequest(number, region, 1, (b"a",)),
        lambda number, region: ScanRequest(number, region, 1, b"", b"", 10),
        lambda number, region: CheckRequest(number, region, 1),
    ],
    ids=["write", "get", "scan", "check"],
)
def test_a_client_that_names_what_no_region_can_be(
    group: Group, make: Callable[[int, RegionId], Request], number: int
) -> None:
    """It stopped the store, and one client could stop all of them."""
    asked, named = group.wait_for_leader(HOSTED), RegionId(number)
    answer = group.ask(asked, lambda request: make(request, named))
    assert isinstance(answer, Refused)
    assert answer.refusal == RegionNotFound(named, asked.id)


@pytest.mark.parametrize(
    "message",
    [
        Heartbeat(Term(9), Index(5)),
        Append(Term(9), Index(5), Term(5), Index(5)),
    ],
    ids=["heartbeat", "append"],
)
def test_a_store(
    group: Group,
    message: Message,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked, asker = group.members[StoreId(1)], group.members[StoreId(2)]
    said = heard_by(asker, group, monkeypatch)
    before = asked.store.counters.frames_refused
    item = RaftItem(ELSEWHERE, SENDER, ADDRESSED, Epoch(1, 1), message)
    frame = FRAMES.encode(StoreFrame(BootCounter(1), (item,)))
    with caplog.at_level(logging.INFO, "flaredb.store"):
        asked.store.on_raft(asker.id, frame)
        group.until(lambda: NotHosted(ELSEWHERE, ADDRESSED, SENDER) in said)
    assert asked.store.counters.frames_refused == before + 1
    assert f"region {ELSEWHERE} is not hosted here; store {asker.id} asked" in caplog.text


def test_a_refusal_is_not_refused(group: Group, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else two stores would go on for ever."""
    asked, asker = group.members[StoreId(1)], group.members[StoreId(2)]
    said = heard_by(asker, group, monkeypatch)
    before = asked.store.counters.frames_refused
    frame = FRAMES.encode(StoreFrame(BootCounter(1), (NotHosted(ELSEWHERE, ADDRESSED, SENDER),)))
    asked.store.on_raft(asker.id, frame)
    group.put(HOSTED, b"a", b"it goes on")
    assert asked.store.counters.frames_refused == before
    assert not any(isinstance(item, NotHosted) for item in said)


def heard_by(listener: Member, group: Group, monkeypatch: pytest.MonkeyPatch) -> list[Item]:
    """All that is said to a store from now on."""
    said: list[Item] = []
    carry, inbox = group.carry, f".{listener.id}."

    def overhear(sender: Member, subject: str, payload: bytes) -> bool:
        frame = FRAMES.decode(payload)
        if inbox in subject and not isinstance(frame, Malformed):
            said.extend(frame.items)
        return carry(sender, subject, payload)

    monkeypatch.setattr(group, "carry", overhear)
    return said
