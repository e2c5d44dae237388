"""The byte layout of every row on a store's disk: which key names what, and how a record is sealed.

One ordered key space holds everything. The first byte of a key is its kind; what belongs to a
region goes on with the region's id, so that all of a region's rows of a kind lie side by side.
User rows stand under their own bytes, without a region, so that a split or a merge moves no data.

=========  ==========================================  ================================
kind       rest of the key                             record
=========  ==========================================  ================================
`a`        region                                      applied state
`d`        the user's key                              the user's value
`h`        region                                      Raft's hard state
`l`        region, index                               one Raft log entry
`l`        region, 0                                   where the log starts
`m`        a name                                      what there is once per store
`o`        region, index, number                       an event not yet acknowledged
`r`        region                                      the region's record
`s`        region, client, opened, lane number         a client's session
`t`        region, peer                                a tombstone
=========  ==========================================  ================================

Numbers are unsigned, big-endian, eight bytes each (an outbox row's `number` has four), so that
keys order as the numbers do. Every record is sealed: four bytes CRC-32 over key and payload, then
the payload. LMDB's pages carry no checksums, and a seal also finds a record that stands under the
wrong key.
"""

import struct
import zlib
from collections.abc import Iterable
from typing import Final

import msgspec

from flaredb.disk.disk import Batch
from flaredb_schemas.commands import Lane
from flaredb_schemas.ids import Index, PeerId, RegionId
from flaredb_schemas.keys import KeyRange
from flaredb_schemas.raft import Entry

Rows = tuple[bytes, bytes]
"""A half-open range of row keys; both ends are given."""

APPLIED: Final = b"a"
DATA: Final = b"d"
HARD_STATE: Final = b"h"
LOG: Final = b"l"
META: Final = b"m"
OUTBOX: Final = b"o"
REGION: Final = b"r"
SESSION: Final = b"s"
TOMBSTONE: Final = b"t"

FORMAT_KEY: Final = META + b"format"
"""The version of this layout, as decimal digits."""
IDENTITY_KEY: Final = META + b"identity"
"""Store id, uuid and cluster id."""
BOOT_KEY: Final = META + b"boot"
"""How often this folder has been started."""
GENERATION_KEY: Final = META + b"generation"
"""How far what is saved here has got, as PD is told: it tells the folder from an old copy."""
BOOTSTRAPPED_KEY: Final = META + b"bootstrapped"
"""Set in the batch that makes PD's initial regions."""
PD_EPOCH_KEY: Final = META + b"pd"
"""The highest reign of PD obeyed, with the journal sequence and id seen."""
NAMED_IDS_KEY: Final = META + b"named"
"""The highest id that a log entry or a region's record saved here has named."""

WAL_KEY: Final = META + b"wal"
"""Which run's write-ahead log goes on from these rows, and the last batch that they hold of it."""

FORMAT: Final = 2
"""The version of this layout. Version 1 had no write-ahead log; all else is the same."""

_LARGEST: Final = 2**64 - 1
_SEAL: Final = struct.Struct(">I")
SEAL_BYTES: Final = _SEAL.size
"""How much longer a record is than its payload."""

_REGION: Final = struct.Struct(">cQ")
_REGION_AND_ONE: Final = struct.Struct(">cQQ")
_OUTBOX: Final = struct.Struct(">cQQI")
_SESSION: Final = struct.Struct(">cQQQQ")


class Corrupt(msgspec.Struct, frozen=True):
    """A record that is not what was written: damaged, or under a wrong key."""

    key: bytes
    reason: str

    def __str__(self) -> str:
        return f"{self.key!r}: {self.reason}"


def seal(key: bytes, payload: bytes) -> bytes:
    """The record that stores `payload` under `key`."""
    return _SEAL.pack(zlib.crc32(payload, zlib.crc32(key))) + payload


def unseal(key: bytes, record: bytes) -> bytes | Corrupt:
    """The payload that was sealed for `key`."""
    return check_seal(key, record) or record[_SEAL.size :]


def check_seal(key: bytes, record: bytes) -> Corrupt | None:
    """What is wrong with `record`, if it is not what was sealed for `key`."""
    checksum = zlib.crc32(memoryview(record)[_SEAL.size :], zlib.crc32(key))
    if record[: _SEAL.size] == _SEAL.pack(checksum):
        return None
    return Corrupt(key, "checksum does not match")


def data_key(key: bytes) -> bytes:
    """Where the value of a user's key is."""
    return DATA + key


def user_key(row_key: bytes) -> bytes:
    """The user's key of a data row."""
    assert row_key[:1] == DATA, "not a row of user data"
    return row_key[1:]


def user_bytes(rows: int, row_bytes: int) -> int:
    """Of so many rows of user data with so many bytes: keys and values alone."""
    return row_bytes - rows * (SEAL_BYTES + len(data_key(b"")))


