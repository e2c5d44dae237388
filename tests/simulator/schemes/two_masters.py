"""A region is absorbed where it was led, while a majority of its replicas stands elsewhere.

The target's replica on one store holds its state still for a check, so it has the merge in its log
and not in its rows; another store is cut off from the one that leads both. These two may find a new
leader for the source, and one client hears of no other, while the rest hear of the first one alone
and write to the source's keys there.
"""

from collections.abc import Sequence

from flaredb.store.merge_orders import MANUAL
from flaredb.store.replica import Replica
from flaredb_schemas.ids import RegionId
from flaredb_schemas.merges import OrderMerge
from tests.simulator.network import both_ways
from tests.simulator.schemes.scheme import Scheme
from tests.simulator.stores import SimStore

NONCE = 1 << 60
HELD_SECONDS = 10.0
PARTED_SECONDS = 8.0
"""Long enough for an election, and for some reads of keys that were written since."""
LOOK_SECONDS = 0.5


class TwoMasters(Scheme):
    """Who leads a region that is a part of another already?"""

    _target = RegionId(0)
    _has_asked = False
    _keys: Sequence[bytes] = ()
    _leader: SimStore
    _held_store: SimStore

    def first(self, item: SimStore, replica: Replica) -> None:
        """Have a region merged into a neighbour that is led from the same store."""
        target = self._neighbour(item, replica)
        keys = [key for key in self.cluster.clients[0].keys if replica.region.keys.contains(key)]
        if target is None or not replica.leads or not keys:
            return
        if not target.leads:
            self._bring(target)
            return
        self._target, self._keys = target.id, keys
        body = OrderMerge(
            replica.id,
            replica.region.epoch,
            replica.peer,
            target.id,
            target.region.epoch,
            NONCE + int(self.world.clockwork.now * 1_000_000),
            MANUAL,
            int(self.world.clockwork.now * 1_000),
        )
        assert item.store is not None
        item.store._parts.merge_orders.ordered(body)
        item.ask_turn()
        self.step = self._agreed

    def _agreed(self, item: SimStore, replica: Replica) -> None:
        """The source serves nobody any more; the target is checked before it absorbs it."""
        if not replica.leads or replica.machine.state.merging is None:
            return
        others = [peer for peer in replica.region.peers if peer.id != replica.peer]
        held = self.host_of(replica, self.world.dice.choice(others).id)
        if held is None:
            self.end()
            return
        self._leader, self._held_store = item, held
        held.put_off_jobs(HELD_SECONDS)
        self.cluster.check(self._target)
        self.step = self._held

    def _held(self, item: SimStore, replica: Replica) -> None:
        """Where it is led the target goes on before long; the other waits."""
        store = self._held_store.store
        target = store.registry.get(self._target) if store is not None else None
        if target is not None and target.held:
            self._part(self._leader, self._held_store)

    def _part(self, leader: SimStore, held: SimStore) -> None:
        """The leader keeps the one that is held, and loses the others and one of the clients."""
        others = {one.name for one in self.stores} - {leader.name}
        looking, *writing = [client.name for client in self.cluster.clients]
        self._links = both_ways({leader.name}, others - {held.name} | {looking})
        self._links |= both_ways(others, set(writing))
        self.world.network.cut |= self._links
        self.world.note("cut", f"{leader.name} from all but {held.name}, as TwoMasters wants it")
        self.step = self.wait
        self.later(PARTED_SECONDS, self.end)
        self._look()

    def _look(self) -> None:
        """The client that is alone reads, whatever else it waits for."""
        self.cluster.clients[0].look(self.world.dice.choice(self._keys))
        self.later(LOOK_SECONDS, self._look)

    def _bring(self, target: Replica) -> None:
        """Have whoever leads the target hand over to this replica of it, once."""
        if self._has_asked:
            return
        running = [one.store for one in self.stores if one.store is not None]
        for leader in (store.registry.get(target.id) for store in running):
            if leader is not None and leader.leads:
                self._has_asked = True
                self.cluster.transfer(leader, target.peer)

    def _neighbour(self, item: SimStore, replica: Replica) -> Replica | None:
        assert item.store is not None
        following = item.store.registry.following(replica.id, 1)
        return next(following, None)
