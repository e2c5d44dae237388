"""What PD says, and which PD is believed.

A store obeys the highest reign of PD that has announced itself, and has that reign saved before it
obeys. A new reign is told what was seen before it, until it has heard: so a PD whose journal was
lost or is behind finds out. Of two reigns of one epoch, which only a loss can bring about, the one
heard first stands, and the other is told. Orders are repeatable; what is done already is not done
again.
"""

import logging
from collections.abc import Callable
from typing import Final, assert_never

from flaredb.disk.layout import PD_EPOCH_KEY
from flaredb.store.births import Births, RegionsRefused, is_bootstrapped
from flaredb.store.context import Context
from flaredb.store.fates import Fates
from flaredb.store.handing_over import HandingOver
from flaredb.store.merge_orders import MergeOrders
from flaredb.store.peer_orders import PeerOrders
from flaredb.store.records import PdSeen, save
from flaredb.store.removing import Removing
from flaredb.store.reporter import Reporter
from flaredb.store.split_orders import SplitOrders
from flaredb_schemas.envelope import Codec, Malformed
from flaredb_schemas.ids import StoreUuid
from flaredb_schemas.membership import ForgetPeers, OrderPeers, TellFate
from flaredb_schemas.merges import OrderMerge
from flaredb_schemas.placement import (
    Alive,
    CreateRegions,
    Here,
    Order,
    Report,
    TransferLeader,
    Witness,
    Witnessed,
)
from flaredb_schemas.splits import GrantIds, OrderSplit
from flaredb_schemas.subjects import Subjects

log: Final = logging.getLogger(__name__)

HERE: Final[Codec[Here]] = Codec(Here)
ALIVE: Final[Codec[Alive]] = Codec(Alive)
ORDERS: Final[Codec[Order]] = Codec(Order)
WITNESS: Final[Codec[Witness]] = Codec(Witness)
WITNESSED: Final[Codec[Witnessed]] = Codec(Witnessed)

REPEAT_SECONDS: Final = 0.5
"""A witness that PD has not acknowledged for so long is sent again."""


