"""What an operator is expected to change, and how that compares with what came of it.

The same figures are read when it starts and when it ends. At the end they tell of the whole
cluster as it is then: of this operator, and of all else that happened meanwhile.
"""

from collections.abc import Iterable, Iterator, Sequence
from statistics import median_low
from typing import Final, assert_never

from msgspec import Struct

from flaredb_pd.heard import Heard
from flaredb_pd.loads import Loads
from flaredb_pd.locations import Locations, locate
from flaredb_pd.operators import Operator
from flaredb_pd.region_map import Sighting
from flaredb_pd.state import State
from flaredb_schemas.decisions import MOST_CANDIDATES, Effect, FigureName, Outcome, Seen
from flaredb_schemas.ids import NO_STORE, RegionId, StoreId

MIB: Final = 2**20

MOST_COMPARED: Final = 20
"""By how many of the last operators it is told how long the next one takes."""


class Change(Struct, frozen=True):
    """What is to become of a region: the store that gets a replica, the one that loses one, and
    the one that is to lead; 0 where none is."""

    add: StoreId = NO_STORE
    remove: StoreId = NO_STORE
    to: StoreId = NO_STORE


class Figures:
    """What is counted, as it is known now."""

    def __init__(self, state: State, heard: Heard, loads: Loads, levels: Sequence[str]) -> None:
        self._state: Final = state
        self._heard: Final = heard
        self._loads: Final = loads
        self._levels: Final = levels

    def effects(self, change: Change, sighting: Sighting) -> tuple[Effect, ...]:
        """What a change of this region is expected to do to figures."""
        return tuple(self._effects(change, sighting))

    def _effects(self, change: Change, sighting: Sighting) -> Iterator[Effect]:
        region, size = sighting.region, sighting.bytes
        for store, sign in ((change.remove, -1), (change.add, 1)):
            if store:
                yield self._effect("replicas", store, sign)
                yield self._effect("bytes", store, sign * size)
        if change.to or change.remove == sighting.store:
            load = round(self._loads.rate(region.id))
            for store, sign in ((sighting.store, -1), (change.to, 1)):
                if store:
                    yield self._effect("leaders", store, sign)
                    yield self._effect("keys_per_second", store, sign * load)
        places = self._places() if change.add or change.remove else None
        if places is not None and places.are_known:
            come = [change.add] if change.add else []
            after = [*(store for store in region.stores if store != change.remove), *come]
            together = places.together(region.stores), places.together(after)
            yield Effect(
                figure="shared_labels", store=NO_STORE, before=together[0], after=together[1]
            )

    def _effect(self, figure: FigureName, store: StoreId, more: int) -> Effect:
        now = self._borne(figure, store)
        return Effect(figure=figure, store=store, before=now, after=now + more)

    def _borne(self, figure: FigureName, store: StoreId) -> int:
        bearing = self._heard.regions.bearing
        match figure:
            case "replicas":
                return bearing.replicas[store]
            case "bytes":
                return bearing.bytes[store]
            case "leaders":
                return bearing.leaders[store]
            case "keys_per_second":
                return self._loads.borne(store)
            case "shared_labels":
                raise AssertionError("no figure of a store")
            case _:
                assert_never(figure)

    def _places(self) -> Locations:
        return locate(self._state, self._heard, self._levels)

    def outcomes(self, region: RegionId, effects: Iterable[Effect]) -> tuple[Outcome, ...]:
        """What became of these effects of an operator on a region."""
        realised = ((one, self._realised(one, region)) for one in effects)
        return tuple(
            Outcome(
                figure=one.figure,
                store=one.store,
                before=one.before,
                predicted=one.after,
                realised=now,
            )
            for one, now in realised
            if now is not None
        )

    def _realised(self, effect: Effect, region: RegionId) -> int | None:
        if effect.figure != "shared_labels":
            return self._borne(effect.figure, effect.store)
        told = self._heard.regions.get(region)
        return self._places().together(told.region.stores) if told is not None else None

    def seen(self, sighting: Sighting | None, stores: Iterable[StoreId]) -> Seen:
        """What is known now of a region, and of stores that were compared for it."""
        leads = [sighting.store] if sighting is not None else []
        beats = [self._heard.stores.get(store) for store in dict.fromkeys([*leads, *stores])]
        heartbeats = tuple(beat.id for beat in beats if beat is not None)[:MOST_CANDIDATES]
        if sighting is None:
            return Seen(sequence=self._state.sequence, heartbeats=heartbeats)
        epoch = sighting.region.epoch
        return Seen(
            sequence=self._state.sequence,
            version=epoch.version,
            conf_ver=epoch.conf_ver,
            term=sighting.term,
            heartbeats=heartbeats,
        )

    def expected_ms(self, brings: bool, size: int) -> int:
        """How long an operator takes that brings a replica of `size` bytes to a store, or none: by
        the rate of the last ones that were done; 0 where there were none."""
        ended = reversed(self._state.operators.ended)
        rates = [rate for rate in map(_rate, ended) if rate is not None and rate[0] is brings]
        if not rates:
            return 0
        per_mib = median_low(rate[1] for rate in rates[:MOST_COMPARED])
        return per_mib * (size + MIB) // MIB


def _rate(operator: Operator) -> tuple[bool, int] | None:
    """Whether it brought a replica, and its milliseconds per MiB; the first MiB is for the steps,
    which even nothing takes."""
    ended = operator.ended
    if ended is None or ended.outcome != "done":
        return None
    return operator.started.add is not None, ended.ms * MIB // (ended.bytes + MIB)
