"""Which store is the best for one more replica of a region, and which replica is needed least."""

from collections.abc import Collection, Iterable, Mapping
from typing import Final

from msgspec import Struct

from flaredb_pd.availability import IsUp
from flaredb_pd.heard import Heard
from flaredb_pd.standings import FULL, NEARLY_FULL, fullness
from flaredb_pd.state import State
from flaredb_schemas.ids import PeerId, StoreId
from flaredb_schemas.regions import Peer, PeerRole, Region

GIB = 2**30

NAME = "name"
"""The label that tells a store apart, rather than where it stands."""


NO_OTHER_STORE: Final = "no other store is without a replica of it: one more store is needed"
NO_ROOM: Final = "no store without a replica of it has room for one"
NONE_UP: Final = "no store without a replica of it is up"


class Stores(Struct, frozen=True):
    """What is known of all stores; `coming` counts the replicas that are on their way to each."""

    state: State
    heard: Heard
    is_up: IsUp
    coming: Mapping[StoreId, int]

    def labels(self, store: StoreId) -> Mapping[str, str]:
        """Where a store stands."""
        told, known = self.heard.stores.get(store), self.state.stores.get(store)
        labels = told.report.labels if told is not None else {}
        labels = labels or (known.labels if known is not None else {})
        return {key: value for key, value in labels.items() if key != NAME}

    def shared(self, store: StoreId, others: Iterable[StoreId]) -> int:
        """How many labels a store has in common with each of the others, together."""
        own = self.labels(store).items()
        return sum(len(own & self.labels(other).items()) for other in others if other != store)


def best_store(region: Region, without: Peer | None, size: int, stores: Stores) -> StoreId | None:
    """Where one more replica of `size` bytes would stand best, `without` one that goes; or None.

    Standing apart from the others counts first, then that it will not be nearly full, then what is
    on its way there already, then free space in whole GiB, then how few replicas there are. No
    store will do that is not up, has or may still have a replica of the region, would be too full
    with it and what is on its way, is being drained, or has not told of itself.
    """
    taken = {peer.store for peer in (*region.peers, *region.removed)}
    stay = [peer.store for peer in region.peers if peer != without]
    found: list[tuple[int, bool, int, int, int, StoreId]] = []
    for store in sorted(stores.state.stores):
        told = stores.heard.stores.get(store)
        able = told is not None and stores.is_up(store) and stores.state.serves(store)
        if told is None or not able or store in taken or told.report.free <= size:
            continue
        coming = stores.coming.get(store, 0)
        used = fullness(told.report, (coming + 1) * size)
        if used < FULL:
            apart, free = stores.shared(store, stay), told.report.free // GIB
            found.append((apart, used >= NEARLY_FULL, coming, -free, told.report.regions, store))
    return min(found)[-1] if found else None


def why_nowhere(region: Region, stores: Stores) -> str:
    """Why `best_store` finds none, as a person can change it."""
    taken = {peer.store for peer in (*region.peers, *region.removed)}
    others = [one for one in stores.state.stores if one not in taken and stores.state.serves(one)]
    if not others:
        return NO_OTHER_STORE
    told = any(stores.is_up(one) and one in stores.heard.stores for one in others)
    return NO_ROOM if told else NONE_UP


def least_needed(region: Region, leader: PeerId, bad: Collection[Peer], stores: Stores) -> Peer:
    """Which of the voters is missed least: one that is `bad`, then on a store that is emptied, then
    not who leads, then what stands closest to the others, then where most replicas are."""

    def rank(peer: Peer) -> tuple[bool, bool, bool, int, int, PeerId]:
        told = stores.heard.stores.get(peer.store)
        crowd = told.report.regions if told is not None else 0
        close = stores.shared(peer.store, region.stores)
        leaves = stores.state.leaves(peer.store)
        return peer in bad, leaves, peer.id != leader, close, crowd, peer.id

    return max((peer for peer in region.peers if peer.role is PeerRole.VOTER), key=rank)
