"""Which orders are due: each repeated until its effect is visible, and not once after.

An order names the reign and the record on which it rests; it is made only of what the
state holds, so that record is in the journal already.
"""

from collections.abc import Iterable

from msgspec import Struct

from flaredb_pd.decided import decided_of
from flaredb_pd.heard import Heard
from flaredb_pd.state import State
from flaredb_schemas.ids import StoreId
from flaredb_schemas.placement import Alive, CreateRegions, Order, Report


def announcement(state: State, pd: str) -> Alive:
    """That the PD of this name leads, and how much of the journal it knows."""
    known = state.epoch, state.sequence, state.cluster, state.lost_sequence
    return Alive(pd, *known, state.incarnation, decided_of(state))


class Addressed(Struct, frozen=True):
    """An order and the store it goes to."""

    store: StoreId
    order: Order


def due_orders(state: State, heard: Heard) -> list[Addressed]:
    """What must be said now to make the stores agree with the journal."""
    assert state.exists and not state.rebuilding, "no orders before the cluster is known"
    return [*creations(state, heard, state.stores), *_reports(state, heard)]


def creations(state: State, heard: Heard, stores: Iterable[StoreId]) -> list[Addressed]:
    """To those of `stores` that lack their initial replicas: create them."""
    without = sorted(store for store in stores if heard.lacks_replicas(store))
    members = {store for region in state.regions for store in region.stores} if without else set()
    body = CreateRegions(state.cluster, state.regions)
    order = Order(state.epoch, state.bootstrap_sequence, body, state.incarnation)
    return [Addressed(store, order) for store in without if store in members]


def _reports(state: State, heard: Heard) -> list[Addressed]:
    """To every store that has not told all in this reign, which knows nothing of it: tell it."""
    order = Order(state.epoch, state.reign_sequence, Report(), state.incarnation)
    return [Addressed(store, order) for store in sorted(state.stores) if not heard.told_all(store)]
