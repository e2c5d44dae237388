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

EMPTY_BYTES: Final = 2**20
"""What a replica costs its store beside its bytes: so empty ones are spread, too."""


FULL: Final = 0.85
"""A store that is fuller gives replicas away."""
NEARLY_FULL: Final = 0.80
"""A store that is fuller gets none, but to replace what is lost."""


class Standing(Struct):
    """One store: how many leaders and replicas, of what weight in bytes, and how many keys per
    second in the regions that it leads."""

    store: StoreId
    fullness: float
    leaders: int = 0
    replicas: int = 0
    weight: int = 0
    load: float = 0.0

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
    return EMPTY_BYTES + (sighting.report.bytes if sighting.report is not None else 0)


def fullness(report: StoreReport) -> float:
    """Which share of its room a store has used; a store that tells of no room is not full."""
    return 1 - report.free / report.capacity if report.capacity else 0.0


def count(
    heard: Heard,
    loads: Loads,
    running: Iterable[Operator],
    bears: Callable[[StoreId], bool],
) -> dict[StoreId, Standing]:
    """The standings of all stores that have told of themselves and that `bears` accepts."""
    bearing = heard.regions.bearing
    standings = {
        store: Standing(
            store,
            fullness(told.report),
            leaders=bearing.leaders[store],
            replicas=bearing.replicas[store],
            weight=bearing.bytes[store] + EMPTY_BYTES * bearing.replicas[store],
            load=float(loads.borne(store)),
        )
        for store, told in sorted(heard.stores.items())
        if bears(store)
    }
    for operator in running:
        told = heard.regions.get(operator.region)
        if told is not None:
            _foresee(standings, operator, told, loads.rate(operator.region))
    return standings


def _foresee(
    standings: Mapping[StoreId, Standing], operator: Operator, sighting: Sighting, load: float
) -> None:
    """Count an operator as done."""
    started, region = operator.started, sighting.region
    if started.add is not None and region.peer(started.add.id) is None:
        _take(standings, started.add.store, sighting, 1)
    if started.remove is not None and region.peer(started.remove.id) is not None:
        _take(standings, started.remove.store, sighting, -1)
    to = region.peer(started.to) if started.to != NO_PEER else None
    if to is not None and sighting.leader != to.id:
        leads(standings, sighting, to.store, load)


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
