"""The limits of what may be sent, checked before anything is."""

from typing import Final

from flaredb.client.errors import InvalidArgumentError
from flaredb_schemas.commands import MAX_BATCH_BYTES
from flaredb_schemas.keys import MAX_KEY_BYTES, MAX_VALUE_BYTES, KeyRange, prefix_range

MAX_OPS_BYTES: Final = MAX_BATCH_BYTES - 256
"""How many bytes of ops one batch may carry: its limit, less the lane and the headers."""

OP_OVERHEAD: Final = 32
"""Bytes that an encoded op needs at most besides its keys and values."""


def check_key(key: bytes) -> None:
    """Refuse what cannot be a key: the empty one, one over the limit, and text."""
    if type(key) is bytes and 0 < len(key) <= MAX_KEY_BYTES:
        return
    _require_bytes("key", key)
    if not key:
        raise InvalidArgumentError("the key is empty", hint="keys have 1 to 400 bytes")
    raise InvalidArgumentError(
        f"the key has {len(key)} bytes, more than {MAX_KEY_BYTES}",
        hint="store a hash of the long part instead",
    )


def check_value(value: bytes) -> None:
    """Refuse what cannot be a value: one over the limit, and text."""
    if type(value) is bytes and len(value) <= MAX_VALUE_BYTES:
        return
    _require_bytes("value", value)
    raise InvalidArgumentError(
        f"the value has {len(value)} bytes, more than {MAX_VALUE_BYTES}",
        hint="store it in chunks under several keys",
    )


def check_size(size: int) -> None:
    """Refuse a single op that no batch can carry."""
    if size > MAX_OPS_BYTES:
        raise InvalidArgumentError(
            f"the call carries {size} bytes, more than the {MAX_OPS_BYTES} that fit in one message",
            hint="use smaller values, or several calls",
        )


def check_timeout(timeout: float) -> None:
    """Refuse a time budget that is not a positive number of seconds."""
    if not timeout > 0:
        raise InvalidArgumentError(f"the timeout is {timeout!r}", hint="give seconds above 0")


def check_limit(limit: int | None) -> None:
    """Refuse a row limit below zero."""
    if limit is not None and limit < 0:
        raise InvalidArgumentError(f"the limit is {limit}", hint="give 0 or more, or none")


def chosen_range(start: bytes | None, end: bytes | None, prefix: bytes | None) -> KeyRange:
    """The range that a caller means by bounds or by a prefix; None stands for "no bound"."""
    if prefix is not None:
        if start is not None or end is not None:
            raise InvalidArgumentError("prefix and bounds exclude each other", hint="give one")
        _check_bound("prefix", prefix)
        return prefix_range(prefix)
    for name, bound in (("start", start), ("end", end)):
        if bound is not None:
            _check_bound(name, bound)
    if end == b"":
        raise InvalidArgumentError("the end is empty", hint="leave it out for 'no end'")
    return KeyRange(start or b"", end or b"")


def bounded_range(start: bytes | None, end: bytes | None, prefix: bytes | None) -> KeyRange:
    """As `chosen_range`, for what must not reach to either end of the key space by omission."""
    if not prefix and (start is None or end is None):
        raise InvalidArgumentError(
            "both bounds or a prefix are needed", hint="give start= and end=, or prefix="
        )
    return chosen_range(start, end, prefix)


def _check_bound(name: str, bound: bytes) -> None:
    _require_bytes(name, bound)
    if len(bound) > MAX_KEY_BYTES:
        raise InvalidArgumentError(
            f"the {name} has {len(bound)} bytes, more than {MAX_KEY_BYTES}",
            hint="no key is that long: cut it",
        )


def _require_bytes(name: str, value: object) -> None:
    if not isinstance(value, bytes):
        raise InvalidArgumentError(
            f"the {name} is {type(value).__name__}, not bytes", hint="encode text: 'a'.encode()"
        )
