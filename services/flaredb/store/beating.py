"""Beats between stores that share regions, and what a lost bus means for everybody's timers."""

from flaredb.store.context import Context
from flaredb.store.liveness import Change, Liveness
from flaredb.store.records import ReplicaState


class Beating:
    """Tells the neighbours that this store lives, and notices who falls silent.

    Invariant: every store that shares a region with this one is expected to be heard; whoever is
    heard hears this one, since it may know of a region that they share before this one does.
    """

    __slots__ = ("_context", "_expected", "_liveness")

    def __init__(self, context: Context, liveness: Liveness) -> None:
        self._context = context
        self._liveness = liveness
        self._expected = -1
        """The version of the registry whose neighbours are expected."""

    def tick(self) -> list[Change]:
        """Once per tick: beat; returns who has become suspect."""
        context = self._context
        neighbours = context.registry.neighbours(context.me.store)
        if self._expected != context.registry.version:
            self._expected = context.registry.version
            for store in sorted(neighbours):
                self._liveness.expect(store, context.now)
        for store in sorted(neighbours | self._liveness.heard_lately(context.now)):
            context.outgoing.beat(store)
        return self._liveness.check(context.now)

    def reconnected(self) -> None:
        """The bus is back: nobody is late, followers wait anew, leaders beat at once."""
        self._liveness.restart(self._context.now)
        for replica in self._context.registry:
            if not replica.asleep and replica.state is not ReplicaState.DAMAGED:
                replica.node.restart_timers()
                replica.node.beat()
                self._context.touch(replica.id)
