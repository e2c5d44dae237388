"""An id names one thing for ever: a store, a region, or a region's peer on one store."""

from flaredb.store.store import Store
from flaredb_schemas.ids import RegionId
from flaredb_schemas.regions import Epoch, Region


class NamesOnce:
    """Remembers what each id has named, whichever store says so."""

    def __init__(self) -> None:
        self._named: dict[int, str] = {}
        self._seen: set[tuple[RegionId, Epoch]] = set()

    def look(self, store: Store) -> None:
        """A turn of `store` has ended."""
        self._name(store.me.store, "a store")
        for replica in store.registry:
            self.note(replica.region)

    def note(self, region: Region) -> None:
        """Somebody has this record of a region."""
        if (region.id, region.epoch) in self._seen:
            return
        self._seen.add((region.id, region.epoch))
        self._name(region.id, "a region")
        for peer in region.peers:
            self._name(peer.id, f"the peer of region {region.id} on store {peer.store}")

    def _name(self, number: int, what: str) -> None:
        known = self._named.setdefault(number, what)
        assert known == what, f"id {number} was granted twice: it is {known} and {what}"
