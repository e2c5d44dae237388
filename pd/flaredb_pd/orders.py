"""Which orders are due: each repeated until its effect is visible, and not once after.

An order names the epoch of the reign and the record on which it rests; it is made only of what the
state holds, so that record is in the journal already.
"""

from msgspec import Struct

from flaredb_pd.heard import Heard
from flaredb_pd.state import State
from flaredb_schemas.ids import StoreId
from flaredb_schemas.placement import CreateRegions, Order, Report


class Addressed(Struct, frozen=True):
    """An order and the store it goes to."""

    store: StoreId
    order: Order


def due_orders(state: State, heard: Heard) -> list[Addressed]:
    """What must be said now to make the stores agree with the journal."""
    assert state.exists and not state.rebuilding, "no orders before the cluster is known"
    return [
        *(creation(state, store) for store in _without_replicas(state, heard)),
        *(report(state, store) for store in sorted(state.stores) if not heard.told_all(store)),
    ]


def _without_replicas(state: State, heard: Heard) -> list[StoreId]:
    wanted = {store for region in state.regions for store in region.stores}
    return sorted(store for store in wanted if not heard.shows_replicas(store))


def creation(state: State, store: StoreId) -> Addressed:
    """The order to create the initial replicas."""
    body = CreateRegions(state.cluster, state.regions)
    return Addressed(store, Order(state.epoch, state.bootstrap_sequence, body))


def report(state: State, store: StoreId) -> Addressed:
    """The order to tell everything: a new reign knows nothing of this store."""
    return Addressed(store, Order(state.epoch, state.reign_sequence, Report()))
