"""How many replicas and leaders each store bears, and how many bytes: kept as regions are told.

`leaving` are the bytes of replicas that have left their regions and may be there still; `named` is
how many replicas of either kind regions name there.
"""

from collections import Counter

from flaredb_schemas.ids import StoreId
from flaredb_schemas.regions import Region


class Bearing:
    """The sums over the regions of one map.

    Invariant: every region of the map is counted once, as it was told last.
    """

    __slots__ = ("bytes", "leaders", "leaving", "named", "replicas")

    def __init__(self) -> None:
        self.replicas: Counter[StoreId] = Counter()
        self.bytes: Counter[StoreId] = Counter()
        self.leaders: Counter[StoreId] = Counter()
        self.leaving: Counter[StoreId] = Counter()
        self.named: Counter[StoreId] = Counter()

    def count(self, region: Region, leader: StoreId, size: int, sign: int) -> None:
        """A region of `size` bytes comes (1) or goes (-1), led from `leader` (0: from nowhere)."""
        for peer in region.peers:
            self.replicas[peer.store] += sign
            self.named[peer.store] += sign
            self.bytes[peer.store] += sign * size
        for peer in region.removed:
            self.leaving[peer.store] += sign * size
            self.named[peer.store] += sign
        if leader:
            self.leaders[leader] += sign
