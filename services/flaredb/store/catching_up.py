"""Whoever has just got a snapshot is kept the log behind it until it has caught up, for a while.

What was written while the snapshot was copied, sent and installed may be more than a log keeps for
laggards. Were it cut at once, the peer would need the next snapshot, and in a region that is always
busy the one after that.
"""

from typing import Final

from msgspec import Struct

from flaredb.store.context import Context
from flaredb.store.replica import Replica
from flaredb_schemas.ids import Index, PeerId, RegionId

LONGEST_SECONDS: Final = 60.0
"""Who has not caught up by then is slower than the writers: the log must not grow for ever."""

NEAR: Final = 128
"""Who lacks no more entries than these has caught up, where so many are kept for laggards."""

Name = tuple[RegionId, PeerId]


class Follower(Struct, frozen=True):
    """Of which replica's region it is a peer, and until when it is waited for."""

    replica: Replica
    until: float


class CatchingUp:
    """The peers that go on behind a snapshot.

    Invariant: of each of them the region's leader has a snapshot floor, which rises with what the
    peer has acknowledged, and goes with it.
    """

    __slots__ = ("_context", "_followers")

    def __init__(self, context: Context) -> None:
        self._context = context
        self._followers: dict[Name, Follower] = {}

    def begin(self, replica: Replica, peer: PeerId, index: Index) -> None:
        """The peer has installed the state at `index`."""
        self._followers[replica.id, peer] = Follower(replica, self._context.now + LONGEST_SECONDS)
        replica.snapshot_floor[peer] = index

    def forget(self, name: Name) -> None:
        """Another snapshot is on its way to this peer, with a floor of its own."""
        self._followers.pop(name, None)

    def tick(self) -> None:
        """Once per tick: raise the floors; who is near enough needs none."""
        near = min(NEAR, self._context.settings.log_keep_entries)
        for (region, peer), follower in list(self._followers.items()):
            replica = follower.replica
            match = self._match(replica, peer)
            late = self._context.now >= follower.until
            if match is None or late or replica.node.last_index - match <= near:
                del self._followers[region, peer]
                replica.snapshot_floor.pop(peer, None)
            else:
                replica.snapshot_floor[peer] = max(replica.snapshot_floor[peer], match)

    def _match(self, replica: Replica, peer: PeerId) -> Index | None:
        """What the peer is known to have; None where nobody here feeds it any more."""
        if not self._context.registry.current(replica) or not replica.leads:
            return None
        known = replica.node.status().progress.get(peer)
        return None if known is None else known.match
