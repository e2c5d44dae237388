"""What people want of a store: that it be emptied, or kept, or taken out of the cluster.

Everything is wished for twice without harm: a drain that is on is told as it is, and so is a store
that was removed. A store is removed only when no region names it any more, and every region has
told of itself in this reign: nobody's word but a leader's says that.
"""

from collections.abc import Callable
from typing import Final

from msgspec import Struct

from flaredb_pd.decide import Command
from flaredb_pd.heard import Heard
from flaredb_pd.holdings import Holdings, holdings
from flaredb_pd.instant import Instant
from flaredb_pd.state import State
from flaredb_pd.store_facts import DrainStore, KeepStore, RemoveStore, comes_to
from flaredb_pd.watch import StoreWatch
from flaredb_schemas.ids import RegionId, StoreId
from flaredb_schemas.pd_answers import DrainQuery, PdFailure, RemoveQuery

MANUALLY: Final = "manual"

Change = DrainStore | KeepStore | RemoveStore


class StoreLives:
    """The wishes of one reign.

    Invariant: who asked is answered once the record is written, or when it is certain that none
    comes: with the store as it is then (`show`), or with the reason.
    """

    def __init__(
        self,
        watch: StoreWatch,
        enqueue: Callable[[Command, Instant], None],
        answer: Callable[[str, Struct], None],
        show: Callable[[StoreId, State, Heard, Instant], Struct],
    ) -> None:
        self._watch = watch
        self._enqueue = enqueue
        self._answer = answer
        self._show = show
        self._replies: dict[tuple[type[Change], StoreId], list[str]] = {}

    def drain(
        self, query: DrainQuery, reply: str, state: State, heard: Heard, now: Instant
    ) -> None:
        """Have a store emptied, or kept."""
        store = query.store
        refused = _unknown(store, state)
        if refused is not None:
            self._answer(reply, refused)
        elif query.cancel:
            self._begin(KeepStore(store, MANUALLY), reply, now)
        else:
            held = holdings(store, heard)
            told = held.replicas, held.leaders, held.bytes
            self._begin(DrainStore(store, *told, MANUALLY), reply, now)

    def remove(
        self, query: RemoveQuery, reply: str, state: State, heard: Heard, now: Instant
    ) -> None:
        """Have a store taken out of the cluster, if nothing needs it."""
        store = query.store
        if store in state.removed:
            self._answer(reply, self._show(store, state, heard, now))
            return
        refused = _unknown(store, state) or self._still_needed(store, state, heard)
        if refused is not None:
            self._answer(reply, refused)
        else:
            self._begin(RemoveStore(store, MANUALLY), reply, now)

    def settled(self, command: Change, state: State, heard: Heard, now: Instant) -> None:
        """The record of this command is written, or there was nothing to write."""
        for reply in self._replies.pop((type(command), command.store), ()):
            undone = isinstance(command, RemoveStore) and command.store not in state.removed
            shown = self._show(command.store, state, heard, now)
            self._answer(reply, _busy(command.store) if undone else shown)

    def _begin(self, command: Change, reply: str, now: Instant) -> None:
        self._replies.setdefault((type(command), command.store), []).append(reply)
        self._enqueue(command, now)

    def _still_needed(self, store: StoreId, state: State, heard: Heard) -> PdFailure | None:
        held, health = holdings(store, heard), self._watch.health(store)
        if held.replicas:
            text = f"store {store} still has {_some(held.replicas, held.examples)}"
            hint = f"empty it first: `flaredb store drain {store}`"
            if state.stores[store].drain is not None:
                hint = f"wait until it is empty: `flaredb store show {store}`"
            return PdFailure("not_empty", text, hint)
        if held.unknown or held.hole:
            return _not_told(store, held)
        if comes_to(state, store):
            return _busy(store)
        if health == "down":
            return None  # what it has not cleaned up nobody can wait for
        if held.removed:
            left = _some(held.removed, held.examples, " that went elsewhere")
            text = f"store {store} has not cleaned up {left}"
            return PdFailure(
                "not_empty", text, "try again in a few seconds; it must be up for that"
            )
        if health == "disconnected":
            text = f"store {store} is not heard, and not down yet"
            return PdFailure("store_away", text, "wait until it is up again, or counts as down")
        return None


def _unknown(store: StoreId, state: State) -> PdFailure | None:
    if store in state.stores:
        return None
    if store in state.removed:
        text, hint = f"store {store} was removed", "see `flaredb store list --all`"
        return PdFailure("removed", text, hint)
    return PdFailure("unknown_store", f"there is no store {store}", "see `flaredb store list`")


def _not_told(store: StoreId, held: Holdings) -> PdFailure:
    of = f": {_of(held.unknown)}" if held.unknown else ""
    text = f"nobody knows yet what store {store} holds: not all regions have a leader{of}"
    return PdFailure("no_leader", text, "see `flaredb status`, and try again")


def _busy(store: StoreId) -> PdFailure:
    text = f"a replica is on its way to store {store}"
    return PdFailure("busy", text, f"empty it first: `flaredb store drain {store}`")


def _some(replicas: int, examples: tuple[RegionId, ...], which: str = "") -> str:
    more = ", ..." * (replicas > len(examples))
    return f"{replicas} replica{'s' * (replicas != 1)}{which}: {_of(examples)}{more}"


def _of(regions: tuple[RegionId, ...]) -> str:
    return f"of region{'s' * (len(regions) != 1)} {', '.join(map(str, regions))}"
