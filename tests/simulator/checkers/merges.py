"""A region becomes a part of one other, once, and never of any after it went on by itself."""

from flaredb.store.replica import Replica
from flaredb_schemas.commands import COMMANDS, AbortMerge, CommitMerge, RollBackMerge
from flaredb_schemas.envelope import Malformed
from flaredb_schemas.ids import Index, RegionId
from flaredb_schemas.raft import Entry
from flaredb_schemas.regions import Region

Agreement = tuple[RegionId, Index]
"""A source, and the entry by which it agreed to be merged."""


class MergesOnce:
    """Remembers who absorbed whom, and which merges were given up."""

    def __init__(self) -> None:
        self._absorbed_by: dict[RegionId, tuple[RegionId, Index]] = {}
        self._rolled_back: set[Agreement] = set()
        self._agreed: set[Agreement] = set()
        self.applied: set[tuple[RegionId, Index]] = set()
        """The entries by which a region was absorbed."""
        self.given_up: set[tuple[RegionId, Index]] = set()
        """The entries by which a merge was taken back."""

    def look(self, before: Region, replica: Replica, entry: Entry) -> None:
        """`entry` was applied to a region that was `before` until then."""
        command = COMMANDS.decode(entry.data) if entry.data else None
        assert not isinstance(command, Malformed)
        merging = replica.machine.state.merging
        if merging is not None:
            self._agreed.add((before.id, merging.index))
        if isinstance(command, RollBackMerge) and (before.id, command.index) in self._agreed:
            self.given_up.add((before.id, entry.index))
            self._give_up((before.id, command.index))
        if replica.region != before and isinstance(command, CommitMerge | AbortMerge):
            named = (command.conf_ver, command.version)
            found = (before.epoch.conf_ver, before.epoch.version)
            assert named == found, f"{command} took effect at {found}: region {before.id}"
        if replica.region != before and isinstance(command, CommitMerge):
            self._absorb(command, (before.id, entry.index))

    def _absorb(self, command: CommitMerge, name: tuple[RegionId, Index]) -> None:
        self.applied.add(name)
        maker = self._absorbed_by.setdefault(command.source, name)
        assert maker == name, f"region {command.source} was absorbed by {maker} and {name}"
        agreement = (command.source, command.index)
        assert agreement in self._agreed, f"region {command.source} did not agree to {name}"
        assert agreement not in self._rolled_back, f"{agreement} was absorbed beside its roll-back"

    def _give_up(self, agreement: Agreement) -> None:
        self._rolled_back.add(agreement)
        known = self._absorbed_by.get(agreement[0])
        assert known is None, f"{agreement} was rolled back beside {known}"
