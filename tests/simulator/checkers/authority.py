"""PD's fence: a reign has one PD, none but the one a store has saved is obeyed.

And a store's id has one data folder."""

from collections.abc import Callable

from flaredb.store.records import PdSeen
from flaredb_schemas.ids import PdEpoch, PdIncarnation, StoreId, StoreUuid
from flaredb_schemas.placement import Order


class Authority:
    """Remembers who reigned, what each data folder obeyed, and which id it has."""

    def __init__(self, journal_lost: Callable[[], bool]) -> None:
        self._reigns: dict[PdEpoch, set[PdIncarnation]] = {}
        self._processes: dict[PdIncarnation, str] = {}
        self._obeyed: dict[StoreUuid, tuple[PdEpoch, PdIncarnation]] = {}
        self._folders: dict[int, StoreUuid] = {}
        self._journal_lost = journal_lost

    def orders(self, order: Order, process: str) -> None:
        """A start of a PD gives an order.

        Without giving any it may have an epoch that another had: while it finds out what was lost.
        """
        epoch, reign = order.pd_epoch, self._reigns.setdefault(order.pd_epoch, set())
        reign.add(order.incarnation)
        known = self._processes.setdefault(order.incarnation, process)
        assert order.incarnation and known == process, f"epoch {epoch}: {known} and {process}"
        # Where the journal lost the record that opened a reign, and the stores that knew of it
        # answer late or not at all, its epoch may come again; then stores tell the two apart.
        assert self._journal_lost() or len(reign) == 1, (
            f"epoch {epoch} was opened by {len(reign)} PDs"
        )

    def obeyed(self, folder: StoreUuid, order: Order, saved: PdSeen) -> None:
        """A store carries out an order; `saved` is what its disk says of PD: the order's reign."""
        epoch, reign = order.pd_epoch, (order.pd_epoch, order.incarnation)
        highest, by = self._obeyed.get(folder, reign)
        assert epoch >= highest, f"an order of epoch {epoch} after one of {highest}"
        assert epoch > highest or by == order.incarnation, f"two PDs of epoch {epoch} are obeyed"
        assert saved.pd_epoch == epoch, f"epoch {epoch} is obeyed, saved is {saved.pd_epoch}"
        assert saved.incarnation == order.incarnation, f"epoch {epoch}: {order} against {saved}"
        self._obeyed[folder] = reign

    def starts(self, folder: StoreUuid, epoch: PdEpoch) -> None:
        """A store starts, and tells PD that this is the highest epoch it has obeyed."""
        highest, _ = self._obeyed.get(folder, (epoch, ""))
        assert epoch >= highest, f"epoch {highest} was obeyed, after a restart {epoch} is known"

    def granted(self, store: StoreId, folder: StoreUuid) -> None:
        """A store serves under this id."""
        known = self._folders.setdefault(store, folder)
        assert known == folder, f"store id {store} was granted to {known} and to {folder}"

    @property
    def count(self) -> int:
        """How many reigns there were."""
        return len(self._reigns)
