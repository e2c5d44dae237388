"""How busy regions are: keys read and written per second, smoothed over some reports."""

from collections import Counter

from msgspec import Struct

from flaredb_schemas.ids import NO_STORE, RegionId, StoreId
from flaredb_schemas.placement import RegionReport

HALF_SECONDS = 10.0
"""What was told so many seconds ago counts half against what was told since: so rates can be
compared that were told at different times, or are of longer and shorter ones."""

SHORTEST_SECONDS = 1.0
"""Reports that follow each other more closely are taken together: they are of some change."""


class Rate(Struct):
    """A region's keys per second, when it was told last, and what came since without a time;
    who leads it, and as how many keys it counts there."""

    keys: float
    at: float
    gathered: int = 0
    store: StoreId = NO_STORE
    counted: int = 0


class Loads:
    """The rates of all regions that were told of at least twice.

    Invariants: a rate is never negative; `_borne` sums them up over what each store leads, in whole
    keys; `_inherited` are those whose rate is what the leader before has told, as far as is known.
    """

    def __init__(self) -> None:
        self._rates: dict[RegionId, Rate] = {}
        self._borne: Counter[StoreId] = Counter()
        self._inherited: set[RegionId] = set()

    def note(self, report: RegionReport, now: float) -> None:
        """A leader has told what clients did to its region since it told last."""
        count = report.read_keys + report.written_keys
        known = self._rates.get(report.id)
        if known is None:
            # Since when it counted is not known.
            self._rates[report.id] = Rate(0.0, now, store=_leads(report))
            return
        if known.store != _leads(report):
            # It counts since it leads, and nobody tells what the one before it had counted.
            known.at, known.gathered = now, 0
            self._inherited.add(report.id)
            self._bear(known, _leads(report), known.counted)
            return
        known.gathered += count
        passed = now - known.at
        if passed >= SHORTEST_SECONDS:
            newest = known.gathered / passed
            known.keys += (1 - 0.5 ** (passed / HALF_SECONDS)) * (newest - known.keys)
            known.at, known.gathered = now, 0
            self._inherited.discard(report.id)
        self._bear(known, _leads(report), round(known.keys))

    def _bear(self, rate: Rate, store: StoreId, keys: int) -> None:
        if (store, keys) != (rate.store, rate.counted):
            self._borne[rate.store] -= rate.counted
            self._borne[store] += keys
            rate.store, rate.counted = store, keys

    def borne(self, store: StoreId) -> int:
        """Keys per second of all regions that a store leads."""
        return self._borne[store]

    def inherited(self) -> Counter[StoreId]:
        """How much of that, by store, is what leaders before have told: old, and perhaps wrong."""
        found: Counter[StoreId] = Counter()
        for region in self._inherited:
            rate = self._rates[region]
            found[rate.store] += rate.counted
        return found

    def rate(self, region: RegionId) -> float:
        """Keys per second, as far as is known."""
        known = self._rates.get(region)
        return known.keys if known is not None else 0.0

    def keep(self, regions: set[RegionId]) -> None:
        """Forget all others: they are no more."""
        for gone in self._rates.keys() - regions:
            rate = self._rates.pop(gone)
            self._inherited.discard(gone)
            self._borne[rate.store] -= rate.counted


def _leads(report: RegionReport) -> StoreId:
    found = (peer.store for peer in report.peers if peer.id == report.leader)
    return next(found, NO_STORE)
