"""PD's part in splits: it has a leader cut its region, grants the ids, and registers what came.

Whoever asks PD to cut a region is answered when the leader has told what became of it, or when the
time is over; if another one leads meanwhile, that one is to cut it. A leader asks for ids until it
has them; it gets the same ones as long as this reign remembers them, and fresh ones after that.
Everything else is the leader's own affair.
"""

from collections import OrderedDict
from collections.abc import Callable, Set
from typing import Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from flaredb_pd.decide import Command, GrantFresh, OrderCut, Register
from flaredb_pd.heard import Heard
from flaredb_pd.instant import Instant
from flaredb_pd.orders import Addressed
from flaredb_pd.region_map import Sighting
from flaredb_pd.state import State
from flaredb_schemas.ids import NO_STORE, RegionId, StoreId
from flaredb_schemas.keys import show_key, show_range
from flaredb_schemas.pd_answers import PdFailure, SplitDone, SplitQuery
from flaredb_schemas.placement import Heartbeat, Order
from flaredb_schemas.splits import AskIds, GrantIds, OrderSplit, SplitEnded

PATIENCE: Final = 10.0
"""Seconds after which whoever asked for a split is told that nobody knows what became of it."""

REPEAT: Final = 0.5
"""An order that has not been answered for so many seconds is given again: it may have been lost."""

MOST_WISHES: Final = 1_000
MOST_GRANTS: Final = 1_000

WAIT_FOR_OPERATOR: Final = "wait until it has ended, or cancel it: `flaredb operator list`"

_SEE_REGIONS: Final = "see `flaredb region list`, and try again"

_queries = msgspec.json.Decoder(SplitQuery)

Enqueue = Callable[[Command, Instant], None]
Give = Callable[[Addressed], None]
"""Give an order if orders may be given now."""
Answer = Callable[[str, Struct], None]


class Wish(Struct):
    """A split that somebody waits for; `order` is set once it stands in the journal."""

    body: OrderSplit
    store: StoreId
    reply: str
    deadline: float
    repeat_at: float = 0.0
    order: Order | None = None


