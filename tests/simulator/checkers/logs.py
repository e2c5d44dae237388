"""Committed entries never change, and all replicas apply the same (Raft paper, figure 3)."""

import zlib

from flaredb.disk.layout import Corrupt, decode_entry, log_index, log_rows
from flaredb.disk.memory_disk import MemoryDisk
from flaredb.store.replica import Replica
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

    def check_saved(self, replica: Replica, disk: MemoryDisk) -> None:
        """What `replica` has on disk is one log; as far as it is committed, what was applied."""
        expected, term = Index(replica.log.start + 1), replica.log.start_term
        for key, record in disk.view.scan(*log_rows(replica.id, Index(1))):
            index = log_index(key)
            assert index == expected, f"region {replica.id}: {index} on disk instead of {expected}"
            expected = Index(index + 1)
            entry = decode_entry(replica.id, index, record)
            assert not isinstance(entry, Corrupt), f"region {replica.id}: {entry}"
            assert entry.term >= term, f"region {replica.id}: the term falls at {index} on disk"
            term = entry.term
            if index <= replica.node.commit:
                self.applied(replica.id, entry)

    @property
    def applied_entries(self) -> int:
        """How many different entries were applied."""
        return len(self._entries)
