"""A split reaches a store after the child's peer there has left: it must not come to life.

A follower hears nothing of whoever leads its region, and the region is cut. The child is led from
another store, which the follower hears; its peer on the follower's store is moved away, and buried
there unseen. Then the follower catches up, and with it comes the split.
"""

import msgspec

from flaredb.disk.layout import TOMBSTONE, region_rows
from flaredb.store.replica import Replica
from flaredb_schemas.ids import RegionId
from flaredb_schemas.pd_answers import MoveQuery, SplitQuery
from tests.simulator.calls import all_keys
from tests.simulator.schemes.scheme import Scheme
from tests.simulator.stores import SimStore

NAME = "scheme"
PAUSE_SECONDS = 0.5
"""A wish may be refused or lost: it is repeated."""


class LateSplit(Scheme):
    """A leader, a follower that misses a split, and a third that leads the child."""

    _leader: SimStore
    _straggler: SimStore
    _child = RegionId(0)
    _next = 0.0
    """When the next wish may be told."""

    def first(self, item: SimStore, replica: Replica) -> None:
        """Part a follower from its leader, and have the region cut."""
        key, spare = self._key(replica), self._spare(replica)
        if not replica.leads or key is None or spare is None or len(replica.region.peers) != 3:
            return
        others = [self.host_of(replica, peer.id) for peer in replica.region.peers]
        followers = [one for one in others if one is not None and one is not item]
        if not followers:
            return
        self._leader, self._straggler = item, self.world.dice.choice(followers)
        names = (item.name, self._straggler.name)
        self._links = {names, names[::-1]}
        self.world.network.cut |= self._links
        self.world.note("cut", f"{names[0]} from {names[1]}, as LateSplit wants it")
        self._wish("split", SplitQuery(self.region, key))
        self.step = self._cut

    def _cut(self, item: SimStore, replica: Replica) -> None:
        """The leader has carried out the split: another is to lead the child."""
        if item is not self._leader or not replica.leads or item.store is None:
            return
        child = next(item.store.registry.following(replica.id, 1), None)
        version = replica.region.epoch.version
        if child is None or child.region.epoch.version != version or not self._is_time():
            return
        heirs = [
            peer.id
            for peer in child.region.peers
            if self.host_of(child, peer.id) not in (None, item, self._straggler)
        ]
        if child.leads and heirs:
            self.cluster.transfer(child, heirs[0])
        elif heirs:
            self._child = child.id
            self.step = self._led_elsewhere

    def _led_elsewhere(self, item: SimStore, replica: Replica) -> None:
        """The child's peer on the store that knows nothing of it goes to a fourth one."""
        if self._is_buried():
            self.end()
            return
        child = item.store.registry.get(self._child) if item.store is not None else None
        straggler = self._straggler.store
        if child is None or not child.leads or straggler is None or not self._is_time():
            return
        spare, source = self._spare(child), straggler.me.store
        if spare is not None and spare.store is not None and child.region.peer_on(source):
            self._wish("move", MoveQuery(self._child, source, spare.store.me.store))

    def _is_buried(self) -> bool:
        store = self._straggler.store
        if store is None:
            return False
        rows = store._context.disk.view.scan(*region_rows(TOMBSTONE, self._child))
        return next(iter(rows), None) is not None

    def _is_time(self) -> bool:
        """Whether the last wish was told long enough ago; then the next pause begins."""
        now = self.world.clockwork.now
        if now < self._next:
            return False
        self._next = now + PAUSE_SECONDS
        return True

    def _key(self, replica: Replica) -> bytes | None:
        keys = replica.region.keys
        known = all_keys(self.world.options.workload.keys)
        inside = [key for key in known if keys.contains(key) and key != keys.start]
        return inside[len(inside) // 2] if inside else None

    def _spare(self, replica: Replica) -> SimStore | None:
        """A running store without a peer of the region."""
        for item in self.stores:
            if item.store is not None and item.store.me.store not in replica.region.stores:
                return item
        return None

    def _wish(self, what: str, query: msgspec.Struct) -> None:
        subject = self.world.subjects.pd_admin(what)
        self.world.network.send(NAME, subject, msgspec.json.encode(query), f"_INBOX.{NAME}")
