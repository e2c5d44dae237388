"""What a region is: its range, its epoch, and the peers that hold it.

An epoch has two counters that move independently: `version` rises whenever the range changes
(split, merge), `conf_ver` whenever the peers do. Client commands compare `version` by equality;
membership compares `conf_ver`; splits and merges compare both.
"""

import enum
from itertools import zip_longest
from typing import Annotated, Final, NamedTuple

from msgspec import Meta, Struct

from flaredb_schemas.ids import NO_PEER, NO_REGION, NO_STORE, Index, PeerId, RegionId, StoreId, Term
from flaredb_schemas.keys import KeyRange

Count = Annotated[int, Meta(ge=0)]
"""A number that is never negative, checked when it is decoded."""

REPLICA_ROOM: Final = 3
"""A store takes in a replica only while it has so many times its bytes free: for the file, for its
rows, and for what is written meanwhile."""


class PeerRole(enum.IntEnum):
    """What a peer is in its group; the last two exist only inside a joint configuration."""

    VOTER = 0
    LEARNER = 1
    INCOMING_VOTER = 2
    DEMOTING_VOTER = 3


class Peer(Struct, frozen=True, array_like=True, gc=False):
    """One replica of a region and the store that holds it."""

    id: PeerId
    store: StoreId
    role: PeerRole = PeerRole.VOTER


MOST_ABSORBED: Final = 256
"""How many absorbed regions a region may name; beyond, it absorbs no more."""


class Epoch(Struct, frozen=True, array_like=True, gc=False):
    """How often the peers (`conf_ver`) and the range (`version`) of a region have changed."""

    conf_ver: Count
    version: Count


NEVER_CHANGED: Final = Epoch(1, 1)
"""The epoch of an initial region: PD has its replicas created, and no snapshot is needed."""


class Absorption(NamedTuple):
    """The region `region` was merged into `into`, and is no more. This never changes again."""

    region: RegionId
    into: RegionId


class Region(Struct, frozen=True, array_like=True):
    """A region as its own Raft group last recorded it.

    `removed` are peers that left and whose stores have not yet confirmed a saved tombstone.
    `absorbed` are the regions that were merged into it, or into what it was split from, each behind
    those that it had absorbed itself: a store that still has a replica of one may bury it, unless
    the replica there that is to absorb it has not come to that yet (`store/absorptions.py`).
    `absorbers` says of each in turn into which it was merged; of those that were absorbed before
    that was kept, nothing or 0.
    """

    id: RegionId
    keys: KeyRange
    epoch: Epoch
    peers: tuple[Peer, ...]
    removed: tuple[Peer, ...] = ()
    absorbed: tuple[RegionId, ...] = ()
    absorbers: tuple[RegionId, ...] = ()

    def peer_on(self, store: StoreId) -> Peer | None:
        """This region's peer on `store`, if it has one there."""
        return next((peer for peer in self.peers if peer.store == store), None)

    def peer(self, peer_id: PeerId) -> Peer | None:
        """The peer with this id, if it is a member."""
        return next((peer for peer in self.peers if peer.id == peer_id), None)

    @property
    def absorptions(self) -> tuple[Absorption, ...]:
        """What it has absorbed, and which region each became a part of; 0 where that is unknown."""
        pairs = zip_longest(self.absorbed, self.absorbers, fillvalue=NO_REGION)
        return tuple(Absorption(*pair) for pair in pairs)

    @property
    def stores(self) -> tuple[StoreId, ...]:
        """The stores that hold a peer, in the order of the peers."""
        return tuple(peer.store for peer in self.peers)


class Route(Struct, frozen=True, array_like=True):
    """A region and who leads it, as last heard; what a client needs to reach a key.

    `leader` and `store` are zero where no leader is known. `time` is the region's own time in
    milliseconds (the time of its newest applied entry), from which clients name their lanes.
    """

    region: Region
    leader: PeerId = NO_PEER
    store: StoreId = NO_STORE
    term: Term = Term(0)
    time: Count = 0


FIRST_INDEX = Index(5)
FIRST_TERM = Term(5)
"""Where a region's log starts, so that an empty peer never looks up to date."""
