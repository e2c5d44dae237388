"""The refusals that travel: why a request was not carried out, and what the asker may do.

A refusal says that the request had no effect, except `Undetermined`, which says that nobody knows.
Where it helps, it carries the region as the refusing store knows it, so that the asker's routes are
mended by the answer itself.
"""

from typing import ClassVar

from msgspec import Struct

from flaredb_schemas.ids import RegionId, StoreId
from flaredb_schemas.regions import Route


class NotLeader(Struct, frozen=True, array_like=True, tag=1):
    """This store does not lead the region; `route` names the leader it knows, if any."""

    code: ClassVar[str] = "not_leader"
    route: Route


class RegionNotFound(Struct, frozen=True, array_like=True, tag=2):
    """This store does not host the region (FR-002)."""

    code: ClassVar[str] = "region_not_found"
    region: RegionId
    store: StoreId


class KeyNotInRegion(Struct, frozen=True, array_like=True, tag=3):
    """The key lies outside the region's range (FR-003)."""

    code: ClassVar[str] = "key_not_in_region"
    key: bytes
    route: Route


class EpochMismatch(Struct, frozen=True, array_like=True, tag=4):
    """The request names another version of the region; `routes` are the regions here now."""

    code: ClassVar[str] = "epoch_mismatch"
    routes: tuple[Route, ...]


class Busy(Struct, frozen=True, array_like=True, tag=5):
    """A limit is reached; try again after about `retry_ms` milliseconds."""

    code: ClassVar[str] = "busy"
    reason: str
    retry_ms: int = 50


class SessionExpired(Struct, frozen=True, array_like=True, tag=6):
    """The batch's lane or sequence has been forgotten; a first attempt had no effect."""

    code: ClassVar[str] = "session_expired"
    time: int


class Undetermined(Struct, frozen=True, array_like=True, tag=7):
    """The batch was proposed and leadership was lost: it may or may not take effect."""

    code: ClassVar[str] = "undetermined"
    route: Route


class NotReady(Struct, frozen=True, array_like=True, tag=8):
    """The replica is there but cannot serve yet (starting, installing, no entry of its term)."""

    code: ClassVar[str] = "not_ready"
    reason: str


class InvalidRequest(Struct, frozen=True, array_like=True, tag=9):
    """The request itself is wrong; trying again will not help."""

    code: ClassVar[str] = "invalid_request"
    reason: str


class DiskFull(Struct, frozen=True, array_like=True, tag=10):
    """The store's quota is used up, or its file system: puts are refused, deletes are not."""

    code: ClassVar[str] = "disk_full"
    store: StoreId
    file_system: bool = False
    """Whether it is the file system that has no more than a reserve left."""


class AnswerTooLarge(Struct, frozen=True, array_like=True, tag=11):
    """The answer to a read of many keys would not fit in a frame: ask for fewer keys at once."""

    code: ClassVar[str] = "answer_too_large"
    limit: int


Refusal = (
    NotLeader
    | RegionNotFound
    | KeyNotInRegion
    | EpochMismatch
    | Busy
    | SessionExpired
    | Undetermined
    | NotReady
    | InvalidRequest
    | DiskFull
    | AnswerTooLarge
)