class Orders:
    """The store's side of PD's fence.

    Invariants: the reign in `_seen` never falls and never changes its incarnation, and is saved
    before anything is obeyed under it; an order of any other reign has no effect.
    """

    __slots__ = (
        "_births",
        "_context",
        "_fates",
        "_handing_over",
        "_merges",
        "_peers",
        "_removing",
        "_reporter",
        "_seen",
        "_send",
        "_splits",
        "_stop",
        "_subjects",
        "_uuid",
        "_witness",
        "_witness_at",
        "_witness_to",
    )

    def __init__(
        self,
        context: Context,
        uuid: StoreUuid,
        seen: PdSeen,
        births: Births,
        splits: SplitOrders,
        merges: MergeOrders,
        peers: PeerOrders,
        handing_over: HandingOver,
        fates: Fates,
        removing: Removing,
        reporter: Reporter,
        subjects: Subjects,
        send: Callable[[str, bytes], bool],
        stop: Callable[[str, bool], None],
    ) -> None:
        self._context = context
        self._uuid = uuid
        self._seen = seen
        self._births = births
        self._splits = splits
        self._merges = merges
        self._peers = peers
        self._handing_over = handing_over
        self._fates = fates
        self._removing = removing
        self._reporter = reporter
        self._subjects = subjects
        self._send = send
        self._stop = stop
        self._witness: Witness | None = None
        self._witness_at = 0.0
        self._witness_to = seen

    def alive(self, payload: bytes) -> None:
        """PD's sign of life, or its announcement."""
        alive = ALIVE.decode(payload)
        if isinstance(alive, Malformed):
            self._context.counters.frames_malformed += 1
            return
        me = self._context.me
        if alive.cluster not in ("", me.cluster):
            return  # Another cluster's PD on these subjects: not to be believed, nor to be told.
        here = HERE.encode(Here(me.store, me.boot, me.cluster))
        self._send(self._subjects.pd_request(me.store, "here"), here)
        known = max(alive.sequence, alive.settled)
        refused = self._seen.refuses(alive.pd_epoch, alive.incarnation)
        behind = refused or known < self._seen.sequence
        if behind or alive.pd_epoch > self._seen.pd_epoch:
            # Said before the new reign is noted: what counts is what was seen until now.
            self._witness = self._say()
            self._witness_to = PdSeen(alive.pd_epoch, incarnation=alive.incarnation)
        if not behind:
            told = alive.pd_epoch, alive.incarnation, alive.sequence
            self._note(self._seen.after(*told, highest_id=0).knowing(alive.decided))
            if self._witness is not None:
                self._context.saver.then(self._speak)

    def order(self, payload: bytes) -> None:
        """PD orders something."""
        order = ORDERS.decode(payload)
        if isinstance(order, Malformed):
            self._context.counters.frames_malformed += 1
            return
        # A later reign must have announced itself: what was seen before it is told first.
        if order.pd_epoch > self._seen.pd_epoch or self._refuses(order):
            log.info("order of reign %s, obeyed is %s", order.pd_epoch, self._seen.pd_epoch)
            return
        self._note(
            self._seen.after(order.pd_epoch, order.incarnation, order.sequence, _highest_id(order))
        )
        self._context.saver.then(lambda: self._obey(order))

    def answered(self, payload: bytes) -> None:
        """PD has heard the witness."""
        answer = WITNESSED.decode(payload)
        if isinstance(answer, Malformed):
            return
        if answer.refused:
            self._stop(f"PD refuses this store: {answer.refused}", True)
        elif not self._witness_to.refuses(answer.pd_epoch, answer.incarnation):
            # A PD that has been deposed hears witnesses too; its word is not its successor's.
            self._witness = None

    def tick(self) -> None:
        """Once per tick: repeat a witness that PD has not acknowledged."""
        if self._witness is not None and self._context.now >= self._witness_at:
            self._speak()

    def _say(self) -> Witness:
        me, seen = self._context.me, self._seen
        return Witness(
            me.store,
            self._uuid,
            me.boot,
            me.cluster,
            seen.pd_epoch,
            seen.sequence,
            max(seen.highest_id, self._context.saver.named.highest),
            seen.incarnation,
            seen.decided,
        )

    def _speak(self) -> None:
        if self._witness is None:
            return
        self._witness_at = self._context.now + REPEAT_SECONDS
        subject = self._subjects.pd_request(self._context.me.store, "witness")
        self._send(subject, WITNESS.encode(self._witness))
        self._reporter.request_full()

    def _note(self, seen: PdSeen) -> None:
        if seen != self._seen:
            self._seen = seen
            save(self._context.saver.batch, PD_EPOCH_KEY, seen)

    def _obey(self, order: Order) -> None:
        # Looked at once more: a higher reign may have come while this one was being saved.
        if not self._refuses(order):
            self._carry_out(order)

    def _refuses(self, order: Order) -> bool:
        return self._seen.refuses(order.pd_epoch, order.incarnation)

    def _carry_out(self, order: Order) -> None:
        match order.body:
            case CreateRegions():
                self._create(order.body)
            case TransferLeader():
                self._handing_over.ordered(order.body)
            case Report():
                self._reporter.request_full()
            case OrderSplit():
                self._splits.ordered(order.body)
            case GrantIds():
                self._splits.granted(order.body)
            case OrderMerge():
                self._merges.ordered(order.body)
            case OrderPeers():
                self._peers.ordered(order.body)
            case TellFate():
                self._fates.told(order.body)
            case ForgetPeers():
                self._removing.forget(order.body)
            case _:
                assert_never(order.body)

    def _create(self, order: CreateRegions) -> None:
        context = self._context
        if order.cluster != context.me.cluster:
            log.error("regions of cluster %s, this is %s", order.cluster, context.me.cluster)
            return
        if is_bootstrapped(context.disk.view) or context.registry.damaged:
            return
        refused = self._births.create_initial(order.regions)
        if isinstance(refused, RegionsRefused):
            self._stop(str(refused), False)
            return
        self._context.saver.then(self._reporter.request_full)


def _highest_id(order: Order) -> int:
    match order.body:
        case CreateRegions(regions=regions):
            ids = [max(region.id, *(peer.id for peer in region.peers)) for region in regions]
            return max(ids, default=0)
        case GrantIds(first=first, count=count):
            return first + count - 1
        case OrderPeers(peers=peers, operator=operator):
            return max(operator, *(peer.id for peer in peers))
        case _:
            return 0
