"""Whether there is room for puts: below the store's quota, and in the file systems of its region.

A commit for which the file system has no room stops the store, and on one machine all of them at
once. So puts are refused while there is a reserve: for deletes, which make room but write first,
for administration, and for what is under way. A follower has to save what its leader takes; so
stores tell each other when they are within their reserve.
"""

from typing import Final

from flaredb.disk.disk import Usage
from flaredb.store.context import Context
from flaredb.store.liveness import Liveness
from flaredb_schemas.failures import DiskFull
from flaredb_schemas.regions import Region

RESERVE_BYTES: Final = 256 * 1024 * 1024
"""What puts leave of the file system: some seconds of pages that commits write anew, the entries
that other stores' leaders still send, and a snapshot that goes out."""

RESERVE_SHARE: Final = 20
"""Of what this store could have of a small file system a twentieth is left instead: PD has a store
give regions away from 85 % on, which takes some time, ..."""

LEAST_RESERVE_BYTES: Final = 16 * 1024 * 1024
"""... but no less than some turns of several stores on one machine may write."""

LOOKED_AT_SECONDS: Final = 1.0


class Room:
    """What the disk has last told about its room, at most a second ago and a tick.

    Invariant: puts are refused exactly while that lies beyond the nearer of the two limits, or
    while a store that is heard and has a replica says that its file system is full.
    """

    __slots__ = ("_context", "_liveness", "_looked_at", "_own")

    def __init__(self, context: Context, liveness: Liveness) -> None:
        self._context = context
        self._liveness = liveness
        self._looked_at = float("-inf")
        self._own: DiskFull | None = None

    def refusal(self, region: Region) -> DiskFull | None:
        """Why puts to `region`, which is led here, are refused, if they are."""
        if self._own is not None:
            return self._own
        now = self._context.now
        for peer in region.peers:
            if self._liveness.is_full(peer.store, now):
                return DiskFull(peer.store, file_system=True)
        return None

    def tick(self) -> None:
        """Once per tick: look at the disk again when it is time."""
        now = self._context.now
        if now - self._looked_at >= LOOKED_AT_SECONDS:
            self._looked_at = now
            self._own = self._look()
            self._context.outgoing.is_full = self._own is not None and self._own.file_system

    def _look(self) -> DiskFull | None:
        usage = self._context.disk.usage()
        if usage.room < reserve(usage):
            return DiskFull(self._context.me.store, file_system=True)
        return DiskFull(self._context.me.store) if usage.used >= usage.quota else None


def reserve(usage: Usage) -> int:
    """How many bytes puts leave of a file system that is so full."""
    share = (usage.used + usage.room) // RESERVE_SHARE
    return max(LEAST_RESERVE_BYTES, min(RESERVE_BYTES, share))
