"""Which other stores live, as this store hears it: one detector for all regions together.

Stores that share regions beat to each other once per tick, in one frame per pair; any frame counts
as a beat. Every frame carries the sender's boot counter, so that a restart is noticed even when it
was quicker than suspicion.
"""

from msgspec import Struct

from flaredb_schemas.ids import BootCounter, StoreId


class Suspected(Struct, frozen=True, tag=True):
    """Nothing has been heard of the store for an election timeout."""

    store: StoreId


class Returned(Struct, frozen=True, tag=True):
    """A suspected store is heard again, or one has started anew."""

    store: StoreId
    restarted: bool


Change = Suspected | Returned


class Neighbour(Struct):
    """One other store as it was last heard."""

    heard: float
    boot: BootCounter
    suspected: bool = False
    is_full: bool = False


class Liveness:
    """What is known of the other stores.

    Invariants: a store is suspected only after `patience` seconds of silence while the bus was
    connected; every change is reported once.
    """

    __slots__ = ("_neighbours", "_patience")

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._neighbours: dict[StoreId, Neighbour] = {}

    def heard(
        self, store: StoreId, boot: BootCounter, now: float, is_full: bool = False
    ) -> Change | None:
        """A frame of `store` has come, which says whether its file system is full."""
        known = self._neighbours.get(store)
        if known is None:
            self._neighbours[store] = Neighbour(now, boot, is_full=is_full)
            return None
        if boot < known.boot:
            return None  # a late frame of an earlier start says nothing about now
        known.heard, known.is_full = now, is_full
        restarted, known.boot = boot > known.boot, boot
        returned, known.suspected = known.suspected, False
        return Returned(store, restarted) if restarted or returned else None

    def is_past(self, store: StoreId, boot: BootCounter) -> bool:
        """Whether `store` has been heard under a later start than `boot`."""
        known = self._neighbours.get(store)
        return known is not None and boot < known.boot

    def expect(self, store: StoreId, now: float) -> None:
        """`store` shares regions with this one: its silence counts from now on."""
        if store not in self._neighbours:
            self._neighbours[store] = Neighbour(now, BootCounter(0))

    def check(self, now: float) -> list[Change]:
        """Who has become suspect; to be asked once per tick."""
        changes: list[Change] = []
        for store, known in sorted(self._neighbours.items()):
            if not known.suspected and now - known.heard > self._patience:
                known.suspected = True
                changes.append(Suspected(store))
        return changes

    def heard_lately(self, now: float) -> frozenset[StoreId]:
        """Who was heard within the time after which silence is suspicious."""
        return frozenset(
            store
            for store, known in self._neighbours.items()
            if known.boot and now - known.heard <= self._patience
        )

    def restart(self, now: float) -> None:
        """The bus was down and is back: nobody's silence meanwhile counts."""
        for known in self._neighbours.values():
            known.heard = now

    def is_suspected(self, store: StoreId) -> bool:
        """Whether `store` is suspected now."""
        known = self._neighbours.get(store)
        return known is not None and known.suspected

    def is_full(self, store: StoreId, now: float) -> bool:
        """Whether `store` lives and has last said that its file system is full."""
        known = self._neighbours.get(store)
        return known is not None and known.is_full and now - known.heard <= self._patience

    def silent_for(self, store: StoreId, now: float) -> float:
        """For how many seconds nothing has been heard of `store`; 0 if it was never expected."""
        known = self._neighbours.get(store)
        return now - known.heard if known is not None else 0.0
