"""What a key and a half-open key range are, and how they order.

Keys are bytes and order as bytes. A range is `[start, end)`; an empty `end` means "no end", so
`KeyRange(b"", b"")` is the whole key space. An empty `start` is simply the smallest key.
"""

from collections.abc import Iterable
from typing import Final

from msgspec import Struct

MAX_KEY_BYTES: Final = 400
"""A key's length limit in bytes; LMDB allows 511, less the prefix and a margin."""

MAX_VALUE_BYTES: Final = 512 * 1024
"""A value's length limit in bytes."""

MAX_FRAME_BYTES: Final = 1024 * 1024
"""A bus message's length limit in bytes (the default `max_payload` of NATS)."""


class KeyRange(Struct, frozen=True, array_like=True, gc=False, order=True):
    """A half-open range of keys; `end` empty means unbounded."""

    start: bytes
    end: bytes

    def contains(self, key: bytes) -> bool:
        """Whether `key` lies in this range."""
        return self.start <= key and (not self.end or key < self.end)

    def covers(self, other: "KeyRange") -> bool:
        """Whether every key of `other` lies in this range."""
        return self.start <= other.start and (
            not self.end or (bool(other.end) and other.end <= self.end)
        )

    def overlaps(self, other: "KeyRange") -> bool:
        """Whether some key lies in both ranges."""
        return (not other.end or self.start < other.end) and (
            not self.end or other.start < self.end
        )

    def clip(self, other: "KeyRange") -> "KeyRange":
        """The part of `other` inside this range; meaningful only if they overlap."""
        return KeyRange(max(self.start, other.start), smaller_end(self.end, other.end))

    def without(self, other: "KeyRange") -> "tuple[KeyRange, ...]":
        """What of this range does not lie in `other`: nothing, one range or two."""
        if not self.overlaps(other):
            return (self,)
        parts = []
        if self.start < other.start:
            parts.append(KeyRange(self.start, other.start))
        if other.end and (not self.end or other.end < self.end):
            parts.append(KeyRange(other.end, self.end))
        return tuple(parts)

    @property
    def is_empty(self) -> bool:
        """Whether no key lies in this range."""
        return bool(self.end) and self.end <= self.start


def smaller_end(left: bytes, right: bytes) -> bytes:
    """The nearer of two range ends, where empty means unbounded."""
    if not left:
        return right
    if not right:
        return left
    return min(left, right)


def prefix_range(prefix: bytes) -> KeyRange:
    """The range of all keys that start with `prefix`."""
    stem = prefix.rstrip(b"\xff")
    end = stem[:-1] + bytes([stem[-1] + 1]) if stem else b""
    return KeyRange(prefix, end)


class RangeFault(Struct, frozen=True):
    """Two neighbouring ranges that do not meet: `kind` is `overlap`, `hole` or `empty`."""

    kind: str
    left: KeyRange
    right: KeyRange

    def __str__(self) -> str:
        return f"{self.kind} between {show_range(self.left)} and {show_range(self.right)}"


def find_fault(ranges: Iterable[KeyRange]) -> RangeFault | None:
    """The first reason why `ranges` do not cover the key space exactly once, or None."""
    ordered = sorted(ranges, key=lambda item: item.start)
    before = KeyRange(b"", b"")
    reached: bytes | None = b""
    for current in ordered:
        if current.is_empty:
            return RangeFault("empty", current, current)
        if reached is None or current.start < reached:
            return RangeFault("overlap", before, current)
        if current.start > reached:
            return RangeFault("hole", before, current)
        before, reached = current, current.end or None
    if reached is not None:
        return RangeFault("hole", before, KeyRange(b"", b""))
    return None


def show_key(key: bytes) -> str:
    """A key as text for people: printable ASCII as it is, the rest escaped."""
    return repr(key)[2:-1]


def show_range(keys: KeyRange) -> str:
    """A range as text for people, with infinity signs for the open ends."""
    return (
        f'["{show_key(keys.start)}", {chr(34) + show_key(keys.end) + chr(34) if keys.end else "∞"})'
    )
