"""What PD and leaders publish about one region, acted upon in the very moment that it is heard.

A test that has to harm a process amid a step cannot poll for it: the step may be over by then. Here
the harm is done in the call that received the message.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final, Literal

import msgspec

from flaredb.bus.bus import History, Message, StreamRecord
from flaredb.bus.nats_bus import NatsBus
from flaredb_schemas.envelope import Codec, Malformed
from flaredb_schemas.events import PeersChanged, StoreStopped, decode_event
from flaredb_schemas.ids import PdEpoch, RegionId
from flaredb_schemas.journal import TookOver
from flaredb_schemas.operators import OperatorEnded, OperatorStarted, OperatorStepped
from flaredb_schemas.placement import Heartbeat, Order
from flaredb_schemas.records import JournalFact, decode_fact
from flaredb_schemas.subjects import Subjects

SUBJECTS: Final = Subjects()

Moment = Literal[
    "started",
    "learner_added",
    "leader_moved",
    "joint",
    "voters_changed",
    "removed",
    "ended",
    "confirmed",
]
"""The steps of a move, as they become known: `joint`, `removed` and `confirmed` from the region's
leader, the others as records of PD's journal."""

_order: Codec[Order] = Codec(Order)
_heartbeats = msgspec.json.Decoder(Heartbeat)


class Overheard:
    """What was heard since `overhearing` began.

    Invariant: what `when` was told to do is done once at most.
    """

    def __init__(self) -> None:
        self.facts: Final[list[JournalFact]] = []
        self.reigns: Final[list[tuple[float, TookOver]]] = []
        """Each takeover, and when it was heard, on the monotonic clock."""
        self.orders: Final[list[tuple[float, Order]]] = []
        self.stops: Final[list[StoreStopped]] = []
        """Which stores stopped as asked."""
        self._leaving: set[RegionId] = set()
        self._waiting: dict[tuple[RegionId, Moment], Callable[[], None]] = {}

    def when(self, region: RegionId, moment: Moment, do: Callable[[], None]) -> asyncio.Event:
        """Have this done as soon as the moment is heard; the event is set right after that."""
        done = asyncio.Event()

        def do_and_tell() -> None:
            do()
            done.set()

        self._waiting[region, moment] = do_and_tell
        return done

    def journal_heard(self, message: Message) -> None:
        """A record of PD's journal."""
        fact = decode_fact(message.payload)
        if isinstance(fact, JournalFact):
            self.facts.append(fact)
        match fact:
            case TookOver():
                self.reigns.append((time.monotonic(), fact))
            case OperatorStarted():
                self._note(fact.region, "started")
            case OperatorStepped():
                self._note(fact.region, fact.step)
            case OperatorEnded():
                self._note(fact.region, "ended")
            case _:
                pass

    def store_heard(self, message: Message) -> None:
        """A store has stopped as asked."""
        event = decode_event(message.payload)
        if isinstance(event, StoreStopped):
            self.stops.append(event)

    def event_heard(self, message: Message) -> None:
        """An event of a region."""
        event = decode_event(message.payload)
        if not isinstance(event, PeersChanged):
            return
        if any(peer.role in ("incoming_voter", "demoting_voter") for peer in event.peers):
            self._note(event.region, "joint")
        if event.removed:
            self._leaving.add(event.region)
            self._note(event.region, "removed")

    def heartbeat_heard(self, message: Message) -> None:
        """A store's heartbeat."""
        for report in _heartbeats.decode(message.payload).regions:
            if report.removed:
                self._leaving.add(report.id)
            elif report.id in self._leaving:
                self._leaving.remove(report.id)
                self._note(report.id, "confirmed")

    def order_heard(self, message: Message) -> None:
        """An order of some PD to some store."""
        order = _order.decode(message.payload)
        assert not isinstance(order, Malformed)
        self.orders.append((time.monotonic(), order))

    def orders_of(self, epoch: PdEpoch, since: float) -> list[Order]:
        """What the PD of this reign has ordered since then."""
        return [one for at, one in self.orders if one.pd_epoch == epoch and at >= since]

    async def takeover_after(self, epoch: PdEpoch, seconds: float) -> tuple[float, TookOver]:
        """When the first reign above this epoch was heard of, and which it is."""
        async with asyncio.timeout(seconds):
            while True:
                for at, reign in self.reigns:
                    if reign.epoch > epoch:
                        return at, reign
                await asyncio.sleep(0.01)

    def _note(self, region: RegionId, moment: Moment) -> None:
        do = self._waiting.pop((region, moment), None)
        if do is not None:
            do()


async def journal_of(history: History) -> list[StreamRecord]:
    """All records of PD's journal."""
    found: list[StreamRecord] = []
    while more := await history.read(
        SUBJECTS.journal_stream, after=found[-1].sequence if found else 0, timeout=0.1
    ):
        found += more
    return found


async def facts_of(history: History) -> list[JournalFact]:
    """What the journal says: of what is overheard, that which was not fenced off."""
    facts = [decode_fact(record.payload) for record in await journal_of(history)]
    return [fact for fact in facts if isinstance(fact, JournalFact)]


@asynccontextmanager
async def overhearing(url: str) -> AsyncIterator[Overheard]:
    """Listen to the bus within the block."""
    heard, bus = Overheard(), await NatsBus.connect(url, name="overhears")
    try:
        await bus.subscribe(SUBJECTS.events_of("operator"), heard.journal_heard)
        await bus.subscribe(SUBJECTS.events_of("pd"), heard.journal_heard)
        await bus.subscribe(SUBJECTS.events_of("region"), heard.event_heard)
        await bus.subscribe(f"{SUBJECTS.prefix}.evt.store.stopped.>", heard.store_heard)
        await bus.subscribe(SUBJECTS.heartbeats, heard.heartbeat_heard)
        await bus.subscribe(f"{SUBJECTS.prefix}.pd.order.*", heard.order_heard)
        yield heard
    finally:
        await bus.close()
