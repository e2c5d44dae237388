"""Regions as tests about stores need them."""

from flaredb_schemas.ids import PeerId, RegionId, StoreId
from flaredb_schemas.keys import KeyRange
from flaredb_schemas.regions import Epoch, Peer, Region


def region(number: int, start: bytes, end: bytes, stores: int = 3) -> Region:
    """A region with a voter on each of the stores 1 to `stores`."""
    peers = tuple(
        Peer(PeerId(100 * number + store), StoreId(store)) for store in range(1, stores + 1)
    )
    return Region(RegionId(number), KeyRange(start, end), Epoch(1, 1), peers)
