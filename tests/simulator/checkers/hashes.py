"""All replicas of a region have the same hash at the same applied index (`region check`)."""

from flaredb_schemas.ids import Index, RegionId, StoreId
from flaredb_schemas.requests import HashAnswer


class HashesAgree:
    """Remembers what each check found, by nonce and by the index of its entry."""

    def __init__(self) -> None:
        self._found: dict[tuple[RegionId, int, Index], tuple[StoreId, tuple[str, int, int]]] = {}
        self.compared = 0
        """How many hashes were equal to one that another store had told."""

    def heard(self, store: StoreId, region: RegionId, nonce: int, answer: HashAnswer) -> None:
        """`store` tells what it found under `nonce`."""
        mine = (answer.hash, answer.keys, answer.bytes)
        name = (region, nonce, answer.index)
        other, theirs = self._found.setdefault(name, (store, mine))
        assert mine == theirs, (
            f"region {region} at {answer.index}: {other}: {theirs}, {store}: {mine}"
        )
        self.compared += other != store
