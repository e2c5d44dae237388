"""Deliberate bugs in PD and in how stores believe it: identity, reigns, orders, ids."""

from typing import Any

from msgspec.structs import replace

from flaredb.store.joining import Joining
from flaredb.store.orders import ORDERS, Orders
from flaredb.store.records import PdSeen
from flaredb_pd import decide, joins, operator_facts, reign
from flaredb_pd.joins import Admission
from flaredb_pd.state import State
from flaredb_schemas.ids import StoreId
from flaredb_schemas.operators import OperatorStarted
from flaredb_schemas.placement import CreateRegions, Join, Order
from flaredb_schemas.records import JournalFact
from flaredb_schemas.splits import AskIds
from tests.simulator.bugs import Change, bug


@bug("store-id-reused", "a store whose disk was lost gets the id back that it had on this machine")
def store_id_reused() -> list[Change]:
    real = joins._judge_new

    def judge_new(state: State, join: Join) -> Any:
        judged = real(state, join)
        known = [one for one in state.stores.values() if one.labels == join.labels]
        if isinstance(judged, Admission) and known:
            return Admission(known[-1].id, state.highest_id)
        return judged

    return [(joins, "_judge_new", judge_new)]


@bug("second-bootstrap", "a store creates the initial regions as often as it is told to")
def second_bootstrap() -> list[Change]:
    def create(self: Orders, order: CreateRegions) -> None:
        for replica in list(self._context.registry):
            self._context.registry.remove(replica.id)
        self._births.create_initial(order.regions)

    return [(Orders, "_create", create)]


@bug("pd-epoch-forgotten", "a store forgets at its restart which reign of PD it has obeyed")
def pd_epoch_forgotten() -> list[Change]:
    real = Joining.__init__

    def init(self: Joining, *given: Any) -> None:
        real(self, *given)
        self._seen = PdSeen()

    return [(Joining, "__init__", init)]


@bug("stale-order-obeyed", "a store obeys whatever reign an order is of")
def stale_order_obeyed() -> list[Change]:
    def order(self: Orders, payload: bytes) -> None:
        told = ORDERS.decode(payload)
        assert isinstance(told, Order)
        if not self._seen.refuses(told.pd_epoch, told.incarnation):
            self._note(self._seen.after(told.pd_epoch, told.incarnation, told.sequence, 0))
        self._context.saver.then(lambda: self._carry_out(told))

    return [(Orders, "order", order)]


@bug("order-before-save", "a store obeys a new reign before it has saved that it does")
def order_before_save() -> list[Change]:
    real = Orders._obey

    def order(self: Orders, payload: bytes) -> None:
        told = ORDERS.decode(payload)
        assert isinstance(told, Order)
        if not self._seen.refuses(told.pd_epoch, told.incarnation):
            self._note(self._seen.after(told.pd_epoch, told.incarnation, told.sequence, 0))
            real(self, told)

    return [(Orders, "order", order)]


@bug("id-reused", "PD grants a new store's id without noting that it is granted")
def id_reused() -> list[Change]:
    real = joins._judge_new

    def judge_new(state: State, join: Join) -> Any:
        judged = real(state, join)
        if isinstance(judged, Admission) and judged.store > state.highest_id:
            return Admission(StoreId(state.highest_id), state.highest_id)
        return judged

    return [(joins, "_judge_new", judge_new)]


@bug("region-id-reused", "PD grants the ids for a split without noting that they are granted")
def region_id_reused() -> list[Change]:
    real = decide._granted

    def granted(state: State, ask: AskIds) -> tuple[JournalFact, ...]:
        facts = real(state, ask)
        return tuple(replace(fact, highest_id=state.highest_id) for fact in facts)

    return [(decide, "_granted", granted)]


@bug("peer-id-reused", "PD grants an operator's new peer its id without noting that it is granted")
def peer_id_reused() -> list[Change]:
    real = operator_facts._started

    def started(highest_id: int, plan: operator_facts.Plan) -> OperatorStarted:
        return replace(real(highest_id, plan), highest_id=highest_id)

    return [(operator_facts, "_started", started)]


@bug("loss-not-noticed", "PD believes an empty or shortened journal, whatever stores have seen")
def loss_not_noticed() -> list[Change]:
    return [(reign, "find_loss", lambda *told: None)]
