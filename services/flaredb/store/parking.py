"""Messages that come too early: for a region that a split makes which is not applied here yet.

They wait until the split is applied, so that the new region's first election does not have to be
held again, and no snapshot is sent for what is here already. One message per sending peer waits,
its newest, for one election timeout. A sender that has waited so long since its first is told that
its peer cannot be here yet, and again after each further one in which it goes on calling.
"""

from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from flaredb.store.context import Context
from flaredb_schemas.frames import Blocked, RaftItem
from flaredb_schemas.ids import PeerId, RegionId, StoreId

MOST_PARKED: Final = 1_000


class Parked(Struct, frozen=True, gc=False):
    """A message, who sent it, until when it waits, and when its sender is told so."""

    from_store: StoreId
    item: RaftItem
    until: float
    tell_at: float


class Parking:
    """What waits for a split.

    Invariants: at most one message of a peer waits, its newest; at most `MOST_PARKED` in all; a
    message goes with the tick after its time, and whoever sent it has been told by then.
    """

    __slots__ = ("_context", "_parked")

    def __init__(self, context: Context) -> None:
        self._context = context
        self._parked: dict[tuple[RegionId, PeerId], Parked] = {}

    def park(self, from_store: StoreId, item: RaftItem) -> None:
        """Keep `item`, in place of an earlier one of its peer."""
        name = (item.region, item.from_peer)
        known = self._parked.get(name)
        if known is not None or len(self._parked) < MOST_PARKED:
            until = self._context.now + self._context.election_seconds
            tell_at = known.tell_at if known is not None else until
            self._parked[name] = Parked(from_store, item, until, tell_at)
        else:
            self.block(from_store, item)

    def take(self, region: RegionId) -> list[Parked]:
        """What waits for `region`, which is here now."""
        names = [name for name in self._parked if name[0] == region]
        return [self._parked.pop(name) for name in names]

    def tick(self) -> None:
        """Once per tick: who has waited too long is told."""
        now = self._context.now
        for name, parked in list(self._parked.items()):
            if now >= parked.tell_at:
                self.block(parked.from_store, parked.item)
                tell_at = now + self._context.election_seconds
                self._parked[name] = replace(parked, tell_at=tell_at)
            if now >= parked.until:
                del self._parked[name]

    def block(self, to: StoreId, item: RaftItem) -> None:
        """Tell the sender of `item` that its peer cannot be here yet."""
        blocked = Blocked(item.region, item.to_peer, item.from_peer)
        self._context.outgoing.add(to, blocked)

    def __len__(self) -> int:
        return len(self._parked)
