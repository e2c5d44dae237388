"""PD's part in merges: it has both regions led from one store, and has that store merge them.

How far a merge is shows in heartbeats and in what the store tells; whoever asked is answered then,
or when the time is over. Orders are repeated until there is nothing left to order. Where two stores
were ordered, what one of them refuses the other may have begun: of that nobody knows for certain.
"""

from collections.abc import Callable, Set
from typing import Final

from msgspec import Struct, field
from msgspec.structs import replace

from flaredb_pd.decide import Command, OrderMerging
from flaredb_pd.heard import Heard
from flaredb_pd.instant import Instant
from flaredb_pd.orders import Addressed
from flaredb_pd.region_map import Sighting
from flaredb_pd.state import State
from flaredb_schemas.ids import NO_STORE, JournalSequence, RegionId, StoreId
from flaredb_schemas.merges import MergeEnded, OrderMerge
from flaredb_schemas.pd_answers import MergeDone, PdFailure
from flaredb_schemas.placement import Order, OrderBody, TransferLeader
from flaredb_schemas.splits import IN_DOUBT

PATIENCE: Final = 15.0
"""Seconds after which whoever asked for a merge is told that nobody knows what became of it."""

REPEAT: Final = 0.3
"""Seconds between orders for one merge: each says what is next, as far as heartbeats tell."""

MOST_WISHES: Final = 100
"""How many merges people may want at a time."""

OWN_NONCES: Final = 1 << 61
"""The nonces of merges lie above those of splits that PD orders."""

OnEnd = Callable[[OrderMerge, PdFailure | None], None]
"""Hears that a merge is done, or why nothing is known to have come of it."""


class Wish(Struct):
    """A merge that is wanted; `sequence` is its record's, once that stands in the journal.

    `ordered` are the stores that were told to make it.
    """

    body: OrderMerge
    reply: str
    deadline: float
    on_end: OnEnd | None = None
    next_at: float = 0.0
    sequence: JournalSequence | None = None
    ordered: set[StoreId] = field(default_factory=set)


class Merges:
    """The merges that one reign has to do with.

    Invariants: every wish ends once, and is answered if somebody waits for it; no region is in two
    of them; an order leaves only after its record is written.
    """

    def __init__(
        self,
        enqueue: Callable[[Command, Instant], None],
        give: Callable[[Addressed], None],
        answer: Callable[[str, Struct], None],
    ) -> None:
        self._enqueue = enqueue
        self._give = give
        self._answer = answer
        self._wishes: dict[int, Wish] = {}
        self._count = 0

    @property
    def regions(self) -> Set[RegionId]:
        """The regions that are in a merge."""
        bodies = [wish.body for wish in self._wishes.values()]
        return {region for body in bodies for region in (body.region, body.target)}

    @property
    def is_full(self) -> bool:
        """Whether so many are under way that nobody may want another one."""
        return len(self._wishes) >= MOST_WISHES

    def want(
        self,
        source: Sighting,
        target: Sighting,
        trigger: str,
        state: State,
        now: Instant,
        reply: str = "",
        on_end: OnEnd | None = None,
    ) -> None:
        """Have `source` become a part of `target`; `on_end` hears what has come of it."""
        self._count += 1
        body = OrderMerge(
            source.region.id,
            source.region.epoch,
            source.leader,
            target.region.id,
            target.region.epoch,
            OWN_NONCES + (state.epoch << 32) + self._count,
            trigger,
            now.wall,
        )
        self._wishes[body.nonce] = Wish(body, reply, now.seconds + PATIENCE, on_end)
        self._enqueue(OrderMerging(body), now)

    def written(self, command: OrderMerging, state: State) -> None:
        """The record of this command is in the journal, as its last one."""
        wish = self._wishes.get(command.body.nonce)
        if wish is not None:
            wish.sequence = state.sequence

    def ended(self, said: MergeEnded) -> None:
        """A leader tells what became of a merge that it was ordered to begin."""
        wish = self._wishes.get(said.nonce)
        if wish is None or wish.body.region != said.region:
            return
        refused = said.refused
        if refused and wish.ordered - {said.store} and not refused.endswith(IN_DOUBT):
            refused = f"{refused}; {IN_DOUBT}"
        self._end(wish, refused)

    def tick(self, state: State, heard: Heard, now: Instant) -> None:
        """Order what is next; give up what has taken too long."""
        for wish in list(self._wishes.values()):
            if now.seconds >= wish.deadline:
                del self._wishes[wish.body.nonce]
                text = f"nobody has told what became of the merge of region {wish.body.region}"
                hint = "see `flaredb region list`, and try again"
                self._tell(wish, PdFailure("timeout", text, hint))
            elif wish.sequence is not None and now.seconds >= wish.next_at:
                wish.next_at = now.seconds + REPEAT
                self._go_on(wish, wish.sequence, state, heard)

    def _go_on(self, wish: Wish, sequence: JournalSequence, state: State, heard: Heard) -> None:
        body = wish.body
        source, target = heard.regions.get(body.region), heard.regions.get(body.target)
        if target is None or NO_STORE in (target.store, source.store if source else None):
            return
        united = max(body.epoch.version, body.target_epoch.version) < target.region.epoch.version
        if source is None and not united:
            return  # something else holds its keys: it was cut, and has not been told of since
        if source is None:
            self._end(wish, "")
        elif source.region.epoch != body.epoch or (
            # Once it was ordered, the target may be so because it has absorbed the source.
            target.region.epoch != body.target_epoch and not wish.ordered
        ):
            self._end(wish, "one of the two regions is not what it was any more")
        else:
            what = _next(body, source, target)
            if isinstance(what, OrderMerge):
                wish.ordered.add(source.store)
            if what is not None:
                order = Order(state.epoch, sequence, what, state.incarnation)
                self._give(Addressed(source.store, order))

    def _end(self, wish: Wish, refused: str) -> None:
        del self._wishes[wish.body.nonce]
        if refused:
            hint = "see `flaredb region list`, and try again"
            self._tell(wish, PdFailure("refused", refused, hint))
        else:
            self._tell(wish, MergeDone(wish.body.target))

    def _tell(self, wish: Wish, answer: MergeDone | PdFailure) -> None:
        if wish.on_end is not None:
            wish.on_end(wish.body, answer if isinstance(answer, PdFailure) else None)
        if wish.reply:
            self._answer(wish.reply, answer)


def _next(body: OrderMerge, source: Sighting, target: Sighting) -> OrderBody | None:
    """What the source's leader is to do next."""
    if source.store == target.store:
        return replace(body, leader=source.leader)
    there = source.region.peer_on(StoreId(target.store))
    lost = source.report.lost if source.report is not None else ()
    if there is None or there.id in lost:
        return None
    return TransferLeader(body.region, body.epoch, source.leader, there.id)
