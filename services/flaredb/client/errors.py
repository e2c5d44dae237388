"""What a call may raise: one tree, each error with a stable code and a hint.

    FlareDBError
    ├── TimeoutError (also the builtin)     the time budget is over, surely without effect
    ├── UnavailableError                    no leader, no store, no PD or no bus; no effect
    ├── ResourceExhaustedError
    │   ├── BusyError                       limits were reached until the budget was over
    │   └── DiskFullError                   the store's quota or disk is used up
    ├── ConflictError                       a condition did not hold
    ├── UndeterminedError                   the write may or may not take effect
    ├── InvalidArgumentError (ValueError)   the call itself is wrong
    │   └── SeveralRegionsError             an atomic batch whose keys lie in several regions
    └── ClosedError                         the client is not open

Changed leaders, epochs and regions are retried inside and never surface.
"""

import builtins
from typing import ClassVar


class FlareDBError(Exception):
    """The base of all. `code` is stable and meant for programs, `hint` for people.

    The hint says what to do; where the raiser knows nothing better, it is the kind's `advice`.
    `retryable` says whether the same call may succeed later; `region_id` is 0 if none is concerned.
    """

    code: ClassVar[str] = "error"
    retryable: ClassVar[bool] = False
    advice: ClassVar[str] = "see `flaredb status`, and look into the logs of PD and of the stores"

    def __init__(self, message: str, *, hint: str = "", region_id: int = 0) -> None:
        super().__init__(message)
        self.hint = hint or self.advice
        self.region_id = region_id


class TimeoutError(FlareDBError, builtins.TimeoutError):
    """Nothing was heard within the call's time budget. A write that raises it had no effect."""

    code = "timeout"
    retryable = True


class UnavailableError(FlareDBError):
    """Nobody could serve the call within its budget: no leader, no store, no PD or no bus."""

    code = "unavailable"
    retryable = True


class ResourceExhaustedError(FlareDBError):
    """A limit of the cluster is reached."""

    code = "resource_exhausted"
    retryable = True


class BusyError(ResourceExhaustedError):
    """The region answered "busy" until the budget was over."""

    code = "busy"


class DiskFullError(ResourceExhaustedError):
    """The store's quota, or its file system, is used up; deletes still work."""

    code = "disk_full"
    retryable = False


class ConflictError(FlareDBError):
    """A condition did not hold; `actual` is the value found instead, None if there was none."""

    code = "conflict"
    advice = "read the key again, and decide anew by what it holds now"

    def __init__(self, message: str, *, actual: bytes | None, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.actual = actual


class UndeterminedError(FlareDBError):
    """The write was sent, and whether it took, or will take, effect cannot be known."""

    code = "undetermined"
    advice = "read the key before you write it again"


class InvalidArgumentError(FlareDBError, ValueError):
    """The call itself is wrong; trying again will not help."""

    code = "invalid_argument"
    advice = "change the call: the same one will fail again"


class SeveralRegionsError(InvalidArgumentError):
    """A batch is atomic within one region only, and these keys lie in several."""

    code = "several_regions"


class ClosedError(FlareDBError):
    """The client is not open: not yet, or no longer."""

    code = "closed"
