"""The highest id that anything saved here names.

PD's journal may lose that it granted ids, and the store that they were granted to may be lost with
it: the entry that names them then stands in the logs of others, which never heard of the grant. So
whoever saves a name saves with it that it was given, and PD hears of that before it grants anew.
"""

from collections.abc import Iterable

from flaredb.disk.disk import Batch, View
from flaredb.disk.layout import NAMED_IDS_KEY
from flaredb.store.records import NamedId, load, save
from flaredb_schemas.commands import COMMANDS, Split, holds_split
from flaredb_schemas.raft import Entry, EntryKind, decode_change
from flaredb_schemas.regions import Region


class NamedIds:
    """What the ids in this store's logs and records come to.

    Invariant: `highest` never falls, and is saved no later than what names it.
    """

    __slots__ = ("highest",)

    def __init__(self, view: View) -> None:
        self.highest: int = saved_highest(view)

    def note_entries(self, batch: Batch, entries: Iterable[Entry]) -> None:
        """Entries are put into `batch`."""
        for entry in entries:
            if entry.kind is EntryKind.MEMBERSHIP or holds_split(entry.data):
                self._note(batch, _named_by(entry))

    def note_region(self, batch: Batch, region: Region) -> None:
        """The record of `region` is put into `batch`."""
        peers = (peer.id for peer in (*region.peers, *region.removed))
        self._note(batch, max(region.id, *peers, *region.absorbed))

    def _note(self, batch: Batch, named: int) -> None:
        if named > self.highest:
            self.highest = named
            save(batch, NAMED_IDS_KEY, NamedId(named))


def saved_highest(view: View) -> int:
    """The highest id that was saved as named; 0 if there is none."""
    known = load(view, NAMED_IDS_KEY, NamedId)
    return known.id if known is not None else 0


def _named_by(entry: Entry) -> int:
    if entry.kind is EntryKind.MEMBERSHIP:
        return max((step.peer for step in decode_change(entry.data).steps), default=0)
    command = COMMANDS.decode(entry.data)
    if not isinstance(command, Split):
        return 0
    return max((id for child in command.children for id in (child.id, *child.peers)), default=0)
