"""What each store bears, as it is counted while regions are told; and as it will be soon.

What running operators bring and take counts as done, so that nothing is moved twice for one reason.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from msgspec import Struct

from flaredb_pd.heard import Heard
from flaredb_pd.loads import Loads
from flaredb_pd.operators import Operator
from flaredb_pd.region_map import Sighting
from flaredb_schemas.ids import NO_PEER, StoreId
from flaredb_schemas.placement import StoreReport
from flaredb_schemas.regions import REPLICA_ROOM

EMPTY_BYTES: Final = 2**20
"""What a replica costs its store beside its bytes: so empty ones are spread, too."""

FULL: Final = 0.85
"""A store of which more is used gives replicas away, and gets none unless a person wants it."""
NEARLY_FULL: Final = 0.80
"""A store of which more is used gets none for the sake of balance, and elsewhere as the last."""

OVERWORKED: Final = 0.9
"""A store that uses so much of a core, by what it tells, has none to spare: its turns are made by
one thread. It gets nothing to lead for the sake of balance; and gives nothing away for it alone, as
that is never the same for long."""

MOST_PER_BYTE: Final = 3.0
"""How many bytes of disk a byte of a replica takes at most, as far as is believed."""


class Standing(Struct):
    """One store: how many leaders and replicas, of what weight in bytes, and how many keys per
    second in the regions that it leads.

    `held`, `coming` and `going` are bytes of the replicas that it has, and of those that it may not
    have counted yet as used, or as free. What has just come or gone may be counted twice, so that
    each errs on the safe side.
    """

    store: StoreId
    capacity: int
    used: int
    free: int
    held: int = 0
    coming: int = 0
    going: int = 0
    leaders: int = 0
    replicas: int = 0
    weight: int = 0
    load: float = 0.0
    cpu: float = 0.0

    @property
    def is_overworked(self) -> bool:
        """Whether it has no time left for leading more."""
        return self.cpu >= OVERWORKED

    @property
    def cpu_percent(self) -> int:
        """Which share of a core it uses, for terms of scores."""
        return round(100 * self.cpu)

    @property
    def full_percent(self) -> int:
        """Which share of its disk will be used even if nothing goes, for terms of scores."""
        return round(100 * self._fullness(self.coming))

    @property
    def is_full(self) -> bool:
        """Whether it will be too full even without what goes."""
        return self._fullness(self.coming - self.going) >= FULL

    def has_room(self, size: int = 0) -> bool:
        """Whether so many bytes more will leave room, even if nothing goes."""
        is_able = self.free - self.coming >= REPLICA_ROOM * size
        return is_able and self._fullness(self.coming + size) < NEARLY_FULL

    def _fullness(self, more: int) -> float:
        """The share that is used with so many bytes more of replicas, which take as much of the
        disk for each byte as those that are there: logs and pages that are half full count, too."""
        each = min(MOST_PER_BYTE, max(1.0, self.used / self.held)) if self.held else 1.0
        return _used(self.capacity, self.free - round(each * more))

    def take(self, sighting: Sighting, sign: int) -> None:
        """A replica comes (1) or goes (-1)."""
        self.replicas += sign
        self.weight += sign * weight_of(sighting)

    def lead(self, load: float, sign: int) -> None:
        """It leads one region more (1) or less (-1)."""
        self.leaders += sign
        self.load += sign * load


def weight_of(sighting: Sighting) -> int:
    """What a replica of the region costs its store."""
    return EMPTY_BYTES + size_of(sighting)


def size_of(sighting: Sighting) -> int:
    """How many bytes a replica of the region has."""
    return sighting.report.bytes if sighting.report is not None else 0


def fullness(report: StoreReport, more: int = 0) -> float:
    """Which share of its room a store has used with so many bytes `more`; a store that tells of no
    room is not full."""
    return _used(report.capacity, report.free - more)


def _used(capacity: int, free: int) -> float:
    return 1 - free / capacity if capacity else 0.0


def count(
    heard: Heard,
    loads: Loads,
    running: Iterable[Operator],
    lately: Iterable[Operator],
    bears: Callable[[StoreId], bool],
) -> dict[StoreId, Standing]:
    """The standings of all stores that have told of themselves and that `bears` accepts.

    What ended `lately` may not show yet in what stores tell of their disks.
    """
    bearing = heard.regions.bearing
    standings = {
        store: Standing(
            store,
            told.report.capacity,
            told.report.used,
            told.report.free,
            held=bearing.bytes[store],
            going=bearing.leaving[store],
            leaders=bearing.leaders[store],
            replicas=bearing.replicas[store],
            weight=bearing.bytes[store] + EMPTY_BYTES * bearing.replicas[store],
            load=float(loads.borne(store)),
            cpu=told.report.cpu,
        )
        for store, told in sorted(heard.stores.items())
        if bears(store)
    }
    for operator in running:
        told = heard.regions.get(operator.region)
        if told is not None:
            _foresee(standings, operator, told, loads.rate(operator.region))
    for operator in lately:
        told = heard.regions.get(operator.region)
        if told is not None:
            _remember(standings, operator, told)
    return standings


def _foresee(
    standings: Mapping[StoreId, Standing], operator: Operator, sighting: Sighting, load: float
) -> None:
    """Count an operator as done."""
    started, region = operator.started, sighting.region
    if started.add is not None:
        _comes(standings, started.add.store, sighting)
        if region.peer(started.add.id) is None:
            _take(standings, started.add.store, sighting, 1)
    if started.remove is not None and region.peer(started.remove.id) is not None:
        _take(standings, started.remove.store, sighting, -1)
        _goes(standings, started.remove.store, sighting)
    to = region.peer(started.to) if started.to != NO_PEER else None
    if to is not None and sighting.leader != to.id:
        leads(standings, sighting, to.store, load)


def _remember(
    standings: Mapping[StoreId, Standing], operator: Operator, sighting: Sighting
) -> None:
    """Count on disks what has come and gone by an operator that has ended."""
    started, region = operator.started, sighting.region
    if started.add is not None and region.peer(started.add.id) is not None:
        _comes(standings, started.add.store, sighting)
    known = {peer.id for peer in (*region.peers, *region.removed)}
    if started.remove is not None and started.remove.id not in known:
        _goes(standings, started.remove.store, sighting)


def _comes(standings: Mapping[StoreId, Standing], store: StoreId, sighting: Sighting) -> None:
    standing = standings.get(store)
    if standing is not None:
        standing.coming += size_of(sighting)


def _goes(standings: Mapping[StoreId, Standing], store: StoreId, sighting: Sighting) -> None:
    standing = standings.get(store)
    if standing is not None:
        standing.going += size_of(sighting)


def _take(
    standings: Mapping[StoreId, Standing], store: StoreId, sighting: Sighting, sign: int
) -> None:
    standing = standings.get(store)
    if standing is not None:
        standing.take(sighting, sign)


def leads(
    standings: Mapping[StoreId, Standing], sighting: Sighting, store: StoreId, load: float
) -> None:
    """From now on `store` counts as the one that leads the region."""
    for one, sign in ((sighting.store, -1), (store, 1)):
        standing = standings.get(one)
        if standing is not None:
            standing.lead(load, sign)


def moves(
    standings: Mapping[StoreId, Standing], sighting: Sighting, source: StoreId, target: StoreId
) -> None:
    """From now on the replica on `source` counts as one on `target`."""
    _take(standings, source, sighting, -1)
    _take(standings, target, sighting, 1)
    _goes(standings, source, sighting)
    _comes(standings, target, sighting)
