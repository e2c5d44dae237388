"""Events of one region that are committed and not yet known to be in the stream.

Every replica keeps them; the leader publishes them in order, and tells the others how far the
stream has acknowledged. A new leader goes on from there; what is published twice has the same id.
"""

from collections import deque
from collections.abc import Iterator

from msgspec import Struct

from flaredb_schemas.events import Event, decode_event, encode_event
from flaredb_schemas.ids import Index


class Waiting(Struct, frozen=True, gc=False):
    """One event: the `number`th of the entry at `index`."""

    index: Index
    number: int
    event: Event


class Outbox:
    """The events of one region, oldest first.

    Invariants: positions rise; `publishing` counts the events at the front that are under way; no
    event waits that is known to be published.
    """

    __slots__ = ("_events", "_published", "publishing")

    def __init__(self) -> None:
        self._published = Index(0)
        self._events: deque[Waiting] = deque()
        self.publishing = 0

    def add(self, index: Index, number: int, event: Event) -> bytes | None:
        """Keep an event of the entry at `index`; returns its record, or None if it is not needed.

        A replica that applies late may hear that an event is published before it applies it.
        """
        if index <= self._published:
            return None
        assert not self._events or (self._events[-1].index, self._events[-1].number) < (
            index,
            number,
        ), "events are added in the order of the log"
        self._events.append(Waiting(index, number, event))
        return encode_event(event)

    def load(self, index: Index, number: int, record: bytes) -> None:
        """Keep an event that was found on disk."""
        self._events.append(Waiting(index, number, decode_event(record)))

    def next(self) -> Waiting | None:
        """The oldest event, if none is under way."""
        return self._events[0] if self._events and not self.publishing else None

    def of(self, index: Index) -> list[Waiting]:
        """The events of the entry at `index` that still wait."""
        return [waiting for waiting in self._events if waiting.index == index]

    def published(self, index: Index, number: int | None = None) -> list[Waiting]:
        """Events up to this position are in the stream: drop them, and say which they were.

        Without `number` all events of the entry are meant.
        """
        if number is None:
            self._published = max(self._published, index)
        gone: list[Waiting] = []
        while self._events and (
            self._events[0].index < index
            or (
                self._events[0].index == index
                and (number is None or self._events[0].number <= number)
            )
        ):
            gone.append(self._events.popleft())
        return gone

    def is_done(self, index: Index) -> bool:
        """Whether no event of an entry up to `index` waits any more."""
        return not self._events or self._events[0].index > index

    def __iter__(self) -> Iterator[Waiting]:
        return iter(self._events)

    def __len__(self) -> int:
        return len(self._events)
