"""Questions and wishes to PD: one request each, and what its refusals mean."""

import asyncio
from typing import Any, Final, TypeVar

import msgspec

from flaredb.bus.bus import Bus
from flaredb.client.errors import (
    FlareDBError,
    InvalidArgumentError,
    UnavailableError,
    UndeterminedError,
)
from flaredb_schemas.pd_answers import PdFailure
from flaredb_schemas.splits import IN_DOUBT
from flaredb_schemas.subjects import Subjects

T = TypeVar("T")

FIRST_PATIENCE: Final = 2.0
"""Seconds after which PD is asked once more, which doubles each time: while one takes over from
another, questions are lost."""

ELECTION_PATIENCE: Final = 3.0
"""For so many seconds a wish for a region without a leader is told again: it is soon elected, and
PD hears of it a moment later."""
ELECTION_PAUSE: Final = 0.1

_ERRORS: Final[dict[str, type[FlareDBError]]] = {
    "unknown_region": InvalidArgumentError,
    "key_outside": InvalidArgumentError,
    "not_neighbours": InvalidArgumentError,
    "unknown_store": InvalidArgumentError,
    "unknown_operator": InvalidArgumentError,
    "no_replica": InvalidArgumentError,
    "has_replica": InvalidArgumentError,
    "no_voter": InvalidArgumentError,
    "leads": InvalidArgumentError,
    "ended": InvalidArgumentError,
    "removed": InvalidArgumentError,
    "draining": UnavailableError,
    "not_empty": UnavailableError,
    "limit": UnavailableError,
    "store_away": UnavailableError,
    "lagging": UnavailableError,
    "removing": UnavailableError,
    "full": UnavailableError,
    "less_apart": UnavailableError,
    "quorum": UnavailableError,
    "refused": UnavailableError,
    "no_leader": UnavailableError,
    "not_ready": UnavailableError,
    "busy": UnavailableError,
    "timeout": UndeterminedError,
}
"""What PD's codes mean where it was asked to do something."""


class PdLine:
    """What goes to PD and comes back; `timeout` is the budget of each call in seconds.

    Raises `UnavailableError` where no PD answers, `FlareDBError` where it cannot.
    """

    def __init__(self, bus: Bus, subjects: Subjects, timeout: float) -> None:
        self._bus = bus
        self._subjects = subjects
        self._timeout = timeout

    async def _ask(self, what: str, kind: type[T], question: bytes = b"") -> T:
        return await self._request(self._subjects.pd_get(what), what, kind, question)

    async def _order(self, what: str, wish: msgspec.Struct, kind: type[T]) -> T:
        """Have PD change something. It may still do so when it has not answered in time."""
        clock = asyncio.get_running_loop().time
        begun, question = clock(), msgspec.json.encode(wish)
        while True:
            left = begun + self._timeout - clock()
            payload = await self._bus.request(self._subjects.pd_admin(what), question, left)
            if payload is None:
                raise UndeterminedError(
                    f"PD has not answered in time: the {what} may or may not take effect",
                    hint=_HINT_UNKNOWN.get(what, _HINT_RANGES),
                )
            if not _has_no_leader(payload) or clock() - begun >= min(ELECTION_PATIENCE, left):
                return self._read(payload, f"a {what}", kind)
            await asyncio.sleep(ELECTION_PAUSE)

    async def _request(self, subject: str, what: str, kind: type[T], question: bytes) -> T:
        payload = await self._answer(subject, question)
        if payload is None:
            raise UnavailableError(
                "PD does not answer",
                hint="start it again (`python -m flaredb_pd`, or the playground), or see its log",
            )
        return self._read(payload, what, kind)

    async def _answer(self, subject: str, question: bytes) -> bytes | None:
        """The answer to what only reads, which is asked again where it, or the answer, is lost."""
        clock = asyncio.get_running_loop().time
        deadline, patience = clock() + self._timeout, FIRST_PATIENCE
        while True:
            begun = clock()
            wait = min(patience, deadline - begun)
            payload = await self._bus.request(subject, question, wait)
            ended = clock()
            # None at once: nobody listens, or there is no bus.
            if payload is not None or ended - begun < wait or ended >= deadline:
                return payload
            patience *= 2

    def _read(self, payload: bytes, what: str, kind: type[T]) -> T:
        try:
            return msgspec.json.decode(payload, type=kind)
        except msgspec.DecodeError as fault:
            raise _failure(what, payload, fault) from fault


_HINT_RANGES: Final = "see `flaredb region list`; if no PD answers that, start it again"
_HINT_OPERATORS: Final = "see `flaredb operator list`; if no PD answers that, start it again"
_HINT_STORES: Final = "see `flaredb store list --all`; if no PD answers that, start it again"
_HINT_UNKNOWN: Final = {
    **dict.fromkeys(("move", "transfer", "cancel"), _HINT_OPERATORS),
    **dict.fromkeys(("drain", "remove"), _HINT_STORES),
}


def _has_no_leader(payload: bytes) -> bool:
    """Whether PD has refused this, and done nothing, because the region has no leader."""
    try:
        return msgspec.json.decode(payload, type=PdFailure).code == "no_leader"
    except msgspec.DecodeError:
        return False


def _failure(what: str, payload: bytes, fault: Exception) -> FlareDBError:
    try:
        failure: Any = msgspec.json.decode(payload, type=PdFailure)
    except msgspec.DecodeError:
        return FlareDBError(f"PD's answer about {what} makes no sense: {fault}")
    raised = _ERRORS.get(failure.code)
    if raised is not None and failure.message.endswith(IN_DOUBT):
        raised = UndeterminedError
    if raised is not None:
        return raised(failure.message, hint=failure.hint)
    return FlareDBError(f"PD cannot tell about {what}: {failure.message}", hint=failure.hint)
