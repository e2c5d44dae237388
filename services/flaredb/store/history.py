"""Committed events reach the stream once each, in the order of the region's log.

The leader of a region publishes its outbox, one event at a time per region; when the stream has
acknowledged one, it is removed here and the other replicas are told. Publishing never holds up the
turn, and what the stream does not take now is offered again later.
"""

from collections.abc import Callable, Mapping
from typing import Final

from flaredb.disk.layout import outbox_key
from flaredb.store.context import Context
from flaredb.store.outbox import Outbox, Waiting
from flaredb.store.replica import Replica
from flaredb_schemas.events import Event, about, cloud_headers, encode_event, kind_of
from flaredb_schemas.frames import Published
from flaredb_schemas.ids import Index, RegionId
from flaredb_schemas.subjects import Subjects

MAX_UNDER_WAY: Final = 256
"""Events that wait for the stream's acknowledgement at a time."""

RETRY_SECONDS: Final = 1.0

TELL_SECONDS: Final = 10.0
"""How often followers of an awake region are told anew what is published: words get lost."""

MAX_OWN_EVENTS: Final = 1_000
"""Events of the store itself that wait for the stream; the oldest go first when it stays away."""

Publish = Callable[[int, str, bytes, Mapping[str, str]], None]

OfRegion = tuple[Replica, Outbox, Waiting]
"""An event under way, and the very outbox that it came from: a snapshot replaces the outbox."""


class History:
    """What waits to be published.

    Invariants: one event per region is under way at most; `_regions` holds every led region whose
    outbox is not empty (and perhaps some others); an event is removed only after the stream, or a
    leader, has said that it is there.
    """

    __slots__ = (
        "_context",
        "_own",
        "_own_events",
        "_publish",
        "_regions",
        "_retry_at",
        "_subjects",
        "_tell_at",
        "_token",
        "_tokens",
    )

    def __init__(self, context: Context, subjects: Subjects, publish: Publish) -> None:
        self._context = context
        self._subjects = subjects
        self._publish = publish
        self._regions: dict[RegionId, None] = {}
        self._tokens: dict[int, OfRegion | Event] = {}
        self._token = 0
        self._own: list[Event] = []
        self._own_events = 0
        self._retry_at = 0.0
        self._tell_at = context.now + TELL_SECONDS

    def add_own(self, event: Event) -> None:
        """An event of the store itself, which stands in no log. Kept in memory only."""
        self._own = [*self._own[1 - MAX_OWN_EVENTS :], event]

    def note(self, replica: Replica) -> None:
        """This replica may have something to publish."""
        if replica.leads and replica.outbox.next() is not None:
            self._regions[replica.id] = None

    def flush(self) -> None:
        """Offer to the stream what may be offered now."""
        context = self._context
        if context.now < self._retry_at:
            return
        own, self._own = self._own, []
        for event in own:
            self._offer(event, event)
        while self._regions and len(self._tokens) < MAX_UNDER_WAY:
            region = next(iter(self._regions))
            del self._regions[region]
            replica = context.registry.get(region)
            if replica is None or not replica.leads:
                continue
            waiting = replica.outbox.next()
            if waiting is not None:
                replica.outbox.publishing += 1
                self._offer((replica, replica.outbox, waiting), waiting.event)

    def published(self, token: int, ok: bool) -> None:
        """The stream has, or has not, acknowledged the event with this token."""
        what = self._tokens.pop(token)
        if not ok:
            self._retry_at = self._context.now + RETRY_SECONDS
        if not isinstance(what, tuple):
            if not ok:
                self.add_own(what)
            return
        replica, outbox, waiting = what
        outbox.publishing -= 1
        if ok:
            self._remove(replica, replica.outbox.published(waiting.index, waiting.number))
            if replica.outbox.is_done(waiting.index):
                self._tell(replica, waiting.index)
        self.note(replica)

    def told(self, replica: Replica, index: Index) -> None:
        """The leader says that all events up to `index` are in the stream."""
        if not replica.leads:
            self._remove(replica, replica.outbox.published(index))

    def tick(self) -> None:
        """Once per tick: now and then tell followers what a leader without events knows."""
        context = self._context
        if context.now < self._tell_at:
            return
        self._tell_at = context.now + TELL_SECONDS
        for replica in context.registry:
            if replica.leads and not replica.asleep and not len(replica.outbox):
                self._tell(replica, replica.machine.state.index)

    def next_own_id(self) -> str:
        """A fresh id for an event of the store itself."""
        self._own_events += 1
        me = self._context.me
        return f"{me.store}.{me.boot}.{self._own_events}"

    @property
    def is_own_empty(self) -> bool:
        """Whether all events of the store itself are in the stream."""
        return not self._own and all(isinstance(what, tuple) for what in self._tokens.values())

    def next_due(self) -> float | None:
        """When something that could not be published is offered again."""
        return self._retry_at if self._own or self._regions else None

    def _offer(self, what: OfRegion | Event, event: Event) -> None:
        self._token += 1
        self._tokens[self._token] = what
        publisher = f"store-{self._context.me.store}"
        self._publish(
            self._token,
            self._subjects.event(kind_of(event), about(event), publisher),
            encode_event(event),
            cloud_headers(event, self._context.me.cluster, publisher),
        )

    def _remove(self, replica: Replica, gone: list[Waiting]) -> None:
        for waiting in gone:
            self._context.saver.published(outbox_key(replica.id, waiting.index, waiting.number))

    def _tell(self, replica: Replica, index: Index) -> None:
        for peer in replica.region.peers:
            if peer.id != replica.peer:
                self._context.outgoing.add(peer.store, Published(replica.id, peer.id, index))
