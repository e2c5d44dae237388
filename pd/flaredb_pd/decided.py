"""What was decided about stores, so that it outlives the journal: told to all, and taken back.

That a store is to be emptied, or is out of the cluster for ever, and how many replicas are wanted,
stands in the journal, and no region tells it. So PD's sign of life says it; stores keep it, and say
it to a PD whose journal is lost or behind.
"""

from flaredb_pd.state import State
from flaredb_schemas.decided import Decided


def decided_of(state: State) -> Decided:
    """What the journal says of it; O(stores)."""
    drained = {store for store, known in state.stores.items() if known.drain is not None}
    away = state.awaited - state.stores.keys()
    return Decided(
        state.decided_epoch,
        state.decided_sequence,
        state.replicas if state.decided_epoch else 0,
        tuple(sorted((drained | away) - state.removed.keys())),
        {store: state.removed[store].record.uuid for store in sorted(state.removed)},
    )


def newest(*memories: Decided) -> Decided:
    """The last of what was decided."""
    return max(memories, key=lambda one: one.age)
