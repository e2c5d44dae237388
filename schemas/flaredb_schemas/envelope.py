"""The versioned wrapper around every binary message and record, and its codec.

Decoding is bounded and total: whatever bytes arrive, `decode` returns a value or a `Malformed`.
A frame is one version byte followed by MessagePack. Structs travel as arrays: fields are only ever
appended, with defaults, so that both neighbours of a version understand each other.
"""

from typing import Any, Final, Generic, TypeVar

import msgspec
from msgspec import Struct

from flaredb_schemas.keys import MAX_FRAME_BYTES

VERSION: Final = 1
_VERSION_BYTE: Final = bytes([VERSION])

T = TypeVar("T")

_encoder = msgspec.msgpack.Encoder()


class Malformed(Struct, frozen=True):
    """Bytes that are not what they should be, and why; never raised, always returned."""

    reason: str


class Codec(Generic[T]):
    """Encodes and decodes one type of frame.

    `limit` is the largest frame accepted, in bytes; it is checked before anything is decoded.
    """

    __slots__ = ("_decoder", "_limit")

    def __init__(self, kind: Any, limit: int = MAX_FRAME_BYTES) -> None:
        self._decoder: msgspec.msgpack.Decoder[T] = msgspec.msgpack.Decoder(kind)
        self._limit = limit

    def encode(self, value: T) -> bytes:
        """The frame of `value`. The caller keeps it below the bus's limit."""
        return _VERSION_BYTE + _encoder.encode(value)

    def decode(self, frame: bytes) -> T | Malformed:
        """The value in `frame`, or why there is none."""
        if len(frame) > self._limit:
            return Malformed(f"{len(frame)} bytes, more than {self._limit}")
        if not frame:
            return Malformed("empty")
        if frame[0] != VERSION:
            return Malformed(f"version {frame[0]}, understood is {VERSION}")
        try:
            return self._decoder.decode(memoryview(frame)[1:])
        except (msgspec.DecodeError, ValueError, RecursionError, OverflowError) as fault:
            # RecursionError: msgspec does not bound nesting, also inside ignored fields.
            return Malformed(f"{type(fault).__name__}: {fault}")
