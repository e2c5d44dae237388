"""A merge takes effect on this store: the target grows over the source, which is buried.

A target whose log says so waits until the source's replica here has applied that it agreed; all it
needs is in its log already. Then one batch, the next one, holds the target's record, sessions and
events and the source's tombstone. No rows move.
"""

import logging
from collections.abc import Callable
from typing import Final, assert_never

from flaredb.kv.machine import Effects
from flaredb.store.applying import Wait
from flaredb.store.cleaning import Cleaning
from flaredb.store.context import Context
from flaredb.store.merge_orders import MergeOrders
from flaredb.store.records import CorruptRecordError, ReplicaState, Tombstone
from flaredb.store.registry import RegionPeer
from flaredb.store.replica import Replica
from flaredb.store.serving import refuse_all
from flaredb.store.sleeping import Sleeping
from flaredb_schemas.commands import AbortMerge, CommitMerge, Merge, PrepareMerge, RollBackMerge
from flaredb_schemas.ids import RegionId
from flaredb_schemas.keys import KeyRange, show_range
from flaredb_schemas.regions import Epoch, Region

log: Final = logging.getLogger(__name__)


class Merging:
    """Carries out what entries about merges ask of this store.

    Invariants: a region is absorbed only by a replica beside its own, which has applied that it
    agreed to that very merge; `_waiting` are the targets that wait for that.
    """

    __slots__ = ("_cleaning", "_context", "_on_change", "_orders", "_sleeping", "_waiting")

    def __init__(
        self,
        context: Context,
        sleeping: Sleeping,
        cleaning: Cleaning,
        orders: MergeOrders,
        on_change: Callable[[Replica], None],
    ) -> None:
        """`on_change` is told of every region that a step of a merge has changed."""
        self._context = context
        self._sleeping = sleeping
        self._cleaning = cleaning
        self._orders = orders
        self._on_change = on_change
        self._waiting: dict[RegionId, None] = {}

    def source(self, target: Replica, command: CommitMerge) -> Replica | Wait | None:
        """The replica that `target` is to absorb; None where the command will have no effect.

        Raises `CorruptRecordError` where the source's rows here are lost: then so are the target's.
        """
        self._waiting.pop(target.id, None)
        named = Epoch(command.conf_ver, command.version)
        if target.region.epoch != named or target.machine.state.merging is not None:
            return None
        source = self._context.registry.get(command.source)
        if source is None or source.state in (ReplicaState.DAMAGED, ReplicaState.EMPTY):
            raise CorruptRecordError(f"region {command.source}, a part of it now, is lost here")
        merging = source.machine.state.merging
        if source.state is ReplicaState.LIVE and merging and merging.index == command.index:
            return source
        behind = source.machine.state.index < command.index
        assert behind or source.state is ReplicaState.INSTALLING, (
            f"region {source.id} went on beside its merge into {target.id}"
        )
        self._hurry(source, command)
        self._waiting[target.id] = None
        return Wait.WAIT

    def _hurry(self, source: Replica, command: CommitMerge) -> None:
        """What the target knows to be committed the source need not wait for.

        But for one whose snapshot is being installed: that takes it to the snapshot's index, and
        what is committed there already is never given up.
        """
        if source.state is ReplicaState.LIVE:
            source.node.learn_commit(command.index, command.term)
        self._sleeping.wake(source)
        self._context.touch(source.id)

    def applied(self, replica: Replica, command: Merge, effects: Effects) -> None:
        """A step of a merge was applied in `replica`'s log."""
        if not effects.events:
            return  # it came too late, and changed nothing
        match command:
            case PrepareMerge():
                self.note(replica)
            case CommitMerge():
                self._absorb(replica, command.source)
            case AbortMerge():
                self._context.saver.rewritten(replica)
            case RollBackMerge():
                self._orders.ended(replica.id, "the merge was given up")
            case _:
                assert_never(command)
        if replica.leads:
            # So that nobody waits for the others longer than they need.
            self._context.outgoing.tell_commit(replica.id)
        self._on_change(replica)

    def note(self, replica: Replica) -> None:
        """A replica is here whose region may have agreed to be merged."""
        self._orders.note(replica)
        if replica.machine.state.merging is not None:
            self._context.touch(replica.machine.state.merging.target)

    def tick(self) -> None:
        """Once per tick: look again at the targets that wait."""
        for target in list(self._waiting):
            replica = self._context.registry.get(target)
            if replica is None or not replica.applying or replica.state is not ReplicaState.LIVE:
                del self._waiting[target]  # a snapshot has brought what it waited for
            else:
                self._context.touch(target)

    def _absorb(self, target: Replica, absorbed: RegionId) -> None:
        context = self._context
        source = context.registry.get(absorbed)
        assert source is not None, "what was absorbed was here"
        context.saver.rewritten(target)
        context.saver.take_over_events(target, source)
        self.bury(source, target.id)
        context.registry.move(target)
        context.counters.merges += 1
        self._sleeping.wake(target)
        log.info("region %s absorbed %s: %s", target.id, absorbed, show_range(target.region.keys))

    def bury_part(self, absorbed: RegionId, into: Region) -> None:
        """A snapshot says that it is a part of `into` by now: it makes room for that.

        A later split may have taken some of its keys away: of these no row stays.
        """
        part = self._context.registry.get(absorbed)
        if part is not None:
            self.bury(part, into.id, part.region.keys.without(into.keys))
        else:
            self._cleaning.bury_damaged(absorbed, into.id, (into.keys,))

    def bury(self, source: Replica, absorbed_by: RegionId, left: tuple[KeyRange, ...] = ()) -> None:
        """The region is a part of another one: its replica here is no more.

        `left` are those of its keys that nobody here takes over; they are cleaned.
        """
        context, tombstone = self._context, Tombstone(absorbed_by, left)
        refuse_all(context, source)
        source.state = ReplicaState.GONE
        name = RegionPeer(source.id, source.peer)
        context.saver.buried(source, tombstone, source.peer)
        context.registry.bury(name)
        context.saver.then(lambda: context.registry.unbury(name))
        context.registry.remove(source.id)
        context.wheel.forget(source.id)
        self._sleeping.forget(source)
        self._orders.ended(source.id, "")
        self._cleaning.begin(name, tombstone)
