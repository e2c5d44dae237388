"""Regions whose replicas could stand further apart, and the move that helps most.

What shares a zone, a rack or a host is lost together. A replica moves where its region then shares
strictly less than before; so nothing moves to and fro, whatever else is moved. Only regions that
are whole and at rest are looked at: what is lost, away or leaving comes first.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final

from msgspec.structs import replace

from flaredb_pd.balancer import REGIONS_PER_SECOND
from flaredb_pd.config import Config
from flaredb_pd.instant import Instant
from flaredb_pd.ledger import Filters, Idle, Weighed, weigh
from flaredb_pd.placing import Stores, roomy_stores, wear
from flaredb_pd.proposals import APART, Proposal
from flaredb_pd.region_map import Sighting
from flaredb_pd.state import State
from flaredb_schemas.decisions import Candidate
from flaredb_schemas.ids import StoreId
from flaredb_schemas.regions import PeerRole

POLICY: Final = "repair-misplaced"

MISPLACED: Final = "its replicas can stand further apart"

AS_FAR_APART: Final = "the replicas of every region stand as far apart as the stores allow"
NO_STORE_WILL_DO: Final = "no store will do for the replicas that could stand further apart"
NO_PLACES: Final = "no store says where it stands"

NO_FURTHER: Final = "a move after which they would stand no further apart"
NO_BETTER: Final = "a region that no move would help"

LOOK_SECONDS: Final = 5.0

MOST_TRIED: Final = 200
"""For how many regions all moves are compared in one look; the next one goes on behind them."""


class Misplaced:
    """What is to be moved apart, in one reign.

    Invariant: `_passed` of the regions that seem misplaced were tried in earlier looks of a round,
    of which `_found` can be helped; `_filters` counts the others.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._look_at = 0.0
        self._passed = self._found = 0
        self._filters = Filters()

    def look(
        self, stores: Stores, coming: Callable[[], Counter[StoreId]], now: Instant
    ) -> Iterator[Proposal | Idle]:
        """What to move now, or why nothing is; O(regions), and nothing most of the time. `coming`
        counts what is on its way to stores."""
        if now.seconds < self._look_at:
            return
        heard = stores.heard
        pause = len(heard.regions) / REGIONS_PER_SECOND
        self._look_at = now.seconds + max(LOOK_SECONDS, pause)
        if not stores.places.are_known:
            yield Idle(POLICY, NO_PLACES, usual=True)
            return
        room = self._room(stores.state)
        if room > 0:
            yield from self._look(stores, coming, room)

    def _look(
        self, stores: Stores, coming: Callable[[], Counter[StoreId]], room: int
    ) -> Iterator[Proposal | Idle]:
        begun, tried, found = self._passed, 0, 0
        for number, sighting in enumerate(_suspects(stores), start=1):
            if number <= begun:
                continue
            if tried >= MOST_TRIED or found >= room:
                return
            tried, self._passed = tried + 1, number
            weighed = weigh_moves(sighting, replace(stores, coming=coming()))
            if weighed.best is None:
                self._filters.out(NO_BETTER, sighting.region.id)
            else:
                found, self._found = found + 1, self._found + 1
                yield _proposal(sighting, weighed)
        if not self._found and not _moving(stores.state):
            reason = NO_STORE_WILL_DO if self._passed else AS_FAR_APART
            weighed = Weighed(filters=self._filters.told())
            yield Idle(POLICY, reason, weighed, usual=not self._passed)
        self._passed, self._found, self._filters = 0, 0, Filters()

    def _room(self, state: State) -> int:
        """How many more may be undertaken: half of all that may is left to what is lost."""
        return max(1, self._config.operators_at_once // 2) - _moving(state)


def weigh_moves(sighting: Sighting, stores: Stores) -> Weighed:
    """All moves of one replica after which the region shares less: least shared first, then not of
    who leads, then as a new replica is placed."""
    region, places, filters = sighting.region, stores.places, Filters()
    targets = [
        (store, wear(store, report, stores))
        for store, report in roomy_stores(region, sighting.bytes, stores, filters)
    ]
    now, candidates = places.together(region.stores), list[Candidate]()
    for goes in region.peers:
        stay = [store for store in region.stores if store != goes.store]
        rest = places.together(stay)
        for target, terms in targets:
            after = rest + places.shared(target, stay)
            if after >= now:
                filters.out(NO_FURTHER, region.id, target)
                continue
            score = {"shared_labels": after, "leads": int(goes.id == sighting.leader), **terms}
            candidates.append(
                Candidate(region=region.id, source=goes.store, target=target, terms=score)
            )
    return weigh(candidates, filters)


def _suspects(stores: Stores) -> Iterator[Sighting]:
    """The regions at rest that share more than the best of all stores would for them."""
    state, places = stores.state, stores.places
    serving = [store for store in stores.heard.stores if state.serves(store)]
    able = frozenset(store for store in serving if stores.is_up(store))
    least: dict[int, int] = {}
    for sighting in stores.heard.regions:
        held = [peer.store for peer in sighting.region.peers]
        shared = places.together(held)
        if not shared or not _rests(sighting, state):
            continue
        count = len(held)
        if count not in least:
            least[count] = places.least(able, count)
        if shared > least[count] or not able.issuperset(held):
            yield sighting


def _rests(sighting: Sighting, state: State) -> bool:
    """Whether a region is whole, and nothing happens to its replicas."""
    report, peers = sighting.report, sighting.region.peers
    if report is None or report.down or report.lost or report.pending:
        return False
    if len(peers) != (state.replicas or len(peers)) or len(peers) < 2:
        return False
    if sighting.region.id in state.operators.running:
        return False
    return all(peer.role is PeerRole.VOTER and not state.leaves(peer.store) for peer in peers)


def _moving(state: State) -> int:
    running = state.operators.running.values()
    return sum(one.started.decision.policy == POLICY for one in running)


def _proposal(sighting: Sighting, weighed: Weighed) -> Proposal:
    best = weighed.best
    assert best is not None
    return Proposal(
        kind="move",
        region=sighting.region.id,
        trigger="repair",
        reason=MISPLACED,
        priority=APART,
        add=best.target,
        remove=best.source,
        policy=POLICY,
        weighed=weighed,
    )
