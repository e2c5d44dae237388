"""PD's fence: one PD orders per epoch, no lower epoch is obeyed, every id is granted once."""

from collections.abc import Callable

from flaredb_schemas.ids import PdEpoch, StoreId, StoreUuid


class Authority:
    """Remembers who reigned, what each data folder obeyed, and which ids were granted."""

    def __init__(self, journal_lost: Callable[[], bool]) -> None:
        self._reigns: dict[PdEpoch, str] = {}
        self._obeyed: dict[StoreUuid, PdEpoch] = {}
        self._folders: dict[int, StoreUuid] = {}
        self._journal_lost = journal_lost

    def orders(self, epoch: PdEpoch, process: str) -> None:
        """A start of a PD gives an order under this epoch.

        Without giving any it may have one that another had: while it finds out what was lost.
        """
        known = self._reigns.setdefault(epoch, process)
        # Where the journal lost the record that opened a reign, and the stores that knew of it
        # answer late or not at all, its epoch may come again.
        assert self._journal_lost() or known == process, f"epoch {epoch}: {known} and {process}"

    def obeyed(self, folder: StoreUuid, epoch: PdEpoch, saved: PdEpoch) -> None:
        """A store carries out an order; `saved` is the highest epoch on its disk."""
        highest = self._obeyed.get(folder, epoch)
        assert epoch >= highest, f"an order of epoch {epoch} after one of {highest}"
        assert saved >= epoch, f"epoch {epoch} is obeyed, saved is {saved}"
        self._obeyed[folder] = epoch

    def starts(self, folder: StoreUuid, epoch: PdEpoch) -> None:
        """A store starts, and tells PD that this is the highest epoch it has obeyed."""
        highest = self._obeyed.get(folder, epoch)
        assert epoch >= highest, f"epoch {highest} was obeyed, after a restart {epoch} is known"

    def granted(self, store: StoreId, folder: StoreUuid) -> None:
        """A store serves under this id."""
        known = self._folders.setdefault(store, folder)
        assert known == folder, f"store id {store} was granted to {known} and to {folder}"

    def others(self, ids: set[int]) -> None:
        """The ids of regions and peers; none of them is a store's."""
        twice = ids & set(self._folders)
        assert not twice, f"ids were granted twice: {sorted(twice)}"

    @property
    def count(self) -> int:
        """How many reigns there were."""
        return len(self._reigns)
