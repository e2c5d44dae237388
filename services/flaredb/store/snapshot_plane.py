"""Both directions of snapshots, behind one door: frames of their plane, and ticks."""

from collections.abc import Callable
from typing import Final, assert_never

from flaredb.store.births import Births
from flaredb.store.context import Context
from flaredb.store.guarding import Guard
from flaredb.store.history import History
from flaredb.store.jobs import Jobs
from flaredb.store.merging import Merging
from flaredb.store.snapshots_in import SnapshotsIn
from flaredb.store.snapshots_out import SNAPSHOT_ITEMS, SnapshotsOut
from flaredb_schemas.envelope import Malformed
from flaredb_schemas.frames import SnapshotChunk, SnapshotEnded, SnapshotHeader, SnapshotPull
from flaredb_schemas.ids import StoreId
from flaredb_schemas.subjects import Subjects


class SnapshotPlane:
    """Snapshots out and in."""

    __slots__ = ("_context", "into", "out")

    def __init__(
        self,
        context: Context,
        jobs: Jobs,
        history: History,
        guard: Guard,
        births: Births,
        merging: Merging,
        subjects: Subjects,
        send: Callable[[str, bytes], bool],
    ) -> None:
        self._context = context
        self.out: Final = SnapshotsOut(context, jobs, guard, subjects, send)
        self.into: Final = SnapshotsIn(
            context, jobs, history, guard, births, merging, subjects, send
        )

    def handle(self, from_store: StoreId, payload: bytes) -> None:
        """One frame of the plane."""
        item = SNAPSHOT_ITEMS.decode(payload)
        match item:
            case Malformed():
                self._context.counters.frames_malformed += 1
            case SnapshotHeader():
                self.into.offered(from_store, item)
            case SnapshotChunk():
                self.into.chunk(from_store, item)
            case SnapshotPull() | SnapshotEnded():
                self.out.handle(from_store, item)
            case _:
                assert_never(item)

    def tick(self) -> None:
        """Once per tick."""
        self.out.tick()
        self.into.tick()
