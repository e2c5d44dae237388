"""Where stores stand, and how much two of them would be lost together.

Location labels have an order, the widest place first (zone, rack, host). Two stores share a place
as far as their labels are the same from the widest on; one that does not say where it stands counts
as standing where the other does, so that nothing is ever moved to it for its silence. To share a
wider place is worse than to share any number of narrower ones.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Final

from flaredb_pd.heard import Heard
from flaredb_pd.state import State
from flaredb_schemas.ids import StoreId

WORSE: Final = 100
"""How much worse it is to share a place than to share the next narrower one. A region has fewer
pairs of replicas than that."""


_NOTHING: Final[dict[StoreId, int]] = {}


class Locations:
    """The places of all stores at one moment, from what labels they tell.

    Invariant: only labels that some store has count, so that without any nothing is shared.
    """

    def __init__(self, told: Mapping[StoreId, Mapping[str, str]], levels: Sequence[str]) -> None:
        used = [level for level in levels if any(level in labels for labels in told.values())]
        self._places: Final = {
            store: tuple(labels.get(level, "") for level in used) for store, labels in told.items()
        }
        self._weights: Final = [WORSE ** (len(used) - 1 - at) for at in range(len(used))]
        self._rows: Final[dict[StoreId, dict[StoreId, int]]] = {}

    @property
    def are_known(self) -> bool:
        """Whether any store says where it stands."""
        return bool(self._weights)

    def common(self, one: StoreId, other: StoreId) -> int:
        """How much two stores share: 0 where they stand in different widest places."""
        row = self._rows.get(one)
        if row is None:
            row = self._rows[one] = {}
        known = row.get(other)
        if known is None:
            known = row[other] = self._compare(one, other)
        return known

    def _compare(self, one: StoreId, other: StoreId) -> int:
        # Of a store that is no member nobody knows where it stands: it is to go in any case.
        here, there = self._places.get(one, ()), self._places.get(other, ())
        shared = 0
        for weight, mine, its in zip(self._weights, here, there, strict=False):
            if mine and its and mine != its:
                break
            shared += weight
        return shared if here and there else 0

    def shared(self, store: StoreId, others: Iterable[StoreId]) -> int:
        """What a store shares with each of the others, together."""
        return sum(self.common(store, other) for other in others if other != store)

    def together(self, stores: Iterable[StoreId]) -> int:
        """What each two of these stores share, together: the less, the better they stand."""
        before, total = list[StoreId](), 0
        for store in stores:
            row = self._rows.get(store, _NOTHING)
            for other in before:
                known = row.get(other)
                total += known if known is not None else self.common(store, other)
            before.append(store)
        return total

    def would_worsen(self, stores: Iterable[StoreId], goes: StoreId, comes: StoreId) -> bool:
        """Whether these stores would share more with `comes` in the place of `goes`."""
        if not self.are_known:
            return False
        stay = [store for store in stores if store != goes]
        return self.shared(comes, stay) > self.shared(goes, stay)

    def least(self, stores: Iterable[StoreId], count: int) -> int:
        """What `count` of these stores share if they are chosen well; O(count x stores)."""
        return sum(shared for _, shared in islice(self.apart(sorted(stores)), count))

    def apart(self, stores: Iterable[StoreId]) -> Iterator[tuple[StoreId, int]]:
        """These stores, each the next that shares least with those before it, and how much."""
        costs = dict.fromkeys(stores, 0)
        while costs:
            best = min(costs, key=costs.__getitem__)
            yield best, costs.pop(best)
            for store in costs:
                costs[store] += self.common(store, best)


def locate(state: State, heard: Heard, levels: Sequence[str]) -> Locations:
    """The places of all stores, by what they have told last."""
    return Locations({store: _labels(store, state, heard) for store in state.stores}, levels)


def _labels(store: StoreId, state: State, heard: Heard) -> dict[str, str]:
    told = heard.stores.get(store)
    return (told.report.labels if told is not None else {}) or state.stores[store].labels
