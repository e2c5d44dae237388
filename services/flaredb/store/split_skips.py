"""That a region should be cut and cannot be is told once, by whoever found it so."""

from flaredb.store.context import Context
from flaredb.store.history import History
from flaredb.store.replica import Replica
from flaredb_schemas.commands import Size
from flaredb_schemas.events import SplitSkipped
from flaredb_schemas.ids import RegionId

Situation = tuple[int, int]
"""A region's version, and what else must change for it to be worth another word."""


class SplitSkips:
    """What was told of which region.

    Invariants: a region is not told of again as long as its situation stays what it is; of what is
    hosted no longer nothing is kept once another region is told of.
    """

    __slots__ = ("_context", "_history", "_told")

    def __init__(self, context: Context, history: History) -> None:
        self._context = context
        self._history = history
        self._told: dict[RegionId, Situation] = {}

    def tell(
        self, replica: Replica, situation: Situation, trigger: str, reason: str, size: Size
    ) -> None:
        """The region, of this size, should be cut because of `trigger`; why it cannot be."""
        if self._told.get(replica.id) == situation:
            return
        hosted = self._context.registry.get
        self._told = {one: known for one, known in self._told.items() if hosted(one)}
        self._told[replica.id] = situation
        self._history.add_own(
            SplitSkipped(
                id=self._history.next_own_id(),
                at=self._context.clock.wall(),
                region=replica.id,
                store=self._context.me.store,
                version=situation[0],
                trigger=trigger,
                reason=reason,
                keys=size.keys,
                bytes=size.bytes,
            )
        )
