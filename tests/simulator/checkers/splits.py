"""A split takes effect exactly at the epoch that it names; every region comes from one split."""

from collections import Counter

from flaredb.store.replica import Replica
from flaredb_schemas.commands import COMMANDS, ForgetRemoved, Merge, Split
from flaredb_schemas.ids import Index, RegionId
from flaredb_schemas.raft import Entry
from flaredb_schemas.regions import Region


class SplitsOnce:
    """Remembers which entry has made which region."""

    def __init__(self) -> None:
        self._made_by: dict[RegionId, tuple[RegionId, Index]] = {}
        self.applied: set[tuple[RegionId, Index]] = set()
        """The entries that cut a region."""
        self.kinds: Counter[str] = Counter()
        """How many of them there were of each trigger, and how many made more than two of one."""

    def look(self, before: Region, replica: Replica, entry: Entry) -> None:
        """`entry` was applied to a region that was `before` until then."""
        if replica.region == before:
            return
        command = COMMANDS.decode(entry.data)
        if isinstance(command, Merge | ForgetRemoved):
            return
        assert isinstance(command, Split), f"{command} has changed region {before.id}"
        named = (command.conf_ver, command.version)
        found = (before.epoch.conf_ver, before.epoch.version)
        assert named == found, f"a split for {named} took effect at {found}: region {before.id}"
        name = (before.id, entry.index)
        if name not in self.applied:
            self.applied.add(name)
            self.kinds[f"split_{command.trigger}"] += 1
            self.kinds["split_into_many"] += len(command.children) > 1
        for child in command.children:
            maker = self._made_by.setdefault(child.id, name)
            assert maker == name, f"region {child.id} was made by {maker} and {name}"
