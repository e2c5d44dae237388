"""How the stories of the state machine word what came of a command."""

from typing import assert_never

from flaredb_schemas.commands import (
    Done,
    NotSwapped,
    NotSwappedUntold,
    Outcome,
    RangeDeleted,
    Swapped,
)
from flaredb_schemas.failures import (
    AnswerTooLarge,
    Busy,
    EpochMismatch,
    InvalidRequest,
    KeyNotInRegion,
    Refusal,
    SessionExpired,
)
from flaredb_schemas.keys import show_key, show_range


def outcome_text(outcome: Outcome) -> str:
    """What became of an op."""
    match outcome:
        case Done():
            return "done"
        case Swapped():
            return "swapped"
        case NotSwapped():
            return f"not swapped, {value_text(outcome.actual)}"
        case NotSwappedUntold():
            return "not swapped, untold"
        case RangeDeleted(deleted, resume):
            rest = "" if resume is None else f", resume at {show_key(resume)}"
            return f"deleted {deleted}{rest}"
        case _:
            assert_never(outcome)


def refusal_text(refusal: Refusal) -> str:
    """Why a command was refused, with what the refusal carries."""
    match refusal:
        case KeyNotInRegion(key, route):
            detail = f"{show_key(key)!r} not in {show_range(route.region.keys)}"
        case EpochMismatch((route,)):
            detail = f"version {route.region.epoch.version} of region {route.region.id}"
        case Busy(reason) | InvalidRequest(reason):
            detail = reason
        case SessionExpired(time):
            detail = f"time {time}"
        case AnswerTooLarge(limit):
            detail = f"limit {limit}"
        case _:
            raise AssertionError(f"not a refusal of the state machine: {refusal}")
    return f"refused, {refusal.code}: {detail}"


def value_text(value: bytes | None) -> str:
    """A value, or its size where it is long."""
    if value is None:
        return "absent"
    return f"'{show_key(value)}'" if len(value) <= 40 else f"<{len(value)} bytes>"
