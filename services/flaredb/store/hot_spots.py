"""Regions of which too much is asked for too long are cut where that halves their load.

`Load` says which, and where; the way from there is that of every split. Whatever becomes of it, the
region and the new ones are measured anew for the whole time before another is wanted, and each part
has half of what was too much: none is cut again unless its own load has grown. One that cannot be
cut, because all want one key, is told of once.
"""

from typing import Final

from flaredb.store.context import Context
from flaredb.store.history import History
from flaredb.store.load import Held, find_cut
from flaredb.store.records import ReplicaState
from flaredb.store.replica import Replica
from flaredb.store.split_orders import SplitOrders, Task, Vain, Wish
from flaredb.store.split_skips import SplitSkips

LOOK_SECONDS: Final = 1.0

TRIGGER: Final = "load"


class HotSpots:
    """Watches the load of the regions that are led here.

    Invariant: a region that cannot be cut is told of once as long as its version stays what it is.
    """

    __slots__ = ("_context", "_look_at", "_orders", "_skips")

    def __init__(self, context: Context, orders: SplitOrders, history: History) -> None:
        self._context = context
        self._orders = orders
        self._skips = SplitSkips(context, history)
        self._look_at = context.now + LOOK_SECONDS

    def changed(self, replica: Replica) -> None:
        """The region was cut, or is led here from now on."""
        self._context.load.forget(replica.id)

    def tick(self) -> None:
        """Once per tick: see whether it is time to look."""
        context = self._context
        if context.now < self._look_at:
            return
        self._look_at = context.now + LOOK_SECONDS
        for held in context.load.look(context.now):
            replica = context.registry.get(held.region)
            if replica is not None and replica.leads and replica.state is ReplicaState.LIVE:
                self._divide(replica, held)

    def _divide(self, replica: Replica, held: Held) -> None:
        cut = find_cut(held.spans)
        if isinstance(cut, str):
            situation = (replica.region.epoch.version, 0)
            self._skips.tell(replica, situation, TRIGGER, cut, replica.machine.state.size)
            return
        ago = round((self._context.now - held.since) * 1000)
        wish = Wish(TRIGGER, self._context.clock.wall() - ago, keys=(cut,))
        self._orders.want(replica, wish, self._ended)

    def _ended(self, task: Task, vain: Vain | None, reason: str) -> None:
        self._context.load.forget(task.replica.id)
