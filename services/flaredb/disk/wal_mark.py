"""The mark among the rows: which run's write-ahead log goes on from them, and behind which batch.

It changes in the transaction that changes the rows, so a reader of these knows exactly which
batches it sees.
"""

import struct
from typing import Final

import msgspec

from flaredb.disk.disk import DiskError
from flaredb.disk.layout import WAL_KEY, Corrupt, seal, unseal
from flaredb.disk.wal_records import WalRun

NO_LOG: Final = WalRun(0)
"""The run in the mark of rows that hold all that was ever saved: whatever is in a log is old."""

_MARK: Final = struct.Struct(">QQ")


class Mark(msgspec.Struct, frozen=True):
    """The rows hold the batches of `run` up to `number`, and no later one."""

    run: WalRun
    number: int


def encode_mark(mark: Mark) -> bytes:
    """The record under `WAL_KEY`."""
    return seal(WAL_KEY, _MARK.pack(mark.run, mark.number))


def decode_mark(record: bytes) -> Mark:
    """The mark that `record` holds; raises `DiskError` if it is not what was written."""
    payload = unseal(WAL_KEY, record)
    if isinstance(payload, Corrupt):
        raise DiskError("the mark of the write-ahead log is not what was written")
    run, number = _MARK.unpack(payload)
    return Mark(WalRun(run), number)
