"""How busy regions are: keys read and written per second, smoothed over some reports."""

from msgspec import Struct

from flaredb_schemas.ids import PeerId, RegionId
from flaredb_schemas.placement import RegionReport

SHARE = 0.5
"""How much the newest report counts against all before it."""

SHORTEST_SECONDS = 1.0
"""Reports that follow each other more closely are taken together: they are of some change."""


class Rate(Struct):
    """A region's keys per second, who told it last and when, and what came since without a time."""

    keys: float
    leader: PeerId
    at: float
    gathered: int = 0


class Loads:
    """The rates of all regions that were told of at least twice.

    Invariant: a rate is never negative.
    """

    def __init__(self) -> None:
        self._rates: dict[RegionId, Rate] = {}

    def note(self, report: RegionReport, now: float) -> None:
        """A leader has told what clients did to its region since it told last."""
        count = report.read_keys + report.written_keys
        known = self._rates.get(report.id)
        if known is None:
            # Since when it counted is not known.
            self._rates[report.id] = Rate(0.0, report.leader, now)
            return
        if known.leader != report.leader:
            # It counts since it leads, and nobody tells what the one before it had counted.
            known.leader, known.at, known.gathered = report.leader, now, 0
            return
        known.gathered += count
        passed = now - known.at
        if passed >= SHORTEST_SECONDS:
            newest = known.gathered / passed
            known.keys += SHARE * (newest - known.keys)
            known.at, known.gathered = now, 0

    def rate(self, region: RegionId) -> float:
        """Keys per second, as far as is known."""
        known = self._rates.get(region)
        return known.keys if known is not None else 0.0

    def keep(self, regions: "set[RegionId]") -> None:
        """Forget all others: they are no more."""
        if len(self._rates) > 2 * len(regions) + 16:
            self._rates = {one: rate for one, rate in self._rates.items() if one in regions}
