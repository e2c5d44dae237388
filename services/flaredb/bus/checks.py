"""What every adapter checks alike: subjects, sizes, and how a stream differs from its plan."""

from typing import Final

from flaredb.bus.bus import BusError, StreamConfig

MAX_PAYLOAD: Final = 1_048_576
"""Bytes of one message; also nats-server's own default limit."""


def is_subject(subject: str) -> bool:
    """Whether `subject` is safe to put on the wire."""
    return bool(subject) and " " not in subject and subject.isprintable()


def check_subject(subject: str) -> None:
    """Raise `ValueError` unless `subject` is safe to put on the wire."""
    if not is_subject(subject):
        raise ValueError(f"{subject!r} is not a subject: it is empty or has blanks or controls")


def check_payload(payload: bytes, limit: int) -> None:
    """Raise `BusError` if `payload` is larger than `limit` bytes."""
    if len(payload) > limit:
        raise BusError(f"a payload of {len(payload)} bytes exceeds the limit of {limit}")


def drift(wanted: StreamConfig, found: StreamConfig) -> tuple[str, ...]:
    """How `found` differs from `wanted`, one line per difference, in the order of the fields."""
    return tuple(
        f"{wanted.name}.{field} is {getattr(found, field)!r}, expected {getattr(wanted, field)!r}"
        for field in wanted.__struct_fields__
        if getattr(found, field) != getattr(wanted, field)
    )
