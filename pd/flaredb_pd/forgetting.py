"""Regions forget peers whose stores were removed: nobody else could say that nothing is left.

A region's record names those who have left it until their stores have confirmed a tombstone. A
store that is out of the cluster never will. Only for such a store does PD order it, each second
until a heartbeat shows that it is done.
"""

from collections.abc import Callable, Iterable
from typing import Final

from flaredb_pd.heard import Heard
from flaredb_pd.instant import Instant
from flaredb_pd.orders import Addressed
from flaredb_pd.state import State
from flaredb_schemas.ids import NO_STORE, RegionId
from flaredb_schemas.membership import MOST_FORGOTTEN, ForgetPeers
from flaredb_schemas.placement import Order, RegionReport

REPEAT: Final = 1.0

MOST_AT_ONCE: Final = 100
"""To how many regions it is said per second."""


class Forgetting:
    """Invariant: `_regions` holds every region that was last told to name peers that have left."""

    def __init__(self, give: Callable[[Addressed], None]) -> None:
        self._give = give
        self._regions: set[RegionId] = set()
        self._look_at = 0.0

    def note(self, reports: Iterable[RegionReport]) -> None:
        """Leaders have told of their regions."""
        for report in reports:
            if report.removed:
                self._regions.add(report.id)
            else:
                self._regions.discard(report.id)

    def tick(self, state: State, heard: Heard, now: Instant) -> None:
        """Time has passed, and orders may be given."""
        if now.seconds < self._look_at or not state.removed:
            return
        self._look_at = now.seconds + REPEAT
        given = 0
        for number in sorted(self._regions):
            given += given < MOST_AT_ONCE and self._order(number, state, heard)

    def _order(self, number: RegionId, state: State, heard: Heard) -> bool:
        sighting = heard.regions.get(number)
        if sighting is None:  # absorbed meanwhile
            self._regions.discard(number)
            return False
        region = sighting.region
        gone = [peer for peer in region.removed if peer.store in state.removed][:MOST_FORGOTTEN]
        if not gone or sighting.store == NO_STORE:
            return False
        peers = tuple(peer.id for peer in gone)
        body = ForgetPeers(region.id, region.epoch, sighting.leader, peers)
        sequence = max(state.removed[peer.store].sequence for peer in gone)
        self._give(Addressed(sighting.store, Order(state.epoch, sequence, body, state.incarnation)))
        return True
