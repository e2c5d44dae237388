"""The parts of a store, each made once and handed what it needs; nothing here decides anything."""

from collections.abc import Callable
from typing import Final

from flaredb.store.advancing import Advancer
from flaredb.store.applying import Hooks
from flaredb.store.beating import Beating
from flaredb.store.births import Births
from flaredb.store.checks import Checks
from flaredb.store.context import Context
from flaredb.store.growth import Growth
from flaredb.store.guarding import Guard
from flaredb.store.handing_over import HandingOver
from flaredb.store.history import History
from flaredb.store.hot_spots import HotSpots
from flaredb.store.incoming import Incoming
from flaredb.store.jobs import Jobs
from flaredb.store.liveness import Liveness
from flaredb.store.merge_orders import MergeOrders
from flaredb.store.merging import Merging
from flaredb.store.orders import Orders
from flaredb.store.outside import Outside
from flaredb.store.parking import Parking
from flaredb.store.records import PdSeen
from flaredb.store.recounting import Recounting
from flaredb.store.replica import Replica
from flaredb.store.reporter import Reporter
from flaredb.store.serving import Service
from flaredb.store.sleeping import Sleeping
from flaredb.store.snapshot_plane import SnapshotPlane
from flaredb.store.split_orders import SplitOrders
from flaredb.store.splitting import Splitting
from flaredb_schemas.ids import StoreUuid
from flaredb_schemas.subjects import Subjects


class Parts:
    """Who does what in a turn."""

    def __init__(
        self,
        context: Context,
        uuid: StoreUuid,
        seen: PdSeen,
        outside: Outside,
        subjects: Subjects,
        read_cpu: Callable[[], float],
    ) -> None:
        self.jobs: Final = Jobs(context.disk)
        liveness = Liveness(context.election_seconds)
        self.beating: Final = Beating(context, liveness)
        self.history: Final = History(context, subjects, outside.publish)
        self.guard: Final = Guard(context, self.history)
        self.checks: Final = Checks(context, self.jobs, self.guard)
        self.sleeping: Final = Sleeping(context, liveness)
        self.handing_over: Final = HandingOver(context, liveness, self.sleeping)
        self.births: Final = Births(context)
        self.merge_orders: Final = MergeOrders(context, self.sleeping, subjects, outside.tell_pd)
        self.merging: Final = Merging(context, self.sleeping, self.merge_orders, self._changed)
        doors = self.births, self.merging, subjects, outside.send_snapshot
        self.snapshots: Final = SnapshotPlane(context, self.jobs, self.history, self.guard, *doors)
        self.parking: Final = Parking(context)
        self.incoming: Final = Incoming(
            context, liveness, self.sleeping, self.history, self.guard, self.births, self.parking
        )
        splitting = Splitting(context, self.births, self.incoming.deliver, self._split)
        self.advancer: Final = Advancer(
            context,
            self.snapshots.out.begin,
            Hooks(self.checks.applied, splitting.applied, self.merging),
            self._changed,
        )
        self.service: Final = Service(context, self.checks, self.sleeping)
        self.split_orders: Final = SplitOrders(
            context, self.jobs, self.guard, self.sleeping, subjects, outside.tell_pd
        )
        self.growth: Final = Growth(context, self.split_orders, self.history)
        self.hot_spots: Final = HotSpots(context, self.split_orders, self.history)
        self.recounting: Final = Recounting(context, self.jobs, self.guard, self.sleeping)
        self.reporter: Final = Reporter(context, liveness, subjects, outside.tell_pd, read_cpu)
        self.orders: Final = Orders(
            context,
            uuid,
            seen,
            self.births,
            self.split_orders,
            self.merge_orders,
            self.reporter,
            subjects,
            outside.tell_pd,
            outside.fail,
        )

    def _split(self, replica: Replica, children: tuple[Replica, ...]) -> None:
        self._changed(replica)
        self.split_orders.applied(replica, children)

    def _changed(self, replica: Replica) -> None:
        self.hot_spots.changed(replica)
        if replica.leads:
            self.reporter.note(replica)
