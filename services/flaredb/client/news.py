"""Hears from the stream of events who leads a region and which regions are split.

An event is a hint, told before any refusal: who leads is believed as far as the term is newer, what
regions there are as far as the version is, and nothing depends on hearing it.
"""

import msgspec

from flaredb.bus.bus import Bus, Message, Subscription
from flaredb.client.courier import Courier
from flaredb.client.routes import RouteTable
from flaredb_schemas.events import LeaderChanged, RegionSplit, decode_event
from flaredb_schemas.ids import NO_PEER, NO_STORE
from flaredb_schemas.keys import KeyRange
from flaredb_schemas.regions import Epoch, Region, Route
from flaredb_schemas.reported import reported_peers
from flaredb_schemas.subjects import Subjects

KINDS = ("region.leader_changed", "region.split")


class RegionNews:
    """One client's ear for new leaders and new regions."""

    def __init__(self, bus: Bus, subjects: Subjects, routes: RouteTable, courier: Courier) -> None:
        self._bus = bus
        self._subjects = [subjects.event(kind, "*", "*") for kind in KINDS]
        self._routes = routes
        self._courier = courier
        self._subscriptions: list[Subscription] = []

    async def open(self) -> None:
        """Start to hear."""
        for subject in self._subjects:
            self._subscriptions.append(await self._bus.subscribe(subject, self._hear))

    async def close(self) -> None:
        """Stop to hear."""
        for subscription in self._subscriptions:
            await subscription.stop()

    def _hear(self, message: Message) -> None:
        try:
            event = decode_event(message.payload)
        except (msgspec.DecodeError, RecursionError):
            return  # of a newer version, or of nobody we know
        if isinstance(event, LeaderChanged):
            self._believe(event)
        elif isinstance(event, RegionSplit):
            self._learn_parts(event)

    def _believe(self, event: LeaderChanged) -> None:
        known = self._routes.by_id(event.region)
        if known is None or event.term <= known.term:
            return
        self._routes.learn(Route(known.region, event.leader, event.store, event.term))
        self._courier.leader_changed(event.region, event.store)

    def _learn_parts(self, event: RegionSplit) -> None:
        """What was one route becomes several; who led the whole stands for the parts at once."""
        known = self._routes.by_id(event.region)
        if known is None:
            return
        for part in event.parts:
            epoch = Epoch(event.conf_ver, event.version)
            peers = reported_peers(part.peers)
            region = Region(part.id, KeyRange(part.start, part.end), epoch, peers)
            leader = region.peer_on(known.store)
            store = known.store if leader else NO_STORE
            route = Route(region, leader.id if leader else NO_PEER, store, time=event.at)
            self._routes.learn(route)
