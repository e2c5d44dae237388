"""PD in the simulated world: the production core, its journal a stream in memory."""

from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import assert_never

from flaredb.bus.bus import Appended, AppendResult, Message
from flaredb.store.orders import ORDERS
from flaredb.store.replica import Replica
from flaredb_pd.config import Config
from flaredb_pd.core import PdCore
from flaredb_pd.effects import AppendRecord, Effect, JournalRead, Note, Publish, ReadJournal, Send
from flaredb_pd.instant import Instant
from flaredb_schemas.envelope import Malformed
from flaredb_schemas.ids import ClusterId, PdIncarnation, PeerId
from flaredb_schemas.keys import KeyRange
from flaredb_schemas.placement import Order, TransferLeader
from tests.simulator.clockwork import START_WALL
from tests.simulator.network import PD_WORDS
from tests.simulator.world import World

TICK_SECONDS = 0.1


class SimPd:
    """One PD's process, over all its starts. It keeps nothing but the journal."""

    def __init__(self, world: World, number: int) -> None:
        self.world = world
        self.name = f"pd{number}"
        self.core: PdCore | None = None
        self.on_order: Callable[[Order, str], None] = lambda order, process: None
        """Told that this start of this PD gives an order."""
        self._start = 0
        self._paused_until = 0.0

    def start(self) -> None:
        """Start the process."""
        world, options = self.world, self.world.options
        edges = (b"", *options.boundaries, b"")
        config = Config(
            name=self.name,
            incarnation=PdIncarnation(f"{world.dice.getrandbits(128):032x}"),
            cluster=ClusterId(f"{world.dice.getrandbits(128):032x}"),
            ranges=tuple(KeyRange(*pair) for pair in pairwise(edges)),
            stores=options.first_stores,
            heartbeat_period=options.settings.heartbeat_seconds,
            merge_after=options.merge_after,
            replace_after=options.replace_after,
            balance=options.balance,
        )
        self._start += 1
        self.core = PdCore(config, world.subjects, world.dice.randrange, self._now())
        world.network.listen(self.name, self._heard, PD_WORDS)
        world.note("pd_start", self.name)
        self._tick()

    def crash(self) -> None:
        """The process is killed."""
        self.core = None
        self._start += 1
        self.world.network.leave(self.name)
        self.world.note("pd_crash", self.name)

    def pause(self, seconds: float) -> None:
        """The process stands still; what comes meanwhile it finds when it goes on."""
        self._paused_until = self.world.clockwork.now + seconds
        self.world.note("pd_pause", f"{self.name} {seconds:.2f}")

    @property
    def running(self) -> bool:
        """Whether there is a process."""
        return self.core is not None

    @property
    def may_order(self) -> bool:
        """Whether it reigns, as far as it knows, and has heard what it must hear before."""
        core = self.core
        return core is not None and core._reign is not None and core._reign.may_order

    def transfer(self, replica: Replica, to: PeerId) -> None:
        """Order that `to` lead the region that `replica` leads; nothing if this PD may not order.

        Production's PD gives such orders when it drains or balances."""
        core = self.core
        if core is None or not self.may_order:
            return
        body = TransferLeader(replica.id, replica.region.epoch, replica.peer, to)
        state = core.state
        order = Order(state.epoch, state.sequence, body, state.incarnation)
        subject = self.world.subjects.pd_order(replica.store_of(replica.peer))
        self._send(subject, ORDERS.encode(order))

    def _send(self, subject: str, payload: bytes) -> None:
        if subject.startswith(f"{self.world.subjects.prefix}.pd.order."):
            order = ORDERS.decode(payload)
            assert not isinstance(order, Malformed), order
            self.on_order(order, f"{self.name} start {self._start}")
        self.world.network.send(self.name, subject, payload)

    def _now(self) -> Instant:
        now = self.world.clockwork.now
        return Instant(now, START_WALL + int(now * 1000))

    def _tick(self) -> None:
        self._awake(lambda core: core.on_tick(self._now()))
        self._later(max(TICK_SECONDS, self._paused_until - self.world.clockwork.now), self._tick)

    def _heard(self, subject: str, payload: bytes, reply: str) -> None:
        message = Message(subject, payload, reply)
        self._awake(lambda core: core.on_message(message, self._now()))

    def _later(self, seconds: float, what: Callable[[], None]) -> None:
        start = self._start
        self.world.clockwork.after(seconds, lambda: what() if start == self._start else None)

    def _awake(self, what: Callable[[PdCore], Iterable[Effect]]) -> None:
        """Have the core do something, as soon as the process runs."""
        wait = self._paused_until - self.world.clockwork.now
        if wait > 0:
            self._later(wait, lambda: self._awake(what))
        elif self.core is not None:
            self._carry_out(what(self.core))

    def _carry_out(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            match effect:
                case Send():
                    self._send(effect.subject, effect.payload)
                case AppendRecord():
                    self._append(effect)
                case Publish():
                    self._publish(effect)
                case ReadJournal():
                    self._read(effect)
                case Note():
                    self.world.note("pd", f"{self.name}: {effect.text}")
                case _:
                    assert_never(effect)

    def _append(self, effect: AppendRecord) -> None:
        start = self._start

        def appended(result: AppendResult) -> None:
            if start == self._start:
                self._awake(lambda core: core.on_appended(result, self._now()))

        self.world.streams.append(
            effect.subject, effect.payload, effect.headers, effect.expected_last, appended
        )

    def _publish(self, effect: Publish) -> None:
        start = self._start

        def appended(result: AppendResult) -> None:
            if start == self._start:
                ok = isinstance(result, Appended)
                self._awake(lambda core: core.on_published(effect.id, ok, self._now()))

        self.world.streams.append(effect.subject, effect.payload, effect.headers, None, appended)

    def _read(self, effect: ReadJournal) -> None:
        start = self._start

        def read(found: JournalRead | None) -> None:
            if start == self._start:
                self._awake(lambda core: core.on_read(found, self._now()))

        self.world.streams.read_journal(effect.after, read)
