"""How long to wait before a request is tried again, by what stood in its way.

Waiting doubles with each try, between half of it and all of it by chance ("equal jitter"), so that
many clients do not come back at the same moment.
"""

import enum
from typing import Final

from msgspec import Struct

from flaredb.client.errors import (
    BusyError,
    FlareDBError,
    TimeoutError,
    UnavailableError,
)
from flaredb.runtime.clock import Jitter


class Cause(enum.Enum):
    """What stood in the way: first wait and longest wait in milliseconds."""

    ROUTE = (2, 500)
    """The region, its leader or its epoch is another one."""
    STORE = (100, 2_000)
    """Nobody at the store listens, or it does not answer."""
    BUSY = (50, 2_000)
    """A limit is reached."""
    PLACEMENT = (100, 3_000)
    """PD does not answer, or does not know the region."""
    BUS = (20, 500)
    """The bus does not take the message."""


_MAX_DOUBLINGS: Final = 16


class Backoff:
    """Counts the tries of one request by cause. Invariant: counts never fall."""

    __slots__ = ("_tries",)

    def __init__(self) -> None:
        self._tries: dict[Cause, int] = {}

    def wait(self, cause: Cause, jitter: Jitter) -> float:
        """Seconds to wait before the next try."""
        tries = self._tries.get(cause, 0)
        self._tries[cause] = min(tries + 1, _MAX_DOUBLINGS)
        first, longest = cause.value
        most = min(longest, first << tries) * 1_000
        return (most // 2 + jitter(most // 2 + 1)) / 1_000_000

    def tries(self, cause: Cause) -> int:
        """How often this cause has stood in the way so far."""
        return self._tries.get(cause, 0)


class Trouble(Struct, frozen=True):
    """The last thing that stood in a request's way: its kind, and what was said."""

    cause: Cause
    detail: str
    region_id: int = 0


def surely_failed(trouble: Trouble | None, waiting_for_answer: bool) -> FlareDBError:
    """The error of a call whose budget is over and which surely had no effect (or only reads)."""
    if trouble is None or waiting_for_answer:
        return TimeoutError(
            "no answer within the call's time budget",
            hint="see `flaredb status`; or give the call more time with timeout=",
            region_id=trouble.region_id if trouble else 0,
        )
    if trouble.cause is Cause.BUSY:
        return BusyError(
            f"the region stayed busy until the call's time was over: {trouble.detail}",
            hint="send less at once, or give the call more time with timeout=",
            region_id=trouble.region_id,
        )
    return UnavailableError(
        f"nobody could serve the call in time: {trouble.detail}",
        hint=_HINTS[trouble.cause],
        region_id=trouble.region_id,
    )


_HINTS: Final = {
    Cause.ROUTE: "the region may have no majority of its stores; see `flaredb region list`",
    Cause.STORE: "see which stores are up with `flaredb store list`",
    Cause.PLACEMENT: "see whether PD runs with `flaredb status`",
    Cause.BUS: "see whether nats-server runs and whether the URL is right",
}
