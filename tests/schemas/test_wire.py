"""Golden bytes of all that is said or kept, and what older and newer neighbours make of them.

A file `testdata/wire-<release>.txt` holds one line per type: its name, and the bytes of its sample,
JSON as it is and MessagePack in hexadecimal. The newest file is compared with the samples of today;
the files of older releases, and of drafts in use, never change, and must be read for ever.
"""

from functools import cache
from pathlib import Path
from typing import get_args

import msgspec
import pytest
from msgspec import Struct

from flaredb_schemas import commands
from flaredb_schemas.envelope import VERSION
from tests.schemas.samples import NEVER_SENT, decode, encode, is_json, name_of, sample, wire_types

TESTDATA = Path(__file__).parent / "testdata"
RELEASE = "0.1"
GOLDEN = TESTDATA / f"wire-{RELEASE}.txt"
TYPES = wire_types()
ARRAYS = [kind for kind in TYPES if not is_json(kind)]


@cache
def golden(path: Path = GOLDEN) -> dict[str, bytes]:
    lines = (line.split(" ", 1) for line in path.read_text().splitlines())
    return {
        name: text.encode() if text.startswith("{") else bytes.fromhex(text) for name, text in lines
    }


def written(data: bytes) -> str:
    return data.decode() if data.startswith(b"{") else data.hex()


def test_the_table_is_complete(rewrite: bool) -> None:
    """Every type has its golden bytes, and no line is left of a type that is gone."""
    if rewrite:
        lines = [f"{name_of(kind)} {written(encode(sample(kind)))}\n" for kind in TYPES]
        GOLDEN.write_text("".join(lines))
    assert list(golden()) == [name_of(kind) for kind in TYPES]


@pytest.mark.parametrize("kind", TYPES, ids=name_of)
def test_bytes_stay_as_they_are(kind: type[Struct]) -> None:
    data = golden()[name_of(kind)]
    assert written(encode(sample(kind))) == written(data)
    assert decode(data, kind) == sample(kind)


@pytest.mark.parametrize("kind", TYPES, ids=name_of)
def test_a_newer_neighbour_may_say_more(kind: type[Struct]) -> None:
    """Except in what is executed: that must be understood in full by every replica."""
    data = longer(golden()[name_of(kind)], kind)
    if kind.__struct_config__.forbid_unknown_fields:
        with pytest.raises(msgspec.ValidationError):
            decode(data, kind)
    else:
        assert decode(data, kind) == sample(kind)


@pytest.mark.parametrize("kind", ARRAYS, ids=name_of)
def test_an_older_neighbour_may_say_less(kind: type[Struct]) -> None:
    """Trailing fields that have defaults may be missing; all others must be there."""
    optional = len(kind.__struct_defaults__)
    whole = msgspec.msgpack.decode(encode(sample(kind)))
    shortest = msgspec.msgpack.encode(whole[: len(whole) - optional])
    fields = kind.__struct_fields__[: len(kind.__struct_fields__) - optional]
    read = decode(shortest, kind)
    assert all(getattr(read, field) == getattr(sample(kind), field) for field in fields)
    if fields:
        with pytest.raises(msgspec.ValidationError):
            decode(msgspec.msgpack.encode(whole[: len(whole) - optional - 1]), kind)


def test_what_was_ever_written_is_read() -> None:
    by_name = {name_of(kind): kind for kind in TYPES}
    for path in TESTDATA.glob("wire-*.txt"):
        for name, data in golden(path).items():
            assert isinstance(decode(data, by_name[name]), by_name[name]), f"{path}: {name}"


def test_commands_are_understood_in_full() -> None:
    """Two replicas that understood an entry differently would no longer agree."""
    executed = [kind for kind in TYPES if kind.__module__ == commands.__name__]
    executed = [kind for kind in executed if kind not in get_args(commands.Outcome)]
    assert {commands.Batch, *get_args(commands.Command), *get_args(commands.Op)} <= {*executed}
    assert all(kind.__struct_config__.forbid_unknown_fields for kind in executed)


@pytest.mark.parametrize("kind", TYPES, ids=name_of)
def test_everything_is_frozen(kind: type[Struct]) -> None:
    assert kind.__struct_config__.frozen


def test_a_frame_begins_with_its_version() -> None:
    batch = sample(commands.Batch)
    assert isinstance(batch, commands.Batch)
    frame = commands.BATCHES.encode(batch)
    assert frame == bytes([VERSION]) + golden()["commands.Batch"]
    assert commands.BATCHES.decode(frame) == batch


def test_the_exceptions_have_a_reason() -> None:
    assert all(NEVER_SENT.values())


def longer(data: bytes, kind: type[Struct]) -> bytes:
    """`data` with a field at the end that nobody knows yet."""
    if is_json(kind):
        return msgspec.json.encode(msgspec.json.decode(data) | {"later": [{"than": "you"}]})
    return msgspec.msgpack.encode([*msgspec.msgpack.decode(data), {"later": [b"than you"]}])
