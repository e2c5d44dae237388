"""The parts of a store, each made once and handed what it needs; nothing here decides anything."""

from collections.abc import Callable
from typing import Final

from flaredb.store.absences import Absences
from flaredb.store.advancing import Advancer
from flaredb.store.applying import Hooks
from flaredb.store.beating import Beating
from flaredb.store.births import Births
from flaredb.store.checks import Checks
from flaredb.store.cleaning import Cleaning
from flaredb.store.context import Context
from flaredb.store.fates import Fates
from flaredb.store.growth import Growth
from flaredb.store.guarding import Guard
from flaredb.store.handing_over import HandingOver
from flaredb.store.history import History
from flaredb.store.hot_spots import HotSpots
from flaredb.store.incoming import Incoming
from flaredb.store.jobs import Jobs
from flaredb.store.last_word import LastWord
from flaredb.store.liveness import Liveness
from flaredb.store.merge_orders import MergeOrders
from flaredb.store.merging import Merging
from flaredb.store.orders import Orders
from flaredb.store.outside import Outside
from flaredb.store.parking import Parking
from flaredb.store.peer_changes import PeerChanges
from flaredb.store.peer_orders import PeerOrders
from flaredb.store.records import PdSeen
from flaredb.store.recounting import Recounting
from flaredb.store.removing import Removing
from flaredb.store.replica import Replica
from flaredb.store.reporter import Reporter
from flaredb.store.room import Room
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
        self.last_word: Final = LastWord(context, self.history)
        self.guard: Final = Guard(context, self.history)
        self.checks: Final = Checks(context, self.jobs, self.guard)
        self.sleeping: Final = Sleeping(context, liveness, self.guard)
        self.handing_over: Final = HandingOver(context, liveness, self.sleeping)
        self.births: Final = Births(context)
        self.merge_orders: Final = MergeOrders(context, self.sleeping, subjects, outside.tell_pd)
        self.cleaning: Final = Cleaning(context)
        self.merging: Final = Merging(
            context, self.sleeping, self.cleaning, self.merge_orders, self._changed
        )
        self.removing: Final = Removing(context, self.sleeping, self.cleaning, self.merge_orders)
        self.fates: Final = Fates(context, self.removing, subjects, outside.tell_pd)
        doors = self.births, self.merging, subjects, outside.send_snapshot
        self.snapshots: Final = SnapshotPlane(context, self.jobs, self.history, self.guard, *doors)
        self.parking: Final = Parking(context)
        self.incoming: Final = Incoming(
            context,
            liveness,
            self.sleeping,
            self.history,
            self.guard,
            self.births,
            self.parking,
            self.removing,
            self.fates,
            Absences(context, self.guard, self.sleeping, self._changed),
        )
        deliver = self.incoming.deliver
        splitting = Splitting(context, self.births, self.cleaning, deliver, self._split)
        peer_changes = PeerChanges(context, self.removing, self._changed)
        self.advancer: Final = Advancer(
            context,
            self.snapshots.out.begin,
            Hooks(self.checks.applied, splitting.applied, self.merging, peer_changes),
            self._changed,
        )
        self.room: Final = Room(context, liveness)
        self.service: Final = Service(context, self.checks, self.sleeping, self.room)
        self.split_orders: Final = SplitOrders(
            context, self.jobs, self.guard, self.sleeping, subjects, outside.tell_pd
        )
        self.growth: Final = Growth(context, self.split_orders, self.history)
        self.hot_spots: Final = HotSpots(context, self.split_orders, self.history)
        self.recounting: Final = Recounting(context, self.jobs, self.guard, self.sleeping)
        self.reporter: Final = Reporter(context, liveness, subjects, outside.tell_pd, read_cpu)
        self.orders: Final = self._make_orders(context, uuid, seen, outside, subjects)

    def _make_orders(
        self, context: Context, uuid: StoreUuid, seen: PdSeen, outside: Outside, subjects: Subjects
    ) -> Orders:
        return Orders(
            context,
            uuid,
            seen,
            self.births,
            self.split_orders,
            self.merge_orders,
            PeerOrders(context, self.sleeping),
            self.handing_over,
            self.fates,
            self.removing,
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
        self.removing.note(replica)
        if replica.leads:
            self.reporter.note(replica)
