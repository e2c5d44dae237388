"""A store is lost for good: PD counts it as down, replaces what it had, and lets it be removed.

Where no other store can take its replicas they stay as they are, and it is not removed. Where the
journal was lost, too, and no region had anything there, nobody knows of it any more.
"""

from flaredb_pd.reign import Reign
from flaredb_schemas.ids import StoreId
from flaredb_schemas.pd_answers import CancelQuery, DrainQuery, RemoveQuery
from flaredb_schemas.regions import Region
from tests.simulator.checkers.operators import target_of
from tests.simulator.healing import Healing
from tests.simulator.options import REPLICAS

DOWN_SECONDS = 60.0
REPLACED_SECONDS = 180.0
REMOVED_SECONDS = 30.0
REFUSED_SECONDS = 3.0


class Bereavement:
    """What an operator does about a lost store, and what must come of it."""

    def __init__(self, healing: Healing, lost: StoreId) -> None:
        self._healing = healing
        self._lost = lost

    def settle(self) -> None:
        """Go all the way. Raises `AssertionError` with what does not come."""
        healing, world = self._healing, self._healing.world
        healing.wait(self._not_down, DOWN_SECONDS)
        if self._is_forgotten:
            world.note("store_forgotten", f"store {self._lost}")
            return
        if len(healing.running()) < REPLICAS:
            self._remove()
            healing.pass_by(REFUSED_SECONDS)
            assert not self._is_removed, f"store {self._lost} is removed, and regions need it"
            return
        healing.wait(self._not_replaced, REPLACED_SECONDS)
        named = self._not_forgotten()
        healing.wait(self._not_removed, REMOVED_SECONDS)
        world.note("store_removed", f"store {self._lost}")
        healing.wait(self._not_forgotten, REMOVED_SECONDS)
        for peer in named:
            world.note("peers_forgotten", peer)
        healing.until_at_rest()

    def _not_down(self) -> list[str]:
        reign = self._reign
        if self._is_forgotten:
            return []
        health = reign.watch.health(self._lost) if reign is not None else "not judged"
        return [] if health == "down" else [f"store {self._lost} is {health}, not down"]

    def _not_replaced(self) -> list[str]:
        """Which regions name it, while whatever may hinder PD is taken out of its way."""
        reign = self._reign
        if reign is None:
            return ["no PD leads"]
        for store, known in reign.state.stores.items():
            if known.drain is not None:
                self._healing.ask_pd("drain", DrainQuery(store, cancel=True))
        for operator in reign.state.operators.running.values():
            if target_of(operator) == self._lost:
                self._healing.ask_pd("cancel", CancelQuery(operator.id))
        holding = [one for one in self._led if one.peer_on(self._lost) is not None]
        return [f"region {one.id} still has a peer on store {self._lost}" for one in holding]

    def _not_removed(self) -> list[str]:
        self._remove()
        return [] if self._is_removed else [f"store {self._lost} is not removed"]

    def _not_forgotten(self) -> list[str]:
        found = [(one.id, peer) for one in self._led for peer in one.removed]
        return [f"region {id_} names {peer}" for id_, peer in found if peer.store == self._lost]

    def _remove(self) -> None:
        self._healing.ask_pd("remove", RemoveQuery(self._lost))

    @property
    def _is_forgotten(self) -> bool:
        """Whether PD, which has heard of all regions, cannot know of it: none of them names it."""
        reign = self._reign
        if reign is None or not reign.may_order or not reign.heard.regions.covers_all:
            return False
        known = self._lost in reign.state.stores or self._is_removed
        named = any(peer.store == self._lost for one in self._led for peer in one.peers)
        return not known and reign.state.lost_id > 0 and not named and not self._not_forgotten()

    @property
    def _is_removed(self) -> bool:
        reign = self._reign
        return reign is not None and self._lost in reign.state.removed

    @property
    def _reign(self) -> Reign | None:
        cores = [pd.core for pd in self._healing.pds if pd.core is not None]
        return next((one._reign for one in cores if one._reign is not None), None)

    @property
    def _led(self) -> list[Region]:
        running = self._healing.running()
        return [one.region for store, _ in running for one in store.registry if one.leads]