def data_rows(keys: KeyRange) -> Rows:
    """The rows of a range of user keys, open ends included."""
    return DATA + keys.start, DATA + keys.end if keys.end else kind_rows(DATA)[1]


def log_key(region: RegionId, index: Index) -> bytes:
    """Where a log entry is."""
    return _REGION_AND_ONE.pack(LOG, region, index)


def log_start_key(region: RegionId) -> bytes:
    """Where it is kept behind which entry the log starts; no entry has index 0."""
    return log_key(region, Index(0))


def log_index(row_key: bytes) -> Index:
    """The index of the log entry under this key."""
    kind, _, index = _REGION_AND_ONE.unpack(row_key)
    assert kind == LOG, "not a row of the log"
    return Index(index)


def log_rows(region: RegionId, first: Index, end: Index | None = None) -> Rows:
    """The log entries `first` to `end` (not included; None: to the end of the log)."""
    after_log = region_rows(LOG, region)[1]
    return log_key(region, first), after_log if end is None else log_key(region, end)


def hard_state_key(region: RegionId) -> bytes:
    """Where a replica's term, vote and commit index are."""
    return _REGION.pack(HARD_STATE, region)


def region_key(region: RegionId) -> bytes:
    """Where a region's record is."""
    return _REGION.pack(REGION, region)


def applied_key(region: RegionId) -> bytes:
    """Where a region's applied state is: how far its log has been applied, and what goes along."""
    return _REGION.pack(APPLIED, region)


def session_key(region: RegionId, lane: Lane) -> bytes:
    """Where a client's session with a region is."""
    return _SESSION.pack(SESSION, region, lane.client, lane.opened, lane.number)


def session_lane(row_key: bytes) -> Lane:
    """The lane of the session under this key."""
    kind, _, client, opened, number = _SESSION.unpack(row_key)
    assert kind == SESSION, "not a row of a session"
    return Lane(client, opened, number)


def outbox_key(region: RegionId, index: Index, number: int) -> bytes:
    """Where event `number` of the entry at `index` waits for its acknowledgement."""
    return _OUTBOX.pack(OUTBOX, region, index, number)


def outbox_position(row_key: bytes) -> tuple[Index, int]:
    """Entry and number of the event under this key."""
    kind, _, index, number = _OUTBOX.unpack(row_key)
    assert kind == OUTBOX, "not a row of the outbox"
    return Index(index), number


def tombstone_key(region: RegionId, peer: PeerId) -> bytes:
    """Where it is kept that `peer` of `region` was here and is gone for good."""
    return _REGION_AND_ONE.pack(TOMBSTONE, region, peer)


def tombstone_peer(row_key: bytes) -> PeerId:
    """The peer of the tombstone under this key."""
    kind, _, peer = _REGION_AND_ONE.unpack(row_key)
    assert kind == TOMBSTONE, "not a tombstone"
    return PeerId(peer)


def region_of(row_key: bytes) -> RegionId:
    """The region in the key of any row that names one."""
    assert row_key[:1] not in (DATA, META), "a row without a region"
    return RegionId(_REGION.unpack(row_key[: _REGION.size])[1])


def kind_rows(kind: bytes) -> Rows:
    """All rows of one kind."""
    return kind, bytes([kind[0] + 1])


def can_have_rows(region: RegionId) -> bool:
    """Whether this is the id of a region at all: what others name may be any number."""
    return 0 < region < _LARGEST


def region_rows(kind: bytes, region: RegionId) -> Rows:
    """All rows of one kind that name this region."""
    assert kind not in (DATA, META), "rows without a region"
    assert can_have_rows(region), "a region's id is positive and has a successor"
    return _REGION.pack(kind, region), _REGION.pack(kind, region + 1)


_encoder: Final = msgspec.msgpack.Encoder()
_entry_decoder: Final = msgspec.msgpack.Decoder(Entry)


def encode_entry(region: RegionId, entry: Entry) -> bytes:
    """The record of a log entry; its seal covers region, index, term and bytes."""
    return seal(log_key(region, entry.index), _encoder.encode(entry))


def decode_entry(region: RegionId, index: Index, record: bytes) -> Entry | Corrupt:
    """The log entry that `record` holds, which must be the one at `index` of `region`."""
    key = log_key(region, index)
    payload = unseal(key, record)
    if isinstance(payload, Corrupt):
        return payload
    try:
        entry = _entry_decoder.decode(payload)
    except msgspec.MsgspecError as error:
        return Corrupt(key, f"not a log entry: {error}")
    return entry if entry.index == index else Corrupt(key, f"holds entry {entry.index}")


def append(batch: Batch, region: RegionId, first: Index, entries: Iterable[Entry]) -> None:
    """Make `entries` the end of the log from `first` on; whatever stood there goes."""
    batch.delete_range(*log_rows(region, first))
    for expected, entry in enumerate(entries, first):
        assert entry.index == expected, "entries to append follow on one another"
        batch.put(log_key(region, entry.index), encode_entry(region, entry))
