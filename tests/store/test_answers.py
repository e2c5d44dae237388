"""No frame of answers outgrows what the bus carries, and nothing that was answered is left out."""

import pytest

from flaredb.store.answers import ANSWERS, Answers
from flaredb_schemas.commands import MAX_BATCH_RANGES, MAX_CHILDREN, Done, NotSwapped, RangeDeleted
from flaredb_schemas.envelope import Malformed
from flaredb_schemas.failures import EpochMismatch, NotLeader, Refusal
from flaredb_schemas.ids import Index, PeerId, RegionId, StoreId, Term
from flaredb_schemas.keys import MAX_FRAME_BYTES, MAX_KEY_BYTES, MAX_VALUE_BYTES
from flaredb_schemas.regions import Route
from flaredb_schemas.requests import (
    MAX_GET_KEYS,
    MAX_SCAN_ROWS,
    Answer,
    GetAnswer,
    Refused,
    ReplicaStatus,
    ScanAnswer,
    StoreStatusAnswer,
    WriteAnswer,
)
from tests.store.regions import region

STORE = StoreId(1)
KEY = b"\xff" * MAX_KEY_BYTES
ROUTE = Route(region(2**40, KEY[:-1], KEY), PeerId(2**41), StoreId(2**41))
MISMATCH: Refusal = EpochMismatch((ROUTE,) * (MAX_CHILDREN + 1))
STATUS = ReplicaStatus(ROUTE, "live", Index(9), Index(9), Index(9), Term(9), True, 9, 9)


@pytest.mark.parametrize(
    ("answer", "many"),
    [
        (Refused(1, MISMATCH), 500),
        (Refused(1, NotLeader(ROUTE)), 5_000),
        (StoreStatusAnswer(1, STORE, (STATUS,) * 500, RegionId(1)), 5),
        (GetAnswer(1, (None,) * MAX_GET_KEYS), 5_000),
        (ScanAnswer(1, ((b"k", b"v"),) * MAX_SCAN_ROWS, True), 200),
        (WriteAnswer(1, 2**42, (Done(),) * 1_000), 1_000),
        (WriteAnswer(1, 2**42, (RangeDeleted(1_000, KEY),) * MAX_BATCH_RANGES), 200),
        (WriteAnswer(1, 2**42, (NotSwapped(bytes(MAX_VALUE_BYTES)),)), 5),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, int) else str(value),
)
def test_every_answer_arrives(answer: Answer, many: int) -> None:
    heard: list[Answer] = []

    def send(reply: str, payload: bytes) -> bool:
        assert len(payload) <= MAX_FRAME_BYTES, "the bus drops it"
        frame = ANSWERS.decode(payload)
        assert not isinstance(frame, Malformed) and reply == "inbox"
        heard.extend(frame.answers)
        return True

    answers = Answers(STORE, send)
    written = WriteAnswer(2, 0, (Done(),))
    answers.add("inbox", written)
    for _ in range(many):
        answers.add("inbox", answer)
    answers.flush()
    assert heard == [written, *[answer] * many]
