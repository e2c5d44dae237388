"""Files of rows: blocks of at most about 256 KiB, each with its length and its checksum.

A block is its payload's length and CRC-32 (four bytes each, big-endian), then the payload: the
rows as one MessagePack array, keys and values in turns. A file is blocks to its end, so a file
without rows is empty. The same bytes travel between stores, whatever disk they have. A block's
checksum is of the file; each row keeps the seal that it has had since it was written.
"""

import hashlib
import re
import struct
import zlib
from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from flaredb.disk.layout import check_seal

BLOCK_BYTES: Final = 256 * 1024
"""A block ends before the row that would make its rows exceed this; a larger row stands alone."""

MAX_BLOCK_BYTES: Final = 4 * 1024 * 1024
"""No length above this is believed, so that a damaged one cannot ask for all memory."""

HEAD: Final = struct.Struct(">II")
_LENGTHS: Final = struct.Struct(">II")
_NAME: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}")
_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(list[bytes])


class BadBlock(msgspec.Struct, frozen=True):
    """The bytes at this place of the file are no block."""

    reason: str


class BlockWriter:
    """Rows in, blocks out; counts what went through.

    Invariant: what waits for its block is smaller than `BLOCK_BYTES`, or is a single row.
    """

    __slots__ = ("_pending", "_pending_bytes", "row_bytes", "rows")

    def __init__(self) -> None:
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self.rows = 0
        self.row_bytes = 0

    def blocks(self, rows: Iterable[tuple[bytes, bytes]]) -> Iterator[bytes]:
        """The blocks that hold `rows`; the last one ends with them."""
        for key, value in rows:
            size = len(key) + len(value)
            if self._pending and self._pending_bytes + size > BLOCK_BYTES:
                yield self._block()
            self._pending += (key, value)
            self._pending_bytes += size
            self.rows += 1
            self.row_bytes += size
        if self._pending:
            yield self._block()

    def _block(self) -> bytes:
        payload = _encoder.encode(self._pending)
        self._pending, self._pending_bytes = [], 0
        return HEAD.pack(len(payload), zlib.crc32(payload)) + payload


def block_length(head: bytes) -> int | BadBlock:
    """How many bytes of payload follow this head."""
    if len(head) < HEAD.size:
        return BadBlock("ends within a block's head")
    length: int = HEAD.unpack(head)[0]
    return length if length <= MAX_BLOCK_BYTES else BadBlock(f"a block of {length} bytes")


def decode_block(head: bytes, payload: bytes) -> list[tuple[bytes, bytes]] | BadBlock:
    """The rows of the block with this head and payload."""
    length, checksum = HEAD.unpack(head)
    if len(payload) != length:
        return BadBlock("ends within a block")
    if zlib.crc32(payload) != checksum:
        return BadBlock("a block's checksum does not match")
    try:
        flat = _decoder.decode(payload)
    except msgspec.MsgspecError as error:
        return BadBlock(f"a block is not rows: {error}")
    if len(flat) % 2:
        return BadBlock("a key without a value")
    rows = zip(flat[::2], flat[1::2], strict=True)
    try:
        return list(checked_rows(rows))
    except DamagedRowError as error:
        return BadBlock(f"a row is damaged: {error}")


class DamagedRowError(Exception):
    """A row is not as it was sealed."""


def checked_rows(rows: Iterable[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, bytes]]:
    """These rows; raises `DamagedRowError` at the first that is not as it was sealed."""
    for key, record in rows:
        corrupt = check_seal(key, record)
        if corrupt is not None:
            raise DamagedRowError(str(corrupt))
        yield key, record


class RowDigest:
    """SHA-256 over rows in order, each as the lengths of key and value (4 bytes each), then both.

    Invariant: `rows` and `row_bytes` tell exactly what was hashed.
    """

    __slots__ = ("_hash", "row_bytes", "rows")

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self.rows = 0
        self.row_bytes = 0

    def add(self, key: bytes, value: bytes) -> None:
        self._hash.update(_LENGTHS.pack(len(key), len(value)) + key + value)
        self.rows += 1
        self.row_bytes += len(key) + len(value)

    def hexadecimal(self) -> str:
        return self._hash.hexdigest()


def digest_of(ranges: Iterable[Iterable[tuple[bytes, bytes]]]) -> tuple[str, int, int]:
    """The digest of all rows, in hexadecimal, and how many rows and bytes the first range has."""
    digest = RowDigest()
    first: tuple[int, int] | None = None
    for rows in ranges:
        for key, value in rows:
            digest.add(key, value)
        first = first or (digest.rows, digest.row_bytes)
    return digest.hexadecimal(), *(first or (0, 0))


def checked_name(name: str) -> str:
    """`name`, which must be a plain file name: letters, digits, `_`, `-` and inner dots."""
    assert is_name(name), f"not a name for a file of rows: {name!r}"
    return name


def is_name(name: str) -> bool:
    """Whether a file of rows may be called so."""
    return _NAME.fullmatch(name) is not None
