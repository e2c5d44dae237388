"""What regions have on a store, as their leaders tell: the only thing that says it is empty."""

from typing import Final

from msgspec import Struct

from flaredb_pd.heard import Heard
from flaredb_schemas.ids import RegionId, StoreId
from flaredb_schemas.placement import RegionReport

MOST_EXAMPLES: Final = 3
"""How many regions are named where many are meant."""


class Holdings(Struct):
    """`removed` counts replicas that have left, and of which something may be left; `examples` are
    some regions that have either there.

    `unknown` are regions of which no leader has told in this reign; `hole` says that part of the
    key space is in no region of which PD has heard.
    """

    replicas: int = 0
    leaders: int = 0
    bytes: int = 0
    removed: int = 0
    examples: tuple[RegionId, ...] = ()
    unknown: tuple[RegionId, ...] = ()
    hole: bool = False

    @property
    def is_vacated(self) -> bool:
        """Whether it is certain that no replica of any region is there; what has left may be."""
        return not (self.replicas or self.unknown or self.hole)


def _leads_alone(report: RegionReport) -> bool:
    """Whether too few of its peers hear it for a leader: the others may have gone on without it."""
    voters = {peer.id for peer in report.peers if peer.role != "learner"}
    return 2 * len(voters & {one.peer for one in report.down}) > len(voters)


def holdings(store: StoreId, heard: Heard) -> Holdings:
    """What is held by `store`; O(regions)."""
    held = Holdings(hole=not heard.regions.covers_all)
    for sighting in heard.regions:
        region, report = sighting.region, sighting.report
        if report is None or _leads_alone(report):
            held.unknown = (*held.unknown, region.id)[:MOST_EXAMPLES]
        here = region.peer_on(store)
        left = any(peer.store == store for peer in region.removed)
        if here is not None:
            held.replicas += 1
            held.bytes += report.bytes if report is not None else 0
            held.leaders += here.id == sighting.leader
        held.removed += left
        if here is not None or left:
            held.examples = (*held.examples, region.id)[:MOST_EXAMPLES]
    return held
