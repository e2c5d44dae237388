"""A split takes effect on this store: the region gives keys away, and the new ones are born.

All of it is saved in one batch, the next one: both records, the new logs' beginnings, sessions,
events and the applied index. No rows move. Where the region is led from here the new ones are stood
for at once, so that writers hardly notice.
"""

from collections.abc import Callable

from flaredb.kv.machine import Machine
from flaredb.store.births import Births
from flaredb.store.cleaning import Cleaning
from flaredb.store.context import Context
from flaredb.store.records import Tombstone
from flaredb.store.registry import RegionPeer
from flaredb.store.replica import Replica
from flaredb.store.tombstones import is_buried
from flaredb_schemas.ids import NO_REGION, RegionId
from flaredb_schemas.regions import Region

OnSplit = Callable[[Replica, tuple[Replica, ...]], None]


class Splitting:
    """Carries out splits that were applied."""

    __slots__ = ("_births", "_cleaning", "_context", "_deliver", "_on_split")

    def __init__(
        self,
        context: Context,
        births: Births,
        cleaning: Cleaning,
        deliver: Callable[[RegionId], None],
        on_split: OnSplit,
    ) -> None:
        """`deliver` hands over what came too early for a region; `on_split` is told at the end."""
        self._context = context
        self._births = births
        self._cleaning = cleaning
        self._deliver = deliver
        self._on_split = on_split

    def applied(self, replica: Replica, machines: tuple[Machine, ...]) -> None:
        """The machine of `replica` was split, and these are those of the new regions."""
        context = self._context
        context.saver.rewritten(replica)
        born = [machine for machine in machines if not self._has_left(machine.region)]
        children = tuple([self._births.split_off(machine) for machine in born])
        context.counters.splits += 1
        if replica.leads:
            # Followers apply the split when they know that it is committed, and vote only then.
            context.outgoing.tell_commit(replica.id)
            for child in children:
                child.node.campaign()
        for child in children:
            self._deliver(child.id)
        self._on_split(replica, children)

    def _has_left(self, region: Region) -> bool:
        """Whether this store's peer of the region came and went while the split was on its way.

        Then nothing of it is to be here; what is of the region's rows goes.
        """
        peer = region.peer_on(self._context.me.store)
        assert peer is not None, "a region is split where it has a peer"
        if not is_buried(self._context, region.id, peer.id):
            return False
        name, tombstone = RegionPeer(region.id, peer.id), Tombstone(NO_REGION, (region.keys,))
        self._context.saver.tombstone(name, tombstone)
        self._cleaning.begin(name, tombstone)
        return True
