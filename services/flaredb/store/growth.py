"""Regions that have grown past what the settings allow are cut, by their leader's own wish.

Looked at only when what a region has applied is saved, so that idle regions cost nothing; and again
after an attempt that came to nothing, since a region that must be cut may not be written to again.
Its size is that of `AppliedState`, which says how exact it is. Rows are counted before every cut
anyway, to find where to cut, and none is made where there are fewer than was thought.
"""

import math
from typing import Final

from msgspec import Struct

from flaredb.kv.machine import AppliedState
from flaredb.store.context import Context
from flaredb.store.history import History
from flaredb.store.records import ReplicaState
from flaredb.store.replica import Replica
from flaredb.store.split_orders import SplitOrders, Task, Vain, Wish
from flaredb.store.split_skips import SplitSkips
from flaredb_schemas.commands import Size
from flaredb_schemas.ids import RegionId

MOST_PIECES: Final = 8
"""Into how many a region is cut at once, at most."""

MOST_COPIED: Final = 8_192
"""How many lanes are copied in one cut, at most, unless it is into two: each new region has the
whole session table, and all is applied and saved at once, during which other regions wait (about
2 µs of the turn per lane, and as much of the writer)."""

RETRY_SECONDS: Final = 10.0
"""How long to wait after an attempt that came to nothing, for instance because PD was away."""

RETRY_SHARE: Final = 8
"""A region that was counted in vain is counted again when it has grown by an eighth of what it may
hold: time alone changes nothing."""


class Pause(Struct, frozen=True):
    """Until when, and below which size, a region is not looked at again; it is then."""

    until: float
    size: Size


class Growth:
    """Watches the sizes of the regions that are led here.

    Invariants: one attempt per region is under way; a region that cannot be cut is told of once as
    long as its version and its number of keys stay what they are; no pause ends before `_due`;
    what is hosted no longer is forgotten when the next pause begins.
    """

    __slots__ = ("_context", "_due", "_most", "_orders", "_paused", "_skips")

    def __init__(self, context: Context, orders: SplitOrders, history: History) -> None:
        self._context = context
        self._orders = orders
        self._most = Size(context.settings.split_keys, context.settings.split_bytes)
        self._paused: dict[RegionId, Pause] = {}
        self._due = math.inf
        self._skips = SplitSkips(context, history)

    def note(self, replica: Replica) -> None:
        """What the replica has applied was saved: have it cut if it is too large."""
        state = replica.machine.state
        trigger = self._trigger(state)
        if trigger is None or not replica.leads or self._is_paused(replica.id, state):
            return
        now = self._context.clock.wall()
        pieces = self._pieces(state, len(replica.machine.sessions))
        wish = Wish(trigger, now, pieces=pieces, at_least=self._most)
        if not self._orders.want(replica, wish, self._ended):
            self._pause(replica, self._context.now + RETRY_SECONDS)

    def tick(self) -> None:
        """Once per tick: look again at those whose pause is over."""
        now = self._context.now
        if now < self._due:
            return
        over = [region for region, pause in self._paused.items() if pause.until <= now]
        for region in over:
            del self._paused[region]
        self._due = min((pause.until for pause in self._paused.values()), default=math.inf)
        for region in over:
            replica = self._context.registry.get(region)
            if replica is not None and replica.state is ReplicaState.LIVE:
                self.note(replica)

    def _trigger(self, state: AppliedState) -> str | None:
        if state.bytes >= self._most.bytes:
            return "bytes"
        return "keys" if state.keys >= self._most.keys else None

    def _pieces(self, state: AppliedState, lanes: int) -> int:
        """As few as it takes for none to be larger than allowed, so none is smaller than half.

        Where its session table of so many lanes is large, fewer: these are cut again.
        """
        times = max(-(-state.bytes // self._most.bytes), -(-state.keys // self._most.keys))
        return max(2, min(MOST_PIECES, times, 1 + MOST_COPIED // max(1, lanes)))

    def _is_paused(self, region: RegionId, state: AppliedState) -> bool:
        pause = self._paused.get(region)
        if pause is None:
            return False
        grown = state.bytes >= pause.size.bytes or state.keys >= pause.size.keys
        return self._context.now < pause.until and not grown

    def _ended(self, task: Task, vain: Vain | None, reason: str) -> None:
        replica = task.replica
        if vain is None or not self._context.registry.current(replica):
            self._paused.pop(replica.id, None)
            return
        retried = vain is Vain.FAILED
        self._pause(replica, self._context.now + RETRY_SECONDS if retried else math.inf)
        if vain is Vain.UNCUTTABLE:
            self._skip(task, reason)

    def _pause(self, replica: Replica, until: float) -> None:
        """Nothing comes of it now: look again at `until`, or when it has grown."""
        now, most, hosted = replica.machine.state.size, self._most, self._context.registry.get
        size = Size(
            now.keys + most.keys // RETRY_SHARE + 1, now.bytes + most.bytes // RETRY_SHARE + 1
        )
        self._paused = {one: pause for one, pause in self._paused.items() if hosted(one)}
        self._paused[replica.id] = Pause(until, size)
        self._due = min(self._due, until)

    def _skip(self, task: Task, reason: str) -> None:
        assert task.weights is not None
        replica, size = task.replica, task.weights.whole
        situation = (replica.region.epoch.version, size.keys)
        self._skips.tell(replica, situation, task.body.trigger, reason, size)
