"""At most one leader per region and term (Raft paper, figure 3: election safety)."""

from flaredb.store.store import Store
from flaredb_schemas.ids import PeerId, RegionId, Term


class OneLeaderPerTerm:
    """Remembers who led which term."""

    def __init__(self) -> None:
        self._leaders: dict[tuple[RegionId, Term], PeerId] = {}

    def look(self, store: Store) -> None:
        """A turn of `store` has ended."""
        for replica in store.registry:
            if replica.leads:
                name = (replica.id, replica.node.term)
                known = self._leaders.setdefault(name, replica.peer)
                assert known == replica.peer, f"two leaders of {name}: {known}, {replica.peer}"

    @property
    def elections(self) -> int:
        """How many terms had a leader."""
        return len(self._leaders)
