"""Stores of which only regions tell: one that died before the journal was lost.

It can answer nobody, so no claim names it; but regions do, among their peers or among those that
have left. It is journaled by its name, without a data folder: from then on it is looked for like
every other, counts as down after its time, and can be replaced, drained and removed. Should it come
back, the first folder that claims its id is accepted, once.

Only after a loss is there anything to find, and only ids that the lost journal can have granted.
"""

from msgspec import Struct

from flaredb_pd.heard import Heard
from flaredb_pd.state import State
from flaredb_schemas.ids import NO_UUID, BootCounter, StoreId
from flaredb_schemas.journal import StoreJoined
from flaredb_schemas.records import JournalFact


class NameStores(Struct, frozen=True):
    """Journal that these stores exist, of which regions tell."""

    stores: tuple[StoreId, ...]


def naming(state: State, heard: Heard) -> tuple[NameStores, ...]:
    """What is to be journaled now, if anything; O(stores)."""
    named = (store for store, regions in heard.regions.bearing.named.items() if regions > 0)
    unknown = tuple(sorted(store for store in named if _is_lost(state, store)))
    return (NameStores(unknown),) if unknown else ()


def named(state: State, command: NameStores) -> tuple[JournalFact, ...]:
    """The records that say so, each once."""
    unknown = (store for store in command.stores if state.exists and _is_lost(state, store))
    return tuple(
        StoreJoined(
            store=store,
            uuid=NO_UUID,
            boot=BootCounter(0),
            nonce="",
            labels={},
            capacity=0,
            version="",
            highest_id=state.highest_id,
            recovered=True,
        )
        for store in unknown
    )


def _is_lost(state: State, store: StoreId) -> bool:
    """Whether the journal knows nothing of a store that it may have known before a loss."""
    return store <= state.lost_id and store not in state.stores and store not in state.removed
