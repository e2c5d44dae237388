"""Emptying stores: what is to leave one next, what cannot, and how far it is.

Leaderships go first, by transfers; then each replica is made anew on the best other store. That a
store is drained is all that is remembered; the rest is read off regions, so a takeover changes
nothing. A drain that can do nothing now goes on as soon as it can.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from flaredb_pd.balancer import REGIONS_PER_SECOND
from flaredb_pd.config import Config
from flaredb_pd.heard import Heard
from flaredb_pd.holdings import MOST_EXAMPLES, Holdings, holdings
from flaredb_pd.instant import Instant
from flaredb_pd.ledger import Filters, Idle, Weighed, weigh
from flaredb_pd.locations import locate
from flaredb_pd.operators import Operator
from flaredb_pd.placing import AWAITED, NOT_CLEAN, Stores, weigh_stores, why_nowhere
from flaredb_pd.proposals import DRAIN, LIMIT, Proposal
from flaredb_pd.region_map import Sighting
from flaredb_pd.standings import EMPTY_BYTES
from flaredb_pd.state import State
from flaredb_pd.store_records import Drain
from flaredb_pd.watch import StoreWatch
from flaredb_schemas.decisions import Candidate
from flaredb_schemas.ids import NO_PEER, NO_STORE, RegionId, StoreId
from flaredb_schemas.pd_answers import DrainBlock, DrainProgress, PdFailure
from flaredb_schemas.regions import Peer, PeerRole

DRAINS: Final = "drain"
"""The trigger of what is undertaken here."""

HANDS_OVER: Final = "drain-leaders"
EMPTIES: Final = "drain-replicas"
"""The policies here."""

NO_DRAIN: Final = "no store is being drained"
NONE_WAITS: Final = "nothing waits to leave the stores that are being drained"

BEHIND: Final = "a replica that is behind, not heard, or lost"
AWAY: Final = "a replica on a store that is not up"
LEAVES: Final = "a replica on a store that is being drained"

LOOK_SECONDS: Final = 1.0

MOST_REFUSALS: Final = 100
"""After so many regions that are over a limit the others are not tried, which are so, too."""

LIMITED: Final = "enough is under way: it waits for its turn"
CHANGING: Final = "its replicas are just being changed, or it is split or merged"
NO_LEADER: Final = "it has no leader"
NO_QUORUM: Final = "no majority of its replicas would be up"

PASSING: Final = (LIMITED, CHANGING, AWAITED)
"""What goes by without anything else having to happen."""

_WHY: Final = {
    LIMIT: LIMITED,
    "busy": CHANGING,
    "no_leader": NO_LEADER,
    "quorum": NO_QUORUM,
    "removing": NOT_CLEAN,
}
"""What the codes of refusals mean for a drain."""

Offer = Callable[[Proposal], PdFailure | None]
"""The one door: what it is asked for, and why that is refused."""


class Leaving(Struct, frozen=True):
    """A region with a replica that is to go: the one that leads, if it is among several."""

    sighting: Sighting
    goes: Peer
    stores: tuple[StoreId, ...]
    """All of its stores that are being emptied."""

    @property
    def leads(self) -> bool:
        """Whether who is to go leads."""
        return self.goes.id == self.sighting.leader


class Drains:
    """The drains of one reign.

    Invariant: `_blocked` says of each region that the last look could not help to leave, why.
    """

    def __init__(self, config: Config, watch: StoreWatch) -> None:
        self._config = config
        self._watch = watch
        self._look_at = 0.0
        self._blocked: dict[StoreId, dict[RegionId, str]] = {}

    def look(
        self,
        state: State,
        heard: Heard,
        coming: Callable[[], Counter[StoreId]],
        offer: Offer,
        now: Instant,
    ) -> Idle | None:
        """Offer what is to leave now; O(regions). `coming` counts what is on its way to stores.

        Returns why nothing leaves; None where something does, or was looked for a moment ago.
        """
        draining = [store for store, known in state.stores.items() if known.drain is not None]
        if not draining:
            return Idle(EMPTIES, NO_DRAIN, usual=True)
        if now.seconds < self._look_at:
            return None
        pause = len(heard.regions) / REGIONS_PER_SECOND
        self._look_at = now.seconds + max(LOOK_SECONDS, pause)
        self._blocked = {store: {} for store in draining}
        leaders = Counter(sighting.store for sighting in heard.regions)
        refusals, stores = (
            0,
            Stores(
                state,
                heard,
                self._watch.is_up,
                self._watch.is_down,
                coming(),
                locate(state, heard, self._config.location_labels),
            ),
        )
        room = self._room(state)
        for leaving in _leaving(draining, heard):
            region = leaving.sighting.region.id
            running = state.operators.running.get(region)
            if running is not None and running.started.priority >= DRAIN:
                continue
            why = LIMITED
            if room > 0 and refusals < MOST_REFUSALS:
                why = self._try(leaving, stores, leaders, offer)
                refusals += why == LIMITED
                if not why:
                    room, stores = room - 1, replace(stores, coming=coming())
            for store in leaving.stores if why else ():
                self._blocked[store][region] = why
        unheard = [one.region.id for one in heard.regions if one.report is None]
        for blocked in self._blocked.values():
            blocked.update(dict.fromkeys(unheard, NO_LEADER))
        return self._idle() if room == self._most else None

    def _idle(self) -> Idle:
        """Why nothing leaves, where nothing is under way, either."""
        filters = Filters()
        for store, blocked in sorted(self._blocked.items()):
            for region, why in sorted(blocked.items()):
                filters.out(why, region, store)
        told = filters.told()
        reason = "; ".join(sorted(one.rule for one in told)) or NONE_WAITS
        return Idle(EMPTIES, reason, Weighed(filters=told), usual=not told)

    def misled(self, state: State, heard: Heard) -> Iterator[tuple[Operator, str]]:
        """Which operators are to be given up, and why: what they bring would have to leave again,
        or what they take may stay, or has gone by itself."""
        for operator in state.operators.running.values():
            remove, target = operator.started.remove, _target(operator)
            drains = operator.started.trigger == DRAINS
            if state.leaves(target):
                yield operator, f"store {target} is being drained"
            elif drains and remove is not None and state.serves(remove.store):
                yield operator, f"store {remove.store} is not drained any more"
            elif drains and operator.started.to != NO_PEER:
                led = heard.regions.get(operator.region)
                if led is not None and led.store != target and state.serves(led.store):
                    yield operator, f"store {led.store} leads it, which does as well"

    def progress(self, store: StoreId, state: State, heard: Heard, now: Instant) -> DrainProgress:
        """How far the drain of this store is; O(regions)."""
        drain = state.stores[store].drain
        assert drain is not None, f"store {store} is not drained"
        held = holdings(store, heard)
        moving = sum(_helps(store, one, heard) for one in state.operators.running.values())
        blocked = self._blocked.get(store, {})
        passing = any(why in PASSING for why in blocked.values())
        return DrainProgress(
            started_at=drain.since,
            began_with=drain.replicas,
            replicas=held.replicas,
            leaders=held.leaders,
            bytes=held.bytes,
            cleaning=held.removed,
            moving=moving,
            seconds_left=_seconds_left(drain, held, now),
            is_stuck=bool(blocked) and not moving and not passing,
            # One that is down will not say what it has cleaned up, and can be removed without.
            is_empty=held.is_vacated and (not held.removed or self._watch.is_down(store)),
            blocked=_blocks(blocked),
        )

    def _room(self, state: State) -> int:
        """How many more may be undertaken."""
        mine = [one for one in state.operators.running.values() if one.started.trigger == DRAINS]
        return self._most - len(mine)

    @property
    def _most(self) -> int:
        """Half of what may be under way is left to repairs."""
        return max(1, self._config.operators_at_once // 2)

    def _try(
        self, leaving: Leaving, stores: Stores, leaders: Counter[StoreId], offer: Offer
    ) -> str:
        """Offer what is next for a region; why nothing can be done now, or nothing."""
        sighting = leaving.sighting
        if sighting.report is None or sighting.store == NO_STORE:
            return NO_LEADER
        if any(peer.role is not PeerRole.VOTER for peer in sighting.region.peers):
            return CHANGING
        reason = f"store {leaving.goes.store} is being drained"
        led = self._weigh_leaders(leaving, stores, leaders) if leaving.leads else Weighed()
        best = led.best
        if best is not None:
            failure = offer(_handed_over(led, best, reason))
            leaders[best.target] += failure is None
        else:
            placed = weigh_stores(sighting.region, leaving.goes, sighting.report.bytes, stores)
            best = placed.best
            if best is None:
                return why_nowhere(sighting.region, sighting.report.bytes, stores)
            failure = offer(self._replaced(placed, best, reason))
        return "" if failure is None else _WHY.get(failure.code, failure.message)

    def _replaced(self, weighed: Weighed, best: Candidate, reason: str) -> Proposal:
        source, target = best.source, best.target
        kind: Final = "move" if self._watch.is_up(source) else "replace"
        return Proposal(
            kind,
            best.region,
            DRAINS,
            reason,
            DRAIN,
            add=target,
            remove=source,
            policy=EMPTIES,
            weighed=weighed,
        )

    def _weigh_leaders(
        self, leaving: Leaving, stores: Stores, leaders: Counter[StoreId]
    ) -> Weighed:
        """Which store that is to stay, and whose replica has everything, leads the fewest."""
        report, filters, able = leaving.sighting.report, Filters(), list[StoreId]()
        assert report is not None
        lame = {*(one.peer for one in report.pending), *(one.peer for one in report.down)}
        lame |= {*report.lost}
        for peer in leaving.sighting.region.peers:
            if not stores.state.serves(peer.store):
                filters.out(LEAVES, store=peer.store)
            elif not self._watch.is_up(peer.store):
                filters.out(AWAY, store=peer.store)
            elif peer.id in lame:
                filters.out(BEHIND, store=peer.store)
            else:
                able.append(peer.store)
        region, source = leaving.sighting.region.id, leaving.goes.store
        return weigh(
            [
                Candidate(region=region, source=source, target=to, terms={"leaders": leaders[to]})
                for to in able
            ],
            filters,
        )


def _handed_over(weighed: Weighed, best: Candidate, reason: str) -> Proposal:
    return Proposal(
        "transfer",
        best.region,
        DRAINS,
        reason,
        DRAIN,
        to=best.target,
        policy=HANDS_OVER,
        weighed=weighed,
    )


def _leaving(draining: Iterable[StoreId], heard: Heard) -> list[Leaving]:
    """All regions with something that is to go, those first that are led from there."""
    wanted, found = frozenset(draining), list[Leaving]()
    for sighting in heard.regions:
        goes = [peer for peer in sighting.region.peers if peer.store in wanted]
        if goes:
            first = min(goes, key=lambda peer: (peer.id != sighting.leader, peer.id))
            found.append(Leaving(sighting, first, tuple(peer.store for peer in goes)))
    return sorted(found, key=lambda one: not one.leads)


def _target(operator: Operator) -> StoreId:
    """The store that gets a replica, or is to lead."""
    started = operator.started
    if started.add is not None:
        return started.add.store
    stores = {peer.id: peer.store for peer in started.before.peers}
    return stores.get(started.to, NO_STORE)


def _helps(store: StoreId, operator: Operator, heard: Heard) -> bool:
    """Whether something is under way at a region that has a replica on the store."""
    sighting = heard.regions.get(operator.region)
    return sighting is not None and sighting.region.peer_on(store) is not None


def _seconds_left(drain: Drain, held: Holdings, now: Instant) -> float | None:
    """At the rate until now; a replica is work, too, where it is empty."""
    at_first, left = _work(drain.replicas, drain.bytes), _work(held.replicas, held.bytes)
    seconds, done = (now.wall - drain.since) / 1000, at_first - left
    return None if done <= 0 or seconds <= 0 else left * seconds / done


def _work(replicas: int, size: int) -> int:
    return replicas * EMPTY_BYTES + size


def _blocks(blocked: dict[RegionId, str]) -> tuple[DrainBlock, ...]:
    """Per reason how many regions, and the first of them; the most frequent first."""
    by_reason: dict[str, list[RegionId]] = {}
    for region, why in sorted(blocked.items()):
        by_reason.setdefault(why, []).append(region)
    ranked = sorted(by_reason.items(), key=lambda item: (-len(item[1]), item[0]))
    return tuple(
        DrainBlock(why, len(regions), tuple(regions[:MOST_EXAMPLES])) for why, regions in ranked
    )
