"""Merges that people want, also of neighbours on different stores: they are brought together.

A replica of the source after the other goes where the target has one, by ordinary operators, under
the hard rules of the one door; then the two are merged. Such a wish lives in one reign: a PD that
takes over goes on with the operator that runs, and knows nothing of what was to follow.
"""

from collections import OrderedDict
from collections.abc import Callable, Set
from functools import partial
from typing import Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from flaredb_pd.conductor import Conductor
from flaredb_pd.config import Config
from flaredb_pd.heard import Heard
from flaredb_pd.instant import Instant
from flaredb_pd.locations import locate
from flaredb_pd.merge_pairs import find_obstacle, find_pair, less_apart
from flaredb_pd.merges import Merges
from flaredb_pd.operators import Operator
from flaredb_pd.placing import Stores, told_stores
from flaredb_pd.proposals import LIMIT, MANUAL, Proposal
from flaredb_pd.region_map import Sighting, are_alike
from flaredb_pd.small_regions import TOGETHER, apart
from flaredb_pd.splits import WAIT_FOR_OPERATOR
from flaredb_pd.state import State
from flaredb_pd.watch import StoreWatch
from flaredb_schemas.ids import OperatorId, RegionId
from flaredb_schemas.merges import OrderMerge
from flaredb_schemas.pd_answers import (
    MergeDone,
    MergeQuery,
    MergeRow,
    MergesAnswer,
    MergesQuery,
    PdFailure,
)

REPEAT: Final = 0.5
"""Seconds between two looks at a wish."""

STUCK_SECONDS: Final = 30.0
"""How long a wish may stand still before it is given up, with what is in the way."""

MOST_ENDED: Final = 100
"""How many wishes that have ended are still known by their number."""

GOOD: Final = ("done", "replaced")
"""How a wish's operator may end for it to go on; `replaced` is it by a repair, which goes first."""

NOTHING: Final = "nothing has gone on for some time, and nobody knows why"
CHANGED: Final = "one of the two regions is not what it was any more"

_wishes = msgspec.json.Decoder(MergeQuery)
_questions = msgspec.json.Decoder(MergesQuery)


class Wish(Struct):
    """Two regions that are brought together, and what is told of it.

    `versions` are those of the two when it was wished for, at the time `at` in milliseconds.
    `obstacle` is why nothing goes on now; at `moved_at` seconds an operator was seen last. A merge
    is ordered while `merging`, and was at least once if `tried`.
    """

    row: MergeRow
    versions: tuple[int, int]
    at: int
    moved_at: float
    next_at: float
    obstacle: PdFailure | None = None
    merging: bool = False
    tried: bool = False

    @property
    def regions(self) -> tuple[RegionId, RegionId]:
        """The source and the target."""
        return self.row.source, self.row.target


