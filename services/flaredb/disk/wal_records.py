"""Records of the write-ahead log: how a batch stands in a segment, and which are to be replayed.

A record starts on a page of its own, so that writing one never rewrites what was acknowledged in
another, and so that records are found without trusting the lengths of those before them. Its head
names the run of the store that wrote it: a random number which the rows name, too, so that what an
earlier run left in a segment that is used again counts for nothing.
"""

import mmap
import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import Final, NewType

import msgspec

WalRun = NewType("WalRun", int)
"""One run of a store on its folder: a random number of 64 bits, never 0."""

Segment = bytes | mmap.mmap
"""All that a segment holds."""

PAGE: Final = 4096
_MAGIC: Final = b"FDBW"
_HEAD: Final = struct.Struct(">4sQQII")  # magic, run, number, size and checksum of the body
_HEAD_CHECK: Final = struct.Struct(">I")
HEAD_BYTES: Final = _HEAD.size + _HEAD_CHECK.size


class WalDamaged(msgspec.Struct, frozen=True):
    """Batch `number` was acknowledged and cannot be read any more."""

    number: int


def record_bytes(body: int) -> int:
    """How many bytes the record of a body of so many bytes takes, in whole pages."""
    return -(-(HEAD_BYTES + body) // PAGE) * PAGE


def fill_record(buffer: mmap.mmap, run: WalRun, number: int, body: memoryview) -> int:
    """Lay the record of batch `number` at the start of `buffer`; returns its bytes."""
    head = _HEAD.pack(_MAGIC, run, number, len(body), zlib.crc32(body))
    buffer[: _HEAD.size] = head
    buffer[_HEAD.size : HEAD_BYTES] = _HEAD_CHECK.pack(zlib.crc32(head))
    buffer[HEAD_BYTES : HEAD_BYTES + len(body)] = body
    return record_bytes(len(body))


def to_replay(
    segments: Sequence[Segment], run: WalRun, committed: int
) -> list[memoryview] | WalDamaged:
    """The batches of `run` after `committed`, in order; an end that was being written is left out.

    One record is written at a time, and only after the one before it is durable. So a broken or
    missing record with a later one anywhere was acknowledged: that is damage, and nothing may be
    built on what is left.
    """
    bodies: dict[int, memoryview] = {}
    newest = committed
    for segment in segments:
        for number, body in _records(segment, run):
            newest = max(newest, number)
            if body is not None:
                bodies[number] = body
    found: list[memoryview] = []
    while (body := bodies.get(committed + len(found) + 1)) is not None:
        found.append(body)
    missing = committed + len(found) + 1
    return WalDamaged(missing) if newest > missing else found


def _records(segment: Segment, run: WalRun) -> Iterator[tuple[int, memoryview | None]]:
    """Number and body of every record of `run`; a body that is not what was written is None."""
    view = memoryview(segment)
    for offset in range(0, len(segment), PAGE):
        if segment[offset : offset + len(_MAGIC)] != _MAGIC:
            continue
        head = segment[offset : offset + _HEAD.size]
        check = segment[offset + _HEAD.size : offset + HEAD_BYTES]
        if check != _HEAD_CHECK.pack(zlib.crc32(head)):
            continue
        _, writer, number, size, checksum = _HEAD.unpack(head)
        if writer == run:
            body = view[offset + HEAD_BYTES : offset + HEAD_BYTES + size]
            yield number, body if len(body) == size and zlib.crc32(body) == checksum else None
