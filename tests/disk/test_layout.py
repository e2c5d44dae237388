"""The layout, byte by byte: what is on disks must be found again by every later version."""

import pytest

from flaredb.disk import layout
from flaredb.disk.disk import Batch
from flaredb.disk.memory_disk import SortedRows
from flaredb.disk.row_files import BlockWriter
from flaredb_schemas.commands import Lane
from flaredb_schemas.ids import Index, PeerId, RegionId, Term
from flaredb_schemas.keys import KeyRange
from flaredb_schemas.raft import Entry, EntryKind

REGION = RegionId(0x0102)
ENTRY = Entry(Index(7), Term(6), EntryKind.NORMAL, b"data")


def entry(index: int, data: bytes = b"") -> Entry:
    return Entry(Index(index), Term(6), EntryKind.NORMAL, data)


@pytest.mark.parametrize(
    ("key", "golden"),
    [
        (layout.data_key(b"user"), "6475736572"),
        (layout.data_key(b""), "64"),
        (layout.log_key(REGION, Index(7)), "6c 0000000000000102 0000000000000007"),
        (layout.hard_state_key(REGION), "68 0000000000000102"),
        (layout.region_key(REGION), "72 0000000000000102"),
        (layout.applied_key(REGION), "61 0000000000000102"),
        (
            layout.session_key(REGION, Lane(3, 4, 5)),
            "73 0000000000000102 0000000000000003 0000000000000004 0000000000000005",
        ),
        (layout.outbox_key(REGION, Index(7), 2), "6f 0000000000000102 0000000000000007 00000002"),
        (layout.tombstone_key(REGION, PeerId(9)), "74 0000000000000102 0000000000000009"),
        (layout.FORMAT_KEY, "6d 666f726d6174"),
        (layout.IDENTITY_KEY, "6d 6964656e74697479"),
        (layout.BOOT_KEY, "6d 626f6f74"),
        (layout.BOOTSTRAPPED_KEY, "6d 626f6f747374726170706564"),
        (layout.PD_EPOCH_KEY, "6d 7064"),
    ],
)
def test_keys_are_these_bytes(key: bytes, golden: str) -> None:
    assert key == bytes.fromhex(golden)


def test_records_are_these_bytes() -> None:
    assert layout.seal(b"dk", b"value") == bytes.fromhex("5bf3e738 76616c7565")
    assert layout.encode_entry(REGION, ENTRY) == bytes.fromhex("061ba037 94 07 06 00 c404 64617461")


def test_a_block_of_rows_is_these_bytes() -> None:
    blocks = list(BlockWriter().blocks([(b"a", b"old")]))
    assert blocks == [bytes.fromhex("00000009 57650c92 92 c40161 c4036f6c64")]


def test_keys_are_taken_apart_again() -> None:
    lane = Lane(2**64 - 1, 4, 5)
    assert layout.user_key(layout.data_key(b"user")) == b"user"
    assert layout.log_index(layout.log_key(REGION, Index(7))) == 7
    assert layout.session_lane(layout.session_key(REGION, lane)) == lane
    assert layout.outbox_position(layout.outbox_key(REGION, Index(7), 2)) == (7, 2)
    assert layout.region_of(layout.tombstone_key(REGION, PeerId(9))) == REGION
    assert layout.tombstone_peer(layout.tombstone_key(REGION, PeerId(9))) == 9


def test_the_rows_of_a_region_are_its_own() -> None:
    for kind, make in (
        (layout.LOG, lambda region: layout.log_key(region, Index(2**64 - 1))),
        (layout.HARD_STATE, layout.hard_state_key),
        (layout.SESSION, lambda region: layout.session_key(region, Lane(2**64 - 1, 0, 0))),
        (layout.OUTBOX, lambda region: layout.outbox_key(region, Index(0), 0)),
        (layout.TOMBSTONE, lambda region: layout.tombstone_key(region, PeerId(1))),
    ):
        start, end = layout.region_rows(kind, REGION)
        assert start <= make(REGION) < end
        assert make(RegionId(REGION - 1)) < start
        assert make(RegionId(REGION + 1)) >= end
        low, high = layout.kind_rows(kind)
        assert low <= start < end <= high


def test_open_ends_of_user_ranges_stay_within_user_rows() -> None:
    whole = layout.data_rows(KeyRange(b"", b""))
    assert whole == layout.kind_rows(layout.DATA)
    assert whole[0] <= layout.data_key(b"") < layout.data_key(b"\xff" * 400) < whole[1]
    start, end = layout.data_rows(KeyRange(b"b", b"c"))
    assert layout.data_key(b"az") < start <= layout.data_key(b"b") < end == layout.data_key(b"c")


def test_a_log_range_has_the_entries_asked_for() -> None:
    start, end = layout.log_rows(REGION, Index(3), Index(5))
    assert (start, end) == (layout.log_key(REGION, Index(3)), layout.log_key(REGION, Index(5)))
    assert layout.log_rows(REGION, Index(3))[1] == layout.region_rows(layout.LOG, REGION)[1]


def test_a_record_is_believed_only_under_its_own_key() -> None:
    record = layout.seal(b"dk", b"value")
    assert layout.unseal(b"dk", record) == b"value"
    assert layout.unseal(b"dk", layout.seal(b"dk", b"")) == b""
    for key, damaged in (
        (b"dx", record),
        (b"dk", record[:-1]),
        (b"dk", record + b"x"),
        (b"dk", record[:3]),
        (b"dk", b""),
        (b"dk", bytes([record[0] ^ 1]) + record[1:]),
    ):
        assert isinstance(layout.unseal(key, damaged), layout.Corrupt)


def test_every_flipped_bit_of_a_log_record_is_found() -> None:
    record = layout.encode_entry(REGION, ENTRY)
    assert layout.decode_entry(REGION, Index(7), record) == ENTRY
    for position in range(len(record) * 8):
        flipped = bytearray(record)
        flipped[position // 8] ^= 1 << position % 8
        damaged = layout.decode_entry(REGION, Index(7), bytes(flipped))
        assert isinstance(damaged, layout.Corrupt)


def test_a_log_record_in_another_place_is_found() -> None:
    record = layout.encode_entry(REGION, ENTRY)
    assert isinstance(layout.decode_entry(REGION, Index(8), record), layout.Corrupt)
    assert isinstance(layout.decode_entry(RegionId(3), Index(7), record), layout.Corrupt)
    key = layout.log_key(REGION, Index(7))
    for payload in (b"\x94\x08\x06\x00\xc4\x00", b"\x94", b"text"):
        sealed = layout.seal(key, payload)
        assert isinstance(layout.decode_entry(REGION, Index(7), sealed), layout.Corrupt)


def test_append_replaces_the_tail_of_one_log_alone() -> None:
    rows, batch = SortedRows(), Batch()
    neighbour = RegionId(REGION + 1)
    layout.append(batch, REGION, Index(1), [entry(1), entry(2), entry(3)])
    layout.append(batch, neighbour, Index(1), [entry(1)])
    layout.append(batch, REGION, Index(2), [entry(2, b"new")])
    rows.apply(batch)
    left = [
        layout.decode_entry(REGION, Index(i), rows.values[layout.log_key(REGION, Index(i))])
        for i in (1, 2)
    ]
    assert left == [entry(1), entry(2, b"new")]
    assert rows.get(layout.log_key(REGION, Index(3))) is None
    assert rows.get(layout.log_key(neighbour, Index(1))) is not None


def test_append_takes_entries_without_a_hole() -> None:
    with pytest.raises(AssertionError, match="follow"):
        layout.append(Batch(), REGION, Index(1), [entry(1), entry(3)])