class Splits:
    """The splits that one reign has to do with.

    Invariants: every wish is answered once; an order leaves only after its record is written; no id
    is given to two askers.
    """

    def __init__(self, enqueue: Enqueue, give: Give, answer: Answer) -> None:
        self._enqueue = enqueue
        self._give = give
        self._answer = answer
        self._wishes: dict[int, Wish] = {}
        self._granted: OrderedDict[tuple[StoreId, RegionId, int], Addressed] = OrderedDict()
        self._count = 0

    @property
    def regions(self) -> Set[RegionId]:
        """The regions that are being cut because somebody wishes it."""
        return {wish.body.region for wish in self._wishes.values()}

    def wish(
        self,
        payload: bytes,
        reply: str,
        state: State,
        heard: Heard,
        why_busy: Callable[[RegionId], str],
        now: Instant,
    ) -> None:
        """Somebody wants a region cut; the answer goes to `reply`."""
        try:
            query = _queries.decode(payload)
        except (msgspec.DecodeError, ValueError, RecursionError) as fault:
            hint = 'send JSON like {"region": 4, "key_b64": null}'
            self._answer(reply, PdFailure("malformed", f"not a wish for a split: {fault}", hint))
            return
        sighting = heard.regions.get(query.region)
        refused = _refusal(query, sighting)
        if refused is None and len(self._wishes) >= MOST_WISHES:
            refused = PdFailure("busy", "too many splits are under way", "try again later")
        busy = why_busy(query.region)
        if refused is None and busy:
            refused = PdFailure("busy", busy, WAIT_FOR_OPERATOR)
        if refused is not None:
            self._answer(reply, refused)
            return
        assert sighting is not None
        body = OrderSplit(
            sighting.region.id,
            sighting.region.epoch,
            sighting.leader,
            self._fresh_nonce(state),
            () if query.key_b64 is None else (query.key_b64,),
            "manual",
            now.wall,
        )
        self._undertake(Wish(body, sighting.store, reply, now.seconds + PATIENCE), now)

    def written(self, command: OrderCut | GrantFresh, state: State, now: Instant) -> None:
        """The record of this command is in the journal, as its last one."""
        match command:
            case OrderCut(body):
                wish = self._wishes.get(body.nonce)
                if wish is not None:
                    wish.order = Order(state.epoch, state.sequence, body, state.incarnation)
                    self._repeat(wish, now)
            case GrantFresh(ask):
                first = state.highest_id - ask.count + 1
                grant = GrantIds(ask.region, ask.nonce, first, ask.count)
                order = Order(state.epoch, state.sequence, grant, state.incarnation)
                granted = Addressed(ask.store, order)
                self._granted[ask.store, ask.region, ask.nonce] = granted
                while len(self._granted) > MOST_GRANTS:
                    self._granted.popitem(last=False)
                self._give(granted)

    def asked(self, ask: AskIds, now: Instant) -> None:
        """A leader wants ids."""
        known = self._granted.get((ask.store, ask.region, ask.nonce))
        if known is not None:
            self._give(known)
        else:
            self._enqueue(GrantFresh(ask), now)

    def ended(self, said: SplitEnded) -> None:
        """A leader tells what became of a split that it was ordered to make."""
        wish = self._wishes.get(said.nonce)
        if wish is None or wish.store != said.store:
            return
        del self._wishes[said.nonce]
        if said.refused:
            hint = "see `flaredb region show`, and try again"
            self._answer(wish.reply, PdFailure("refused", said.refused, hint))
        else:
            self._answer(wish.reply, SplitDone(tuple(region.id for region in said.regions)))

    def heard(self, beat: Heartbeat, state: State, heard: Heard, now: Instant) -> None:
        """A heartbeat was taken in: regions that the journal does not know are registered."""
        unknown = [one.id for one in beat.regions if one.id not in state.registered]
        found = [heard.regions.get(region) for region in unknown]
        regions = tuple(one.region for one in found if one is not None)
        if regions:
            self._enqueue(Register(regions), now)
        led = {one.id for one in beat.regions}
        for wish in [wish for wish in self._wishes.values() if wish.body.region in led]:
            self._follow(wish, state, heard, now)

    def tick(self, now: Instant) -> None:
        """Repeat what may have been lost; give up what has taken too long."""
        for nonce, wish in list(self._wishes.items()):
            if now.seconds >= wish.deadline:
                del self._wishes[nonce]
                self._answer(wish.reply, PdFailure("timeout", _untold(wish), _SEE_REGIONS))
            elif wish.order is not None and now.seconds >= wish.repeat_at:
                self._repeat(wish, now)

    def _follow(self, wish: Wish, state: State, heard: Heard, now: Instant) -> None:
        """Whoever leads the region now is to cut it, if it is still what it was: of all cuts that
        are proposed at one epoch, one takes effect at most."""
        sighting = heard.regions.get(wish.body.region)
        if sighting is None or sighting.store == NO_STORE or sighting.leader == wish.body.leader:
            return
        del self._wishes[wish.body.nonce]
        if sighting.region.epoch != wish.body.epoch:
            text = f"{_untold(wish)}: region {wish.body.region} is another one now"
            self._answer(wish.reply, PdFailure("timeout", text, _SEE_REGIONS))
        else:
            body = replace(wish.body, leader=sighting.leader, nonce=self._fresh_nonce(state))
            self._undertake(Wish(body, sighting.store, wish.reply, wish.deadline), now)

    def _undertake(self, wish: Wish, now: Instant) -> None:
        self._wishes[wish.body.nonce] = wish
        self._enqueue(OrderCut(wish.body, wish.store), now)

    def _fresh_nonce(self, state: State) -> int:
        self._count += 1
        return (state.epoch << 32) + self._count

    def _repeat(self, wish: Wish, now: Instant) -> None:
        assert wish.order is not None
        wish.repeat_at = now.seconds + REPEAT
        self._give(Addressed(wish.store, wish.order))


def _untold(wish: Wish) -> str:
    return f"store {wish.store} has not told what became of the split"


def _refusal(query: SplitQuery, sighting: Sighting | None) -> PdFailure | None:
    """Why the region cannot be cut so, as far as PD knows."""
    if sighting is None:
        text = f"there is no region {query.region}"
        return PdFailure("unknown_region", text, "see `flaredb region list`")
    if sighting.store == NO_STORE:
        text = f"region {query.region} has no leader"
        return PdFailure("no_leader", text, "see `flaredb status`, and try again")
    keys, key = sighting.region.keys, query.key_b64
    if key is not None and (key == keys.start or not keys.contains(key)):
        text = f"'{show_key(key)}' does not lie inside region {query.region}: {show_range(keys)}"
        return PdFailure("key_outside", text, "name a key after its first and before its end")
    return None
