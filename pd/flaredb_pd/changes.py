"""PD's part in what changes regions: splits, merges and operators, wished for or due by themselves.

No two of them are at the same region at a time, as far as this PD orders them.
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Final, TypeVar

import msgspec
from msgspec import Struct

from flaredb_pd.answers import store_row
from flaredb_pd.balancer import Balancer
from flaredb_pd.conductor import Conductor
from flaredb_pd.config import Config
from flaredb_pd.decide import Command, GrantFresh, OrderCut, OrderMerging
from flaredb_pd.drains import Drains
from flaredb_pd.foresight import Figures
from flaredb_pd.forgetting import Forgetting
from flaredb_pd.heard import Heard
from flaredb_pd.idle_facts import TellIdle
from flaredb_pd.idleness import Idleness
from flaredb_pd.instant import Instant
from flaredb_pd.ledger import Idle
from flaredb_pd.loads import Loads
from flaredb_pd.locations import locate
from flaredb_pd.merge_wishes import MergeWishes
from flaredb_pd.merges import Merges
from flaredb_pd.orders import Addressed
from flaredb_pd.placing import Stores
from flaredb_pd.proposals import MANUAL, REPAIR, Proposal
from flaredb_pd.region_map import Sighting, are_alike
from flaredb_pd.repairs import REPAIRS, Repairs
from flaredb_pd.small_regions import SmallRegions, apart
from flaredb_pd.splits import Splits
from flaredb_pd.state import State
from flaredb_pd.store_facts import DrainStore, KeepStore, RemoveStore
from flaredb_pd.store_lives import StoreLives
from flaredb_pd.watch import StoreWatch
from flaredb_schemas.ids import RegionId, StoreId
from flaredb_schemas.pd_answers import (
    CancelQuery,
    DrainQuery,
    MoveQuery,
    PdFailure,
    RemoveQuery,
    StoreRow,
    TransferQuery,
)
from flaredb_schemas.placement import Heartbeat

LOOK_SECONDS: Final = 5.0
"""How often small regions are looked for."""

REPAIR_SECONDS: Final = 1.0
"""How often it is looked for what is to be repaired; for most of it only as often as for small
regions, unless repairs of what is lost are under way."""

MOST_REFUSALS: Final = 100
"""After so many repairs that cannot be undertaken now the others are looked at another time."""

WISHES: Final = ("cancel", "drain", "merge", "move", "remove", "split", "transfer")

_moves = msgspec.json.Decoder(MoveQuery)
_transfers = msgspec.json.Decoder(TransferQuery)
_cancels = msgspec.json.Decoder(CancelQuery)
_drains = msgspec.json.Decoder(DrainQuery)
_removals = msgspec.json.Decoder(RemoveQuery)

Q = TypeVar("Q")


class Changes:
    """What one reign has to do with changes of regions. Holds nothing of its own but the clock."""

    def __init__(
        self,
        config: Config,
        watch: StoreWatch,
        enqueue: Callable[[Command, Instant], None],
        give: Callable[[Addressed], None],
        answer: Callable[[str, Struct], None],
        now: Instant,
    ) -> None:
        self._config = config
        self._answer = answer
        self._watch = watch
        self._loads: Final = Loads()
        self.splits: Final = Splits(enqueue, give, answer)
        self.merges: Final = Merges(enqueue, give, answer)
        self.conductor: Final = Conductor(config, watch, self._loads, enqueue, give, answer)
        self.merge_wishes: Final = MergeWishes(
            config, watch, self.merges, self.conductor, self._why_ordered, answer
        )
        self._idleness: Final = Idleness(enqueue)
        self._small: Final = SmallRegions(config)
        self._repairs: Final = Repairs(config, watch)
        self._balancer: Final = Balancer(config, self._watch.is_up, self._loads, now)
        self.drains: Final = Drains(config, watch)
        self._lives: Final = StoreLives(watch, enqueue, answer, self._show)
        self._forgetting: Final = Forgetting(give)
        self._look_at = self._repair_at = self._repair_all_at = 0.0

    def wish(
        self, what: str, payload: bytes, reply: str, state: State, heard: Heard, now: Instant
    ) -> None:
        """Somebody wants one of `WISHES`; the answer goes to `reply`."""
        if what == "split":
            busy = partial(self._why_busy, state=state)
            self.splits.wish(payload, reply, state, heard, busy, now)
        elif what == "merge":
            self.merge_wishes.wish(payload, reply, state, heard, now)
        elif what == "cancel":
            query = _read(_cancels, payload, '{"operator": 57}')
            if isinstance(query, PdFailure):
                self._answer(reply, query)
            else:
                self.conductor.cancel(query.operator, reply, state, heard, now)
        elif what in ("drain", "remove"):
            self._wish_of_a_store(what, payload, reply, state, heard, now)
        else:
            proposal = _moving(payload) if what == "move" else _transferring(payload)
            if isinstance(proposal, PdFailure):
                self._answer(reply, proposal)
            else:
                self._offer(proposal, state, heard, now, reply)

    def _wish_of_a_store(
        self, what: str, payload: bytes, reply: str, state: State, heard: Heard, now: Instant
    ) -> None:
        query: DrainQuery | RemoveQuery | PdFailure
        if what == "drain":
            query = _read(_drains, payload, '{"store": 4}')
        else:
            query = _read(_removals, payload, '{"store": 4}')
        match query:
            case PdFailure():
                self._answer(reply, query)
            case DrainQuery():
                self._lives.drain(query, reply, state, heard, now)
            case RemoveQuery():
                self._lives.remove(query, reply, state, heard, now)

    def _show(self, store: StoreId, state: State, heard: Heard, now: Instant) -> StoreRow:
        return store_row(store, state, heard, self._watch, self.drains, now)

    def written(self, command: Command, state: State, heard: Heard, now: Instant) -> None:
        """The record of this command is in the journal, as its last one."""
        match command:
            case OrderCut() | GrantFresh():
                self.splits.written(command, state, now)
            case OrderMerging():
                self.merges.written(command, state)
            case DrainStore() | KeepStore() | RemoveStore():
                self._lives.settled(command, state, heard, now)
            case TellIdle(policy):
                self._idleness.settled(policy)
            case _:
                self.conductor.written(command, state, heard, now)

    def nothing_written(self, command: Command, state: State, heard: Heard, now: Instant) -> None:
        """There was nothing to write for this command."""
        if isinstance(command, DrainStore | KeepStore | RemoveStore):
            self._lives.settled(command, state, heard, now)
        if isinstance(command, TellIdle):
            self._idleness.settled(command.policy)
        self.conductor.nothing_written(command, state, now)

    def heard(
        self, beat: Heartbeat, state: State, heard: Heard, now: Instant, may_order: bool
    ) -> None:
        """A heartbeat was taken in."""
        self._repairs.note(beat.regions)
        # What was older than what is known would count as led from where it was led once.
        known = ((told, heard.regions.get(told.id)) for told in beat.regions)
        self._balancer.note((told for told, held in known if held and held.report is told), now)
        self._forgetting.note(beat.regions)
        if not may_order:
            return
        self.splits.heard(beat, state, heard, now)
        for report in beat.regions:
            self._small.note(report, now.seconds)
        self.conductor.heard((report.id for report in beat.regions), state, heard, now)

    def tick(self, state: State, heard: Heard, now: Instant, may_order: bool) -> None:
        """Time has passed."""
        self.splits.tick(now)
        self.merges.tick(state, heard, now)
        if not may_order:
            return
        self.conductor.tick(state, heard, now)
        self.merge_wishes.tick(state, heard, now)
        self._repair(state, heard, now)
        self._drain(state, heard, now)
        self._forgetting.tick(state, heard, now)
        wished = self.merge_wishes.regions
        uniting = self._small.uniting(now.seconds) | wished
        balance = self._balancer.decisions(state, heard, uniting, now)
        self._undertake(balance, state, heard, now)
        if now.seconds >= self._look_at:
            self._look_at = now.seconds + LOOK_SECONDS
            busy = {*self.merges.regions, *wished, *self.conductor.regions(state)}
            for source, target in self._small.find(heard.regions, busy, now.seconds):
                self._unite(source, target, state, heard, now)

    def _unite(
        self, source: Sighting, target: Sighting, state: State, heard: Heard, now: Instant
    ) -> None:
        """Have a small region become a part of its neighbour, or first go where that is."""
        put_off = partial(self._small.put_off, (source.region.id, target.region.id), now.seconds)
        if are_alike(source.region, target.region):
            self.merges.want(
                source,
                target,
                "small",
                state,
                now,
                on_end=lambda _, why: put_off() if why else None,
            )
            return
        places = locate(state, heard, self._config.location_labels)
        coming = self.conductor.coming(state)
        is_up, is_down = self._watch.is_up, self._watch.is_down
        stores = Stores(state, heard, is_up, is_down, coming, places)
        move = apart(source, target, stores)
        if move is None:
            put_off()
        else:
            self._offer(move, state, heard, now)

    def _repair(self, state: State, heard: Heard, now: Instant) -> None:
        if now.seconds < self._repair_at:
            return
        self._repair_at = now.seconds + REPAIR_SECONDS
        for leftover in self._repairs.leftovers(state, heard.regions):
            self._offer(leftover, state, heard, now)
        running = state.operators.running.values()
        if now.seconds >= self._repair_all_at or any(
            one.started.trigger == REPAIRS and one.started.priority >= REPAIR for one in running
        ):
            self._repair_all_at = now.seconds + LOOK_SECONDS
            self._repair_all(state, heard, now)

    def _drain(self, state: State, heard: Heard, now: Instant) -> None:
        for operator, why in list(self.drains.misled(state, heard)):
            self.conductor.give_up(operator, why, state, heard, now)
        offer = partial(self._offer, state=state, heard=heard, now=now)
        coming = partial(self.conductor.coming, state)
        idle = self.drains.look(state, heard, coming, offer, now)
        if idle is not None:
            self._undertake([idle], state, heard, now)

    def _repair_all(self, state: State, heard: Heard, now: Instant) -> None:
        coming = partial(self.conductor.coming, state)
        repairs = self._repairs.others(state, heard, coming, now)
        self._undertake(repairs, state, heard, now, MOST_REFUSALS)

    def _undertake(
        self,
        decided: Iterable[Proposal | Idle],
        state: State,
        heard: Heard,
        now: Instant,
        most_refusals: int | None = None,
    ) -> None:
        offer = partial(self._offer, state=state, heard=heard, now=now)
        figures = Figures(state, heard, self._loads, self._config.location_labels)
        self._idleness.take(decided, offer, state, figures, now, most_refusals)

    def _offer(
        self, proposal: Proposal, state: State, heard: Heard, now: Instant, reply: str = ""
    ) -> PdFailure | None:
        why_changing = self._why_ordered if proposal.priority >= REPAIR else self._why_changing
        return self.conductor.propose(proposal, state, heard, why_changing, now, reply)

    def _why_changing(self, region: RegionId) -> str:
        wished = region in self.merge_wishes.regions
        to_be_merged = f"region {region} is to be merged, and is brought to where its neighbour is"
        return self._why_ordered(region) or to_be_merged * wished

    def _why_ordered(self, region: RegionId) -> str:
        """Also safety has to wait for these, which are over within seconds."""
        if region in self.splits.regions:
            return f"region {region} is just being split"
        return f"region {region} is in a merge" if region in self.merges.regions else ""

    def _why_busy(self, region: RegionId, state: State) -> str:
        return self.conductor.why_busy(region, state) or self._why_changing(region)


def _moving(payload: bytes) -> Proposal | PdFailure:
    query = _read(_moves, payload, '{"region": 4, "from": 1, "to": 5}')
    if isinstance(query, PdFailure):
        return query
    why = f"move from store {query.source} to {query.target}"
    add, remove = query.target, query.source
    return Proposal("move", query.region, "manual", why, MANUAL, add=add, remove=remove)


def _transferring(payload: bytes) -> Proposal | PdFailure:
    query = _read(_transfers, payload, '{"region": 4, "store": 2}')
    if isinstance(query, PdFailure):
        return query
    why = f"have store {query.store} lead"
    return Proposal("transfer", query.region, "manual", why, MANUAL, to=query.store)


def _read(decoder: msgspec.json.Decoder[Q], payload: bytes, example: str) -> Q | PdFailure:
    try:
        return decoder.decode(payload)
    except (msgspec.DecodeError, ValueError, RecursionError) as fault:
        return PdFailure("malformed", f"not a wish: {fault}", f"send JSON like {example}")
