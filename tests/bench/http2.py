"""As much of HTTP/2 (RFC 9113) as it takes to call a gRPC server very often and very cheaply.

The same request headers are sent each time, as literals without index (RFC 7541, 6.2.2), so that a
block never changes; the server is told to keep no header table either, and its headers are not
read: a gRPC call that failed has no message, one that succeeded has.
"""

import struct
from collections.abc import Iterator, Sequence
from enum import IntEnum
from typing import Final, NamedTuple

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
END_STREAM: Final = 0x1
END_HEADERS: Final = 0x4
ACK: Final = 0x1

DEFAULT_WINDOW: Final = 65_535
LARGEST_WINDOW: Final = 2**31 - 1
HEADER_BYTES: Final = 9

SETTING_HEADER_TABLE_SIZE: Final = 1
SETTING_MAX_STREAMS: Final = 3
SETTING_INITIAL_WINDOW: Final = 4


class FrameType(IntEnum):
    """The frames that are sent or answered to."""

    DATA = 0x0
    HEADERS = 0x1
    RST_STREAM = 0x3
    SETTINGS = 0x4
    PING = 0x6
    GOAWAY = 0x7
    WINDOW_UPDATE = 0x8


class Frame(NamedTuple):
    """A frame as it was received."""

    type: int
    flags: int
    stream: int
    payload: bytes


def encode(kind: FrameType, flags: int, stream: int, payload: bytes) -> bytes:
    """A frame as it is sent."""
    return struct.pack(">IBI", len(payload) << 8 | kind, flags, stream) + payload


def settings(values: Sequence[tuple[int, int]]) -> bytes:
    """A SETTINGS frame."""
    payload = b"".join(struct.pack(">HI", name, value) for name, value in values)
    return encode(FrameType.SETTINGS, 0, 0, payload)


def read_settings(payload: bytes) -> dict[int, int]:
    """What a SETTINGS frame says."""
    return dict(struct.iter_unpack(">HI", payload))


def window_update(stream: int, credit: int) -> bytes:
    """A WINDOW_UPDATE frame: so many more bytes may come."""
    return encode(FrameType.WINDOW_UPDATE, 0, stream, struct.pack(">I", credit))


def header_block(headers: Sequence[tuple[str, str]]) -> bytes:
    """Headers as literals without index; names and values are shorter than 127 bytes."""
    return b"".join(b"\x00" + _short_string(name) + _short_string(value) for name, value in headers)


def _short_string(text: str) -> bytes:
    assert len(text) < 127, f"too long for one byte of length: {text}"
    return bytes([len(text)]) + text.encode()


class Frames:
    """Cuts a byte stream into frames."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that are complete with `data`."""
        data = self._rest + data
        begin = 0
        while len(data) - begin >= HEADER_BYTES:
            length_and_type, flags, stream = struct.unpack_from(">IBI", data, begin)
            end = begin + HEADER_BYTES + (length_and_type >> 8)
            if end > len(data):
                break
            payload = data[begin + HEADER_BYTES : end]
            yield Frame(length_and_type & 0xFF, flags, stream & LARGEST_WINDOW, payload)
            begin = end
        self._rest = data[begin:]
