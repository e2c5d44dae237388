"""Events about stores that only PD can tell: one is heard, is no longer, has been silent for long.

Each reign tells what it finds, so the first event of a store in a reign repeats what an earlier one
may have told; ids are `pd.epoch.store.n`. What the stream does not take is offered again, in order.
"""

from collections import deque
from typing import Final

from flaredb_pd.config import Config
from flaredb_pd.effects import Effect, Publish
from flaredb_pd.instant import Instant
from flaredb_pd.state import State
from flaredb_pd.watch import Change, StoreWatch
from flaredb_schemas.events import (
    StoreDisconnected,
    StoreDown,
    StoreEvent,
    StoreUp,
    about,
    cloud_headers,
    encode_event,
    kind_of,
)
from flaredb_schemas.pd_answers import Health
from flaredb_schemas.subjects import Subjects

MOST_WAITING: Final = 1_000
"""Events that wait for the stream; the oldest go first when it stays away."""

RETRY_SECONDS: Final = 1.0

_EVENTS: Final[dict[Health, type[StoreEvent]]] = {
    "up": StoreUp,
    "disconnected": StoreDisconnected,
    "down": StoreDown,
}


class StoreNews:
    """What one reign tells about stores.

    Invariants: at most one event is under way; an event is dropped only when the stream has it, or
    when too many wait.
    """

    def __init__(self, config: Config, subjects: Subjects) -> None:
        self._config = config
        self._subjects = subjects
        self._waiting: deque[StoreEvent] = deque(maxlen=MOST_WAITING)
        self._under_way = ""
        self._offer_at = 0.0
        self._told = 0

    def tick(self, state: State, watch: StoreWatch, now: Instant) -> list[Effect]:
        """Judge the stores, and publish what has changed."""
        for change in watch.tick(state.stores, self._config, now):
            self._waiting.append(self._event(state, change, now))
        if not self._waiting or self._under_way or now.seconds < self._offer_at:
            return []
        return [self._offer(state, self._waiting[0])]

    def published(self, name: str, ok: bool, now: Instant) -> None:
        """The stream has, or has not, acknowledged the event with this id."""
        if name != self._under_way:
            return  # an earlier reign's
        self._under_way = ""
        if not ok:
            self._offer_at = now.seconds + RETRY_SECONDS
        elif self._waiting and self._waiting[0].id == name:
            self._waiting.popleft()

    def _event(self, state: State, change: Change, now: Instant) -> StoreEvent:
        self._told += 1
        return _EVENTS[change.health](
            id=f"pd.{state.epoch}.store.{self._told}",
            at=now.wall,
            store=change.store,
            boot=state.stores[change.store].boot,
            previous=change.previous or "unknown",
            silent_ms=round(change.silent * 1000),
        )

    def _offer(self, state: State, event: StoreEvent) -> Publish:
        self._under_way = event.id
        return Publish(
            event.id,
            self._subjects.event(kind_of(event), about(event), self._config.name),
            encode_event(event),
            cloud_headers(event, state.cluster, self._config.name),
        )
