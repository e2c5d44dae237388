"""Which neighbours had better be one region: both small, and nothing has happened to them for long.

Every region costs its stores and PD a little, also where nothing happens. What has just been split,
is growing, or is busy is left alone: it would be split again. Two that stand on different stores
are brought together first, replica by replica.
"""

from collections.abc import Container, Iterable, Iterator
from itertools import pairwise
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from flaredb_pd.balance_scene import PRIORITY
from flaredb_pd.config import Config
from flaredb_pd.ledger import Filters, weigh
from flaredb_pd.placing import Fit, Stores, roomy_stores, wear
from flaredb_pd.proposals import Proposal
from flaredb_pd.region_map import RegionMap, Sighting, are_neighbours, would_name_too_many
from flaredb_schemas.decisions import Candidate
from flaredb_schemas.ids import RegionId
from flaredb_schemas.placement import RegionReport
from flaredb_schemas.regions import PeerRole

GROWTH_SHARE: Final = 10
"""A region that has grown by a tenth since it was looked at first is growing."""

BUSY_KEYS_PER_SECOND: Final = 100
"""A region of which so many keys are read and written is busy."""

TOGETHER: Final = "merge"
"""The trigger of a move that brings small neighbours together."""
POLICY: Final = "merge-together"

WORSE: Final = "a move after which its replicas would stand less far apart"

UNITE_SECONDS: Final = 120.0
"""For so long after two were found balance leaves both alone: neither is to be moved away from
where the other one has just been brought."""

MOST_AT_ONCE: Final = 4
"""How many merges of small regions are under way at a time."""


class Calm(Struct, frozen=True):
    """Since when nothing has happened to a region, and what it was then.

    `told` is when it was last told of.
    """

    since: float
    version: int
    bytes: int
    keys: int
    told: float


class SmallRegions:
    """Which regions are calm, as heartbeats tell it.

    Invariants: a region's time of calm begins anew with each change of its version, with growth,
    and with traffic; nothing is known of a region longer than it is in the map that is looked at.
    `_uniting` says until when balance is to leave those alone that were found last.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._calm: dict[RegionId, Calm] = {}
        self._uniting: dict[RegionId, float] = {}

    def note(self, report: RegionReport, now: float) -> None:
        """A leader has told of its region."""
        if not self._config.merge_bytes:
            return
        known = self._calm.get(report.id)
        if known is None or _is_stirred(known, report, now):
            size = report.bytes, report.keys
            self._calm[report.id] = Calm(now, report.version, *size, now)
        else:
            self._calm[report.id] = Calm(known.since, known.version, known.bytes, known.keys, now)

    def put_off(self, regions: Iterable[RegionId], now: float) -> None:
        """Nothing came of merging these: try again after as long a time of calm, not at once."""
        for region in regions:
            self._uniting.pop(region, None)
            calm = self._calm.get(region)
            if calm is not None:
                self._calm[region] = replace(calm, since=now)

    def uniting(self, now: float) -> set[RegionId]:
        """The regions that are being brought together, or merged."""
        return {region for region, until in self._uniting.items() if until > now}

    def find(
        self, regions: RegionMap, busy: Container[RegionId], now: float
    ) -> list[tuple[Sighting, Sighting]]:
        """What to merge into what, wherever they stand; of `busy` regions none."""
        if not self._config.merge_bytes:
            return []
        self._calm = {region: calm for region, calm in self._calm.items() if regions.get(region)}
        found: list[tuple[Sighting, Sighting]] = []
        taken: set[RegionId] = set()
        for left, right in self._small_pairs(regions, now):
            ids = {left.region.id, right.region.id}
            if not ids & taken and not any(region in busy for region in ids):
                found.append(_by_size(left, right))
                taken |= ids
            if len(found) >= MOST_AT_ONCE:
                break
        self._uniting = {one: until for one, until in self._uniting.items() if until > now}
        self._uniting.update(dict.fromkeys(taken, now + UNITE_SECONDS))
        return found

    def _small_pairs(self, regions: RegionMap, now: float) -> Iterator[tuple[Sighting, Sighting]]:
        config = self._config
        for left, right in pairwise(regions):
            if left.report is None or right.report is None:
                continue
            if (
                left.report.bytes + right.report.bytes <= config.merge_bytes
                and left.report.keys + right.report.keys <= config.merge_keys
                and self._is_calm(left, now)
                and self._is_calm(right, now)
                and are_neighbours(left.region.keys, right.region.keys)
                and not would_name_too_many(left, right)
            ):
                yield left, right

    def _is_calm(self, sighting: Sighting, now: float) -> bool:
        report, calm = sighting.report, self._calm.get(sighting.region.id)
        healthy = report is not None and not report.down and not report.pending
        whole = all(peer.role is PeerRole.VOTER for peer in sighting.region.peers)
        waited = calm is not None and now - calm.since >= self._config.merge_after
        return healthy and whole and waited and bool(sighting.leader)


def apart(
    source: Sighting,
    target: Sighting,
    stores: Stores,
    priority: int = PRIORITY,
    fit: Fit = roomy_stores,
) -> Proposal | None:
    """The move that brings the two closer together: a follower first, where that will do.

    None where they stand on the same stores, where no store that is missing is `fit` to take a
    replica (by default one that can without need), or where each move would have replicas stand
    less far apart, which would be repaired at once.
    """
    region, held = source.region, source.region.stores
    here, there = set(held), set(target.region.stores)
    if here == there or len(here) != len(there):
        return None
    filters, candidates = Filters(), list[Candidate]()
    for comes, report in fit(region, source.bytes, stores, filters):
        for goes in sorted(here - there) if comes in there else ():
            if stores.places.would_worsen(held, goes, comes):
                filters.out(WORSE, region.id, comes)
            else:
                terms = {"leads": int(goes == source.store), **wear(comes, report, stores)}
                move = Candidate(region=region.id, source=goes, target=comes, terms=terms)
                candidates.append(move)
    weighed = weigh(candidates, filters)
    best = weighed.best
    if best is None:
        return None
    return Proposal(
        "move",
        region.id,
        TOGETHER,
        f"to be merged with region {target.region.id}",
        priority,
        add=best.target,
        remove=best.source,
        policy=POLICY,
        weighed=weighed,
    )


def _is_stirred(known: Calm, report: RegionReport, now: float) -> bool:
    grown = report.bytes > known.bytes + known.bytes // GROWTH_SHARE + 1024
    passed = max(now - known.told, 1.0)
    busy = (report.read_keys + report.written_keys) / passed >= BUSY_KEYS_PER_SECOND
    return report.version != known.version or grown or busy


def _by_size(left: Sighting, right: Sighting) -> tuple[Sighting, Sighting]:
    """The smaller one first: it is what becomes a part of the other."""
    sizes = [one.report.bytes if one.report else 0 for one in (left, right)]
    return (left, right) if sizes[0] < sizes[1] else (right, left)
