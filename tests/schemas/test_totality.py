"""Whatever bytes arrive, decoding gives a value or a `Malformed`, and nothing else, ever."""

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from flaredb_schemas.commands import BATCHES, Batch, Command
from flaredb_schemas.envelope import VERSION, Codec, Malformed
from flaredb_schemas.events import EVENT_TYPES, about, cloud_headers, decode_event, encode_event
from flaredb_schemas.frames import SnapshotItem, StoreFrame
from flaredb_schemas.placement import JoinAnswer, Order, RoutesAnswer
from flaredb_schemas.requests import AnswerFrame, RequestFrame
from flaredb_schemas.sessions import AppliedState, LaneState
from tests.schemas.samples import encode, sample, wire_types

FRAMES: dict[str, Codec[Any]] = {
    "batch": BATCHES,
    "command": Codec(Command),
    "requests": Codec(RequestFrame),
    "answers": Codec(AnswerFrame),
    "store": Codec(StoreFrame),
    "snapshot": Codec(SnapshotItem),
    "join": Codec(JoinAnswer),
    "order": Codec(Order),
    "routes": Codec(RoutesAnswer),
    "lane": Codec(LaneState),
    "applied": Codec(AppliedState),
}
HEADER = bytes([VERSION])
GOOD = [HEADER + encode(sample(kind)) for kind in wire_types()]


def decode_all(frame: bytes) -> None:
    """Every codec bears the frame."""
    for codec in FRAMES.values():
        value = codec.decode(frame)
        if isinstance(value, Malformed):
            assert value.reason
        else:
            # What was understood can be said again, and is understood the same.
            assert codec.decode(codec.encode(value)) == value


@given(st.binary(max_size=200))
@example(b"")
@example(HEADER)
@settings(deadline=None)
def test_any_bytes(data: bytes) -> None:
    decode_all(data)
    decode_all(HEADER + data)


@given(st.sampled_from(GOOD), st.data())
@settings(deadline=None)
def test_truncated(frame: bytes, data: st.DataObject) -> None:
    decode_all(frame[: data.draw(st.integers(0, len(frame)))])


@given(st.sampled_from(GOOD), st.data())
@settings(deadline=None)
def test_flipped(frame: bytes, data: st.DataObject) -> None:
    flipped = bytearray(frame)
    for _ in range(data.draw(st.integers(1, 3))):
        flipped[data.draw(st.integers(0, len(frame) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    decode_all(bytes(flipped))


@given(st.sampled_from(GOOD), st.sampled_from(GOOD), st.data())
@settings(deadline=None)
def test_spliced(left: bytes, right: bytes, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(left)))
    decode_all(left[:cut] + right[data.draw(st.integers(0, len(right))) :])


@pytest.mark.parametrize("opening", [b"\x91", b"\x81\xa1k", b"\x81\x01", b"\xdd\x00\x00\x00\x01"])
@pytest.mark.parametrize("depth", [10, 1_000, 200_000])
def test_deeply_nested(opening: bytes, depth: int) -> None:
    """Alone, and where a newer neighbour's fields are passed over."""
    decode_all(HEADER + opening * depth + b"\xc0" + b"\xc0" * depth)
    decode_all(HEADER + opening * depth)
    extra = b"\x92\x01\x90" + opening * depth + b"\xc0"
    decode_all(HEADER + b"\x93" + extra[1:])


@pytest.mark.parametrize("depth", [10, 500, 900, 200_000])
def test_a_batch_is_understood_the_same_at_any_depth_of_the_stack(depth: int) -> None:
    """Nothing in a batch is passed over, so how deep the caller stands cannot make a difference."""
    batch = sample(Batch)
    longer = HEADER + b"\x95" + encode(batch)[1:] + b"\x91" * depth + b"\xc0"
    here = BATCHES.decode(longer)
    assert isinstance(here, Malformed)
    assert at_depth(400, longer) == here
    assert at_depth(400, HEADER + encode(batch)) == batch


def at_depth(frames: int, data: bytes) -> object:
    return at_depth(frames - 1, data) if frames else BATCHES.decode(data)


@pytest.mark.parametrize(
    "header",
    ["dd", "df", "c6", "db", "c9"],
    ids=["array", "map", "bytes", "text", "extension"],
)
@pytest.mark.parametrize("length", ["ffffffff", "7fffffff", "00100000"])
def test_a_length_that_is_not_there(header: str, length: str) -> None:
    """Memory is not taken for what a header merely claims."""
    claim = bytes.fromhex(header + length)
    decode_all(HEADER + claim)
    decode_all(HEADER + claim + b"\x01" * 50)
    for frame in GOOD[:20]:
        decode_all(frame[:2] + claim + frame[2:])


def test_too_long_and_of_another_version() -> None:
    assert Codec(Batch, 10).decode(HEADER + b"\xc0" * 10) == Malformed("11 bytes, more than 10")
    assert BATCHES.decode(b"\x02\xc0") == Malformed("version 2, understood is 1")
    assert BATCHES.decode(b"") == Malformed("empty")


@pytest.mark.parametrize("kind", EVENT_TYPES)
def test_events_say_what_they_are(kind: type[Any]) -> None:
    """JSON with a type, and headers by CloudEvents 1.0 in binary mode."""
    event: Any = sample(kind)
    assert decode_event(encode_event(event)) == event
    headers = cloud_headers(event, "cluster", "store-1")
    assert headers["ce-id"] == event.id
    assert headers["Nats-Msg-Id"] == f"cluster.{event.id}"
    assert headers["ce-subject"] == f"{headers['ce-type'].split('.')[2]}/{about(event)}"
    assert all(header.isascii() and header.isprintable() for header in headers.values())
