"""Hears from the stream of events who leads a region, before any refusal tells it.

An event is a hint: it is believed as far as its term is newer, and nothing depends on hearing it.
"""

import msgspec

from flaredb.bus.bus import Bus, Message, Subscription
from flaredb.client.courier import Courier
from flaredb.client.routes import RouteTable
from flaredb_schemas.events import LeaderChanged, decode_event
from flaredb_schemas.regions import Route
from flaredb_schemas.subjects import Subjects


class LeaderNews:
    """One client's ear for new leaders."""

    def __init__(self, bus: Bus, subjects: Subjects, routes: RouteTable, courier: Courier) -> None:
        self._bus = bus
        self._subject = subjects.event("region.leader_changed", "*", "*")
        self._routes = routes
        self._courier = courier
        self._subscription: Subscription | None = None

    async def open(self) -> None:
        """Start to hear."""
        self._subscription = await self._bus.subscribe(self._subject, self._hear)

    async def close(self) -> None:
        """Stop to hear."""
        if self._subscription is not None:
            await self._subscription.stop()

    def _hear(self, message: Message) -> None:
        try:
            event = decode_event(message.payload)
        except (msgspec.DecodeError, RecursionError):
            return  # of a newer version, or of nobody we know
        if isinstance(event, LeaderChanged):
            self._believe(event)

    def _believe(self, event: LeaderChanged) -> None:
        known = self._routes.by_id(event.region)
        if known is None or event.term <= known.term:
            return
        self._routes.learn(Route(known.region, event.leader, event.store, event.term))
        self._courier.leader_changed(event.region, event.store)
