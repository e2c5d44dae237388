"""What PD puts right by itself in regions whose replicas are not what they should be.

Needs nothing but what leaders tell, so that it also finds what nobody remembers: an operator that
was given up, or the journal that was lost.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from flaredb_pd.proposals import REPAIR, Proposal
from flaredb_pd.region_map import RegionMap
from flaredb_pd.state import State
from flaredb_schemas.ids import RegionId
from flaredb_schemas.placement import RegionReport
from flaredb_schemas.regions import PeerRole

LEFTOVER: Final = "a learner that belongs to nothing under way"


class Repairs:
    """What is to be repaired.

    Invariant: `_learners` holds every region that was last told to have a learner.
    """

    def __init__(self) -> None:
        self._learners: set[RegionId] = set()

    def note(self, reports: Iterable[RegionReport]) -> None:
        """Leaders have told of their regions."""
        for report in reports:
            if any(peer.role == "learner" for peer in report.peers):
                self._learners.add(report.id)
            else:
                self._learners.discard(report.id)

    def proposals(self, state: State, regions: RegionMap) -> Iterator[Proposal]:
        """What is to be done, at most one thing per region."""
        for region in sorted(self._learners):
            sighting = regions.get(region)
            if sighting is None:
                self._learners.discard(region)
            elif region not in state.operators.running:
                learners = (one for one in sighting.region.peers if one.role is PeerRole.LEARNER)
                for peer in list(learners)[:1]:
                    yield Proposal("remove", region, "repair", LEFTOVER, REPAIR, remove=peer.store)
