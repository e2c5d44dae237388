"""Which stores live, as PD hears them: by their answers to its keep-alive, and by heartbeats.

A store answers each second, so some seconds of silence say something; its full reports, of which
there is one in thirty seconds, would say it late. Nothing here grants, orders or decides.

While PD itself is deaf no silence counts. A store that was down before is still as silent as it had
been by then; of all others silence begins anew, as it does of all stores in a new reign.
"""

from collections.abc import Collection

from msgspec import Struct

from flaredb_pd.config import Config
from flaredb_pd.instant import Instant
from flaredb_schemas.ids import StoreId
from flaredb_schemas.pd_answers import Health


class Change(Struct, frozen=True):
    """A store's health is another one; `previous` is None where this reign had not judged it.

    `silent` is for how many seconds the store had not been heard while PD listened.
    """

    store: StoreId
    health: Health
    previous: Health | None
    silent: float


class StoreWatch:
    """The health of all stores.

    Invariants: health worsens only by silence while PD listens, and mends only by the store's own
    voice; `tick` tells every change once.
    """

    def __init__(self, now: Instant) -> None:
        self._listening = self._ticked = now.seconds
        self._deaf_since: float | None = None
        self._heard: dict[StoreId, Instant] = {}
        self._expected: dict[StoreId, float] = {}
        """Since when each store is looked for."""
        self._health: dict[StoreId, Health] = {}
        self._silences: dict[StoreId, float] = {}
        """How long each store that is not up yet was silent before it was heard."""
        self._proven: dict[StoreId, float] = {}
        """How silent each store that has been down since before PD was deaf had been by then."""

    def hear(self, store: StoreId, now: Instant) -> None:
        """Something that this store says has come."""
        if self._health.get(store) != "up":
            self._silences.setdefault(store, self.silent(store, now))
        self._heard[store] = now
        self._proven.pop(store, None)

    def deafen(self, now: Instant) -> None:
        """PD hears nobody from here on, by its own fault: silence counts no more."""
        self._deaf_since = now.seconds if self._deaf_since is None else self._deaf_since

    def listen_anew(self, now: Instant) -> None:
        """PD heard nobody until now, by its own fault: since its last tick, if not for longer."""
        self.deafen(Instant(self._ticked, now.wall))
        down = [store for store, health in self._health.items() if health == "down"]
        self._proven = {store: self.silent(store, now) for store in down}
        self._listening, self._deaf_since = now.seconds, None

    def health(self, store: StoreId) -> Health:
        """The store's health; one of which nothing is known yet counts as disconnected."""
        return self._health.get(store, "disconnected")

    def is_up(self, store: StoreId) -> bool:
        """Whether the store is heard."""
        return self.health(store) == "up"

    def is_down(self, store: StoreId) -> bool:
        """Whether the store has been silent for so long that it counts as down."""
        return self.health(store) == "down"

    def silent(self, store: StoreId, now: Instant) -> float:
        """For how many seconds the store has not been heard while PD listened."""
        heard = self._heard.get(store)
        since = heard.seconds if heard else self._expected.get(store, now.seconds)
        until = now.seconds if self._deaf_since is None else self._deaf_since
        return self._proven.get(store, 0.0) + max(0.0, until - max(since, self._listening))

    def last_heard(self, store: StoreId) -> Instant | None:
        """When the store was heard last; None if it was not heard in this reign."""
        return self._heard.get(store)

    def tick(self, stores: Collection[StoreId], config: Config, now: Instant) -> list[Change]:
        """Judge `stores`, and no others any more; returns what has changed, by store."""
        self._ticked = now.seconds
        self._health = {store: known for store, known in self._health.items() if store in stores}
        for store in stores:
            self._expected.setdefault(store, now.seconds)
        judged = (self._judge(store, config, now) for store in sorted(stores))
        changes = [change for change in judged if change is not None]
        self._health.update((change.store, change.health) for change in changes)
        return changes

    def _judge(self, store: StoreId, config: Config, now: Instant) -> Change | None:
        heard, before = self._heard.get(store), self._health.get(store)
        silent, after = self.silent(store, now), before
        if silent >= config.down_after:
            after = "down"
        elif silent >= config.disconnected_after:
            after = before if before == "down" else "disconnected"
        elif heard is not None and heard.seconds >= self._listening:
            after, silent = "up", self._silences.pop(store, 0.0)
        return Change(store, after, before, silent) if after and after != before else None
