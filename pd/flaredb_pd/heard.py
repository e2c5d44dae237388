"""What heartbeats have told in this reign: each store's own figures, and the regions they lead.

All of it is soft: a new reign begins with the regions of the bootstrap record and no leader, and is
told everything again. Nothing here grants, orders or decides.
"""

import re
from collections.abc import Iterable

from msgspec import Struct

from flaredb_pd.instant import Instant
from flaredb_pd.region_map import RegionMap, Sighting, Stale
from flaredb_pd.state import State
from flaredb_schemas.ids import Generation, RegionId, StoreId
from flaredb_schemas.placement import (
    Heartbeat,
    RegionReport,
    StoreReport,
)
from flaredb_schemas.regions import Region
from flaredb_schemas.reported import reported_region

_NUMBER = re.compile(r"\d{1,19}")


class StoreSighting(Struct, frozen=True):
    """A store's own report.

    `n` numbers its heartbeats within one boot, `id` is the message's; `full` says that a full one
    has come.
    """

    report: StoreReport
    n: tuple[int, ...]
    full: bool
    id: str


class Heard:
    """Stores and regions as last told.

    Invariants: of a store the report of the highest (boot, n) stands; the map's own.
    """

    def __init__(self, initial: Iterable[Region], now: Instant) -> None:
        self.since = now
        self.regions = RegionMap()
        self.stores: dict[StoreId, StoreSighting] = {}
        self.stale_reports = 0
        self.highest_id = 0
        """Of all ids that were told of: of regions and their peers, and of those that are gone."""
        self._leaderless: set[RegionId] = set()
        for region in initial:
            self.regions.accept(Sighting(region))
            self._leaderless.add(region.id)
        self._had_initial = bool(self._leaderless)

    def on_heartbeat(self, beat: Heartbeat) -> None:
        """Take in what is newer than what is known; the rest is counted."""
        self._note_store(beat)
        for report in beat.regions:
            if not self._note_region(report, beat.store.store):
                self.stale_reports += 1

    def _note_store(self, beat: Heartbeat) -> None:
        report, n = beat.store, _number_of(beat)
        known = self.stores.get(report.store)
        same_boot = known is not None and known.report.boot == report.boot
        if known and (known.report.boot, known.n) > (report.boot, n):
            return
        # The last chunk: messages of one sender come in order, so the others were heard or lost.
        whole = beat.full and beat.chunk == beat.chunks - 1
        full = whole or (same_boot and known is not None and known.full)
        self.stores[report.store] = StoreSighting(report, n, full, beat.id)

    def _note_region(self, report: RegionReport, store: StoreId) -> bool:
        region = reported_region(report)
        leader = region.peer(report.leader)
        if region.keys.is_empty or leader is None or leader.store != store:
            return False
        peers = (peer.id for peer in (*region.peers, *region.removed))
        self.highest_id = max(self.highest_id, region.id, *peers, *region.absorbed)
        told = Sighting(region, report.leader, store, report.term, report)
        if isinstance(self.regions.accept(told), Stale):
            return False
        self._leaderless.discard(region.id)
        return True

    def generation(self, store: StoreId) -> Generation | None:
        """What the store's folder has reached, as told in this reign; None if nothing was told."""
        known = self.stores.get(store)
        return known.report.generation if known else None

    def leaders(self, store: StoreId) -> int:
        """How many regions the store has said to lead."""
        known = self.stores.get(store)
        return known.report.leaders if known else 0

    def lacks_replicas(self, store: StoreId) -> bool:
        """Whether the store has said in this reign that its initial replicas are not there yet."""
        known = self.stores.get(store)
        return known is not None and not known.report.bootstrapped

    def told_all(self, store: StoreId) -> bool:
        """Whether the store has sent a full heartbeat in this reign."""
        known = self.stores.get(store)
        return known is not None and known.full

    @property
    def all_initial_led(self) -> bool:
        """Whether there were initial regions to watch and a leader of each has reported."""
        return self._had_initial and not self._leaderless


def may_speak(state: State, beat: Heartbeat) -> bool:
    """Whether a heartbeat is of a member, in its newest start that was accepted."""
    if not state.exists or beat.cluster != state.cluster:
        return False
    known = state.accepted(beat.store.store)
    if known is None:
        # Its witness may still be on its way into the rebuilt journal.
        return state.rebuilding and beat.store.store not in state.removed
    return beat.store.boot >= known.boot


def _number_of(beat: Heartbeat) -> tuple[int, ...]:
    """What follows store and boot in the heartbeat's id, as numbers that rise."""
    return tuple(int(number) for number in _NUMBER.findall(beat.id)[2:])