class MergeWishes:
    """What people want merged, in one reign.

    Invariants: no region is in two wishes that run; whatever runs has something under way, or ends
    within `STUCK_SECONDS`; of those that have ended the last `MOST_ENDED` are known.
    """

    def __init__(
        self,
        config: Config,
        watch: StoreWatch,
        merges: Merges,
        conductor: Conductor,
        why_changing: Callable[[RegionId], str],
        answer: Callable[[str, Struct], None],
    ) -> None:
        self._config = config
        self._watch = watch
        self._merges = merges
        self._conductor = conductor
        self._why_changing = why_changing
        self._answer = answer
        self._running: dict[int, Wish] = {}
        self._ended: OrderedDict[int, MergeRow] = OrderedDict()
        self._count = 0

    @property
    def regions(self) -> Set[RegionId]:
        """The regions that are being brought together: nobody else moves them, but to repair."""
        return {region for wish in self._running.values() for region in wish.regions}

    def wish(self, payload: bytes, reply: str, state: State, heard: Heard, now: Instant) -> None:
        """Somebody wants two regions merged; the answer goes to `reply`."""
        try:
            query = _wishes.decode(payload)
        except (msgspec.DecodeError, ValueError, RecursionError) as fault:
            hint = 'send JSON like {"region": 5, "into": 4}'
            self._answer(reply, PdFailure("malformed", f"not a wish for a merge: {fault}", hint))
            return
        known = self._find(query)
        pair = find_pair(query, heard.regions) if known is None else known
        if isinstance(pair, MergeRow):
            self._answer(reply, MergeDone(pair.target, pair))
        elif isinstance(pair, PdFailure):
            self._answer(reply, pair)
        elif busy := self._why_busy(*pair, state):
            self._answer(reply, busy)
        elif (under_way := _coming_closer(pair[0], state)) is not None:
            self._answer(reply, self._note(*pair, under_way.started.at, state, now))
        elif are_alike(pair[0].region, pair[1].region):
            self._merges.want(*pair, "manual", state, now, reply)
        else:
            self._answer(reply, self._begin(*pair, state, heard, now))

    def tell(self, payload: bytes) -> MergesAnswer | PdFailure:
        """The wishes of this reign by number, or the one that the JSON `payload` asks for."""
        try:
            query = _questions.decode(payload) if payload.strip() else MergesQuery()
        except (msgspec.DecodeError, ValueError, RecursionError) as fault:
            hint = 'send nothing, or JSON like {"merge": 4294967297}'
            return PdFailure("malformed", f"not a question for merges: {fault}", hint)
        rows = [*self._ended.values(), *(wish.row for wish in self._running.values())]
        wanted = [row for row in rows if query.merge in (None, row.merge)]
        return MergesAnswer(tuple(sorted(wanted, key=lambda row: row.merge)))

    def tick(self, state: State, heard: Heard, now: Instant) -> None:
        """Do what is next; give up what cannot go on."""
        for wish in list(self._running.values()):
            if now.seconds >= wish.next_at:
                wish.next_at = now.seconds + REPEAT
                self._go_on(wish, state, heard, now)

    def _find(self, query: MergeQuery) -> MergeRow | None:
        """The same wish, if it runs already: who asks again goes on waiting."""
        rows = (wish.row for wish in self._running.values())
        same = (row for row in rows if row.source == query.region)
        return next((row for row in same if query.into in (None, row.target)), None)

    def _why_busy(self, source: Sighting, target: Sighting, state: State) -> PdFailure | None:
        regions = [source.region.id, target.region.id]
        taken = self._merges.regions | self.regions
        if any(region in taken for region in regions) or self._merges.is_full:
            return PdFailure("busy", "another merge is under way here", "try again later")
        if _coming_closer(source, state) is not None:
            regions.remove(source.region.id)
        busy = next(filter(None, (self._conductor.why_busy(one, state) for one in regions)), "")
        return PdFailure("busy", busy, WAIT_FOR_OPERATOR) if busy else None

    def _begin(
        self, source: Sighting, target: Sighting, state: State, heard: Heard, now: Instant
    ) -> MergeDone | PdFailure:
        move = self._next_move(source, target, state, heard)
        if isinstance(move, PdFailure):
            return move
        refused = self._refusal_later(move, target, state, heard) or self._offer(
            move, state, heard, now
        )
        return refused or self._note(source, target, now.wall, state, now)

    def _note(
        self, source: Sighting, target: Sighting, since: int, state: State, now: Instant
    ) -> MergeDone:
        """From now on this is wished for; what brings them together was started at `since`."""
        assert not self.regions & {source.region.id, target.region.id}, "a region in two wishes"
        self._count += 1
        number, regions = (state.epoch << 32) + self._count, (source.region.id, target.region.id)
        doing = f"region {regions[0]} is first moved next to region {regions[1]}"
        row = MergeRow(number, *regions, "running", OperatorId(0), doing)
        versions = source.region.epoch.version, target.region.epoch.version
        self._running[number] = Wish(row, versions, since, now.seconds, now.seconds)
        return MergeDone(regions[1], row)

    def _next_move(
        self, source: Sighting, target: Sighting, state: State, heard: Heard
    ) -> Proposal | PdFailure:
        coming = self._conductor.coming(state)
        refused = find_obstacle(source, target, heard, coming)
        if refused is not None:
            return refused
        places = locate(state, heard, self._config.location_labels)
        is_up, is_down = self._watch.is_up, self._watch.is_down
        stores = Stores(state, heard, is_up, is_down, coming, places)
        move = apart(source, target, stores, MANUAL, told_stores)
        return move or less_apart(source, target)

    def _refusal_later(
        self, move: Proposal, target: Sighting, state: State, heard: Heard
    ) -> PdFailure | None:
        """Why a store that is to get a replica later can get none; limits may be over by then."""
        known = heard.regions.get(move.region)
        held = known.region.stores if known is not None else ()
        for store in target.region.stores:
            if store not in held:
                later = replace(move, add=store)
                plan = self._conductor.judge(later, state, heard, self._why_changing)
                if isinstance(plan, PdFailure) and plan.code != LIMIT:
                    return plan
        return None

    def _offer(self, move: Proposal, state: State, heard: Heard, now: Instant) -> PdFailure | None:
        return self._conductor.propose(move, state, heard, self._why_changing, now)

    def _go_on(self, wish: Wish, state: State, heard: Heard, now: Instant) -> None:
        running = (state.operators.running.get(region) for region in wish.regions)
        operator, own = next(filter(None, running), None), _last_own(wish, state)
        if own is not None:
            wish.row = replace(wish.row, operator=own.id)
        if operator is not None:
            wish.obstacle, wish.moved_at = None, now.seconds
            wish.row = replace(wish.row, doing=_show(wish, operator, operator == own))
        elif wish.merging:
            return
        elif wish.tried and heard.regions.get(wish.row.source) is None:
            self._end(wish, None)
        elif own is not None and own.ended is not None and own.ended.outcome not in GOOD:
            self._end(wish, _unfinished(own, own.ended.outcome, own.ended.reason))
        elif (pair := _pair(wish, heard)) is None:
            self._end(wish, PdFailure("refused", CHANGED, "see `flaredb region list`"))
        elif not self._is_stuck(wish, now):
            wish.obstacle = self._next_step(wish, *pair, state, heard, now)

    def _is_stuck(self, wish: Wish, now: Instant) -> bool:
        """Note what stands in the way; whether nothing has gone on for too long."""
        if wish.obstacle is not None:
            wish.row = replace(wish.row, doing=wish.obstacle.message)
        if now.seconds - wish.moved_at < STUCK_SECONDS:
            return False
        self._end(wish, wish.obstacle or PdFailure("timeout", NOTHING, "ask again"))
        return True

    def _next_step(
        self,
        wish: Wish,
        source: Sighting,
        target: Sighting,
        state: State,
        heard: Heard,
        now: Instant,
    ) -> PdFailure | None:
        """Have one more replica moved, or the two merged, if nothing stands in the way."""
        if are_alike(source.region, target.region):
            wish.merging = wish.tried = True
            doing = f"region {source.region.id} becomes a part of region {target.region.id}"
            wish.row = replace(wish.row, doing=doing)
            on_end = partial(self._merged, wish)
            self._merges.want(source, target, "manual", state, now, on_end=on_end)
            return wish.obstacle
        move = self._next_move(source, target, state, heard)
        return move if isinstance(move, PdFailure) else self._offer(move, state, heard, now)

    def _merged(self, wish: Wish, _: OrderMerge, refused: PdFailure | None) -> None:
        wish.merging, wish.obstacle = False, refused
        if refused is None:
            self._end(wish, None)

    def _end(self, wish: Wish, refused: PdFailure | None) -> None:
        row = replace(wish.row, state="done", doing="")
        if refused is not None:
            row = replace(row, state="refused", doing=refused.message, hint=refused.hint)
        del self._running[row.merge]
        self._ended[row.merge] = wish.row = row
        while len(self._ended) > MOST_ENDED:
            self._ended.popitem(last=False)


