"""Which facts begin and end a drain, and take a store out of the cluster.

That a store is empty is what heartbeats tell, and judged before (`store_lives`). What is looked at
here is what may have come between: a store that something is being brought to is not removed.
"""

from msgspec import Struct

from flaredb_pd.state import State
from flaredb_schemas.ids import StoreId
from flaredb_schemas.journal import StoreDraining, StoreRemoved, StoreServing
from flaredb_schemas.operators import OperatorStarted
from flaredb_schemas.records import JournalFact


class DrainStore(Struct, frozen=True):
    """Empty this store, which holds so much now."""

    store: StoreId
    replicas: int
    leaders: int
    bytes: int
    trigger: str


class KeepStore(Struct, frozen=True):
    """Do not empty this store any more."""

    store: StoreId
    trigger: str


class RemoveStore(Struct, frozen=True):
    """Take this store, of which no region has anything, out of the cluster."""

    store: StoreId
    trigger: str


def drained(state: State, command: DrainStore) -> tuple[JournalFact, ...]:
    """The record that begins a drain, once."""
    if not state.exists or not state.serves(command.store):
        return ()
    return (
        StoreDraining(
            store=command.store,
            replicas=command.replicas,
            leaders=command.leaders,
            bytes=command.bytes,
            trigger=command.trigger,
        ),
    )


def kept(state: State, command: KeepStore) -> tuple[JournalFact, ...]:
    """The record that ends a drain, once."""
    known = state.stores.get(command.store)
    if known is None or known.drain is None:
        return ()
    return (StoreServing(store=command.store, trigger=command.trigger),)


def removed(state: State, command: RemoveStore) -> tuple[JournalFact, ...]:
    """The record that removes a store, once; none while something may come to it."""
    known = state.stores.get(command.store)
    if not state.exists or known is None or comes_to(state, command.store):
        return ()
    return (StoreRemoved(store=known.id, uuid=known.uuid, trigger=command.trigger),)


def comes_to(state: State, store: StoreId) -> bool:
    """Whether an operator that runs brings a replica to the store."""
    running = (one.started for one in state.operators.running.values())
    return any(_adds_to(started, store) for started in running)


def _adds_to(started: OperatorStarted, store: StoreId) -> bool:
    return started.add is not None and started.add.store == store
