"""Deliberate bugs in changes of peers: who may vote when, who is gone, and what is left behind."""

from typing import Any

from flaredb.store import peer_orders
from flaredb.store.cleaning import Cleaning
from flaredb.store.incoming import Incoming
from flaredb.store.records import Tombstone
from flaredb.store.registry import RegionPeer
from flaredb.store.removing import Removing
from flaredb.store.replica import Replica
from flaredb.store.splitting import Splitting
from flaredb_pd import operator_steps
from flaredb_schemas.frames import Item, NotHosted, Removed
from flaredb_schemas.ids import PeerId, StoreId
from flaredb_schemas.regions import NEVER_CHANGED, Peer
from tests.simulator.bugs import Change, bug


@bug("learner-promoted-at-once", "a learner votes before it has what the others have")
def learner_promoted_at_once() -> list[Change]:
    return [(peer_orders, "_unfit", lambda replica, plan: "")]


@bug("leader-removed-without-transfer", "a leader takes its own vote away")
def leader_removed_without_transfer() -> list[Change]:
    real_fault = peer_orders._fault

    def fault(before: dict[PeerId, Peer], after: dict[PeerId, Peer], leader: PeerId) -> str:
        said = real_fault(before, after, leader)
        return "" if said.startswith("whoever leads") else said

    def lead_away(operator: Any, sighting: Any, old: Any, learner: Any, is_up: Any) -> Any:
        return operator_steps._swap(operator, sighting, learner, old, is_up)

    return [(peer_orders, "_fault", fault), (operator_steps, "_lead_away", lead_away)]


@bug("child-over-tombstone", "a split brings a peer to life that has left")
def child_over_tombstone() -> list[Change]:
    return [(Splitting, "_has_left", lambda self, region: False)]


@bug("rows-left-behind", "the rows of a replica that is gone stay")
def rows_left_behind() -> list[Change]:
    def begin(self: Cleaning, name: RegionPeer, tombstone: Tombstone) -> None:
        pass

    return [(Cleaning, "begin", begin)]


@bug("removed-by-an-old-record", "whoever is told that it has left believes it")
def removed_by_an_old_record() -> list[Change]:
    """Said of a peer that has come since, by one who knows only those before."""

    def told(self: Removing, from_store: StoreId, item: Removed) -> None:
        replica = self._context.registry.get(item.region)
        if replica is not None:
            self._remove(replica, RegionPeer(item.region, max(item.peer, replica.peer)))

    return [(Removing, "told", told)]


@bug("not-hosted-permits", "who hears that a store does not host its region destroys its replica")
def not_hosted_permits() -> list[Change]:
    real = Incoming._item

    def item(self: Incoming, from_store: StoreId, said: Item) -> None:
        replica = self._context.registry.get(said.region)
        mine = replica is not None and isinstance(said, NotHosted) and said.to_peer == replica.peer
        # While a cluster begins stores are told of their regions one after the other.
        if replica is not None and mine and replica.region.epoch != NEVER_CHANGED:
            self._removing.left(replica)
        else:
            real(self, from_store, said)

    return [(Incoming, "_item", item)]


@bug("leader-unknown-unanswered", "a follower answers only members that its record knows")
def leader_unknown_unanswered() -> list[Change]:
    return [(Replica, "meet", lambda self, peer, store: None)]
