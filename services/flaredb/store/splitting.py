"""A split takes effect on this store: the region gives keys away, and the new ones are born.

All of it is saved in one batch, the next one: both records, the new logs' beginnings, sessions,
events and the applied index. No rows move. Where the region is led from here the new ones are stood
for at once, so that writers hardly notice.
"""

from collections.abc import Callable

from flaredb.kv.machine import Machine
from flaredb.store.births import Births
from flaredb.store.context import Context
from flaredb.store.replica import Replica
from flaredb_schemas.ids import RegionId

OnSplit = Callable[[Replica, tuple[Replica, ...]], None]


class Splitting:
    """Carries out splits that were applied."""

    __slots__ = ("_births", "_context", "_deliver", "_on_split")

    def __init__(
        self,
        context: Context,
        births: Births,
        deliver: Callable[[RegionId], None],
        on_split: OnSplit,
    ) -> None:
        """`deliver` hands over what came too early for a region; `on_split` is told at the end."""
        self._context = context
        self._births = births
        self._deliver = deliver
        self._on_split = on_split

    def applied(self, replica: Replica, machines: tuple[Machine, ...]) -> None:
        """The machine of `replica` was split, and these are those of the new regions."""
        context = self._context
        context.saver.rewritten(replica)
        children = tuple([self._births.split_off(machine) for machine in machines])
        context.counters.splits += 1
        if replica.leads:
            # Followers apply the split when they know that it is committed, and vote only then.
            context.outgoing.tell_commit(replica.id)
            for child in children:
                child.node.campaign()
        for child in children:
            self._deliver(child.id)
        self._on_split(replica, children)
