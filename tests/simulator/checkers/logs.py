"""Committed entries never change, and all replicas apply the same (Raft paper, figure 3)."""

import zlib

from flaredb_schemas.ids import Index, RegionId, Term
from flaredb_schemas.raft import Entry


class LogsAgree:
    """Remembers every applied entry by its position."""

    def __init__(self) -> None:
        self._entries: dict[tuple[RegionId, Index], tuple[Term, int]] = {}

    def applied(self, region: RegionId, entry: Entry) -> None:
        """Some replica has applied `entry`."""
        what = (entry.term, zlib.crc32(entry.data))
        known = self._entries.setdefault((region, entry.index), what)
        assert known == what, f"region {region}, entry {entry.index}: {known} became {what}"

    @property
    def applied_entries(self) -> int:
        """How many different entries were applied."""
        return len(self._entries)
