"""A snapshot that is on its way to this store: from whom, how much of it is here, since when."""

from msgspec import Struct

from flaredb.store.installing import Installation
from flaredb.store.replica import Replica
from flaredb_schemas.frames import SnapshotHeader
from flaredb_schemas.ids import StoreId


class Arrival(Struct):
    """One snapshot on its way in, or being installed.

    `replica` is what it is installed in; None before that has begun.
    """

    replica: Replica | None
    header: SnapshotHeader
    from_store: StoreId
    file: str
    """The file that takes the rows."""
    began: float
    asked: float
    heard: float
    offset: int = 0
    verifying: bool = False
    installation: Installation | None = None

    @property
    def promised(self) -> int:
        """How many bytes it may still write: the rest of its file, and all of its rows."""
        return 2 * self.header.size - self.offset

    def is_missed(self, now: float, seconds: float) -> bool:
        """Whether pieces are missing, and none has come for so long."""
        return not self.verifying and now - self.heard > seconds
