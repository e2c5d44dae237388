"""Which generation each store's folder has reached, kept so that an old copy of one is known.

Heartbeats tell it, and a reign remembers it. That is soft: the next reign hears it again, but only
from who lives. So it is journaled: of a store that is down at once, of all others early in a reign
and then now and then, in case everything stops at the same time.
"""

from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from flaredb_pd.config import Config
from flaredb_pd.heard import Heard
from flaredb_pd.instant import Instant
from flaredb_pd.state import State
from flaredb_pd.watch import StoreWatch
from flaredb_schemas.ids import Generation, StoreId

PERIOD: Final = 3_600.0
"""Seconds between two records about stores that live: how much a backup that is restored after a
stop of everything, PD included, may lack without being noticed. A year of it is 9,000 records."""


class NoteGenerations(Struct, frozen=True):
    """Journal that these stores' folders have got so far."""

    reached: Mapping[StoreId, Generation]


def news(state: State, reached: Mapping[StoreId, Generation]) -> dict[StoreId, Generation]:
    """What of `reached` the journal does not know yet."""
    return {
        store: generation
        for store, generation in sorted(reached.items())
        if store in state.stores and generation > state.stores[store].generation
    }


class Generations:
    """When a reign journals what."""

    def __init__(self, config: Config, now: Instant) -> None:
        self._next = now.seconds + 2 * config.heartbeat_period

    def due(
        self, state: State, heard: Heard, watch: StoreWatch, now: Instant
    ) -> tuple[NoteGenerations, ...]:
        """What is to be journaled now, if anything."""
        everybody = now.seconds >= self._next
        if everybody:
            self._next = now.seconds + PERIOD
        reached = {
            store: sighting.report.generation
            for store, sighting in heard.stores.items()
            if everybody or watch.health(store) == "down"
        }
        found = news(state, reached)
        return (NoteGenerations(found),) if found else ()
