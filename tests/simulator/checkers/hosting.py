"""What a store hosts: nobody who was buried there, nor who came before, and nothing damaged.

Disks in these worlds lose what was not saved, or everything; what is there is as it was written. So
a replica that is found damaged is one whose rows were not saved together.
"""

from flaredb.disk.layout import TOMBSTONE, region_rows, tombstone_peer
from flaredb.store.store import Store
from flaredb_schemas.ids import PeerId, RegionId


class HostsRightly:
    """Looks at each replica once, when it is first seen on a store that has started."""

    def __init__(self) -> None:
        self._seen: dict[Store, set[tuple[RegionId, PeerId]]] = {}

    def look(self, store: Store) -> None:
        """A turn of `store` has ended."""
        seen = self._seen.setdefault(store, set())
        for replica in store.registry:
            name = (replica.id, replica.peer)
            if name not in seen:
                seen.add(name)
                _check(store, replica.id, replica.peer)
        assert not store.registry.damaged_count, f"damaged: {[*store.registry.damaged]}"


def _check(store: Store, region: RegionId, peer: PeerId) -> None:
    rows = store._context.disk.view.scan(*region_rows(TOMBSTONE, region))
    buried = max((tombstone_peer(key) for key, _ in rows), default=0)
    assert peer > buried, f"peer {peer} of region {region} lives, and {buried} is buried here"