def _pair(wish: Wish, heard: Heard) -> tuple[Sighting, Sighting] | None:
    """The two, if they are still what they were, but for where they stand."""
    source, target = (heard.regions.get(region) for region in wish.regions)
    if source is None or target is None:
        return None
    versions = source.region.epoch.version, target.region.epoch.version
    return (source, target) if versions == wish.versions else None


def _coming_closer(source: Sighting, state: State) -> Operator | None:
    """What brings a region closer to a neighbour already, for an earlier wish or a small region."""
    running = state.operators.running.get(source.region.id)
    return running if running is not None and running.started.trigger == TOGETHER else None


def _last_own(wish: Wish, state: State) -> Operator | None:
    """The last operator that moves, or has moved, a replica for this wish."""
    operators = state.operators
    known = [*operators.ended, *operators.running.values()]
    own = (one for one in known if one.region == wish.row.source and _is_own(one, wish.at))
    return max(own, key=lambda one: one.id, default=None)


def _is_own(one: Operator, since: int) -> bool:
    started = one.started
    return (started.trigger, started.priority) == (TOGETHER, MANUAL) and started.at >= since


def _show(wish: Wish, operator: Operator, is_own: bool) -> str:
    source, target = wish.regions
    if is_own:
        return f"region {source} is first moved next to region {target}: operator {operator.id}"
    kind, region = operator.started.kind, operator.region
    return f"operator {operator.id} ({kind}) is under way on region {region}"


def _unfinished(own: Operator, outcome: str, reason: str) -> PdFailure:
    source = own.region
    text = f"operator {own.id}, which moved region {source} for it, was not finished"
    hint = f"see `flaredb operator show {own.id}`; or ask again"
    return PdFailure("refused", f"{text}: {outcome}, {reason}", hint)
