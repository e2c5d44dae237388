"""PD in the simulated world: the production core, its journal a stream in memory."""

from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import assert_never

from flaredb.bus.bus import Message
from flaredb_pd.config import Config
from flaredb_pd.core import PdCore
from flaredb_pd.effects import AppendRecord, Effect, Note, ReadJournal, Send
from flaredb_pd.instant import Instant
from flaredb_schemas.ids import ClusterId
from flaredb_schemas.keys import KeyRange
from tests.simulator.clockwork import START_WALL
from tests.simulator.network import PD_WORDS
from tests.simulator.stores import World

TICK_SECONDS = 0.1


class SimPd:
    """One PD's process, over all its starts. It keeps nothing but the journal."""

    def __init__(self, world: World, number: int) -> None:
        self.world = world
        self.name = f"pd{number}"
        self.core: PdCore | None = None
        self._start = 0

    def start(self) -> None:
        """Start the process."""
        world, options = self.world, self.world.options
        edges = (b"", *options.boundaries, b"")
        config = Config(
            name=self.name,
            incarnation=f"{world.dice.getrandbits(128):032x}",
            cluster=ClusterId(f"{world.dice.getrandbits(128):032x}"),
            ranges=tuple(KeyRange(*pair) for pair in pairwise(edges)),
            stores=options.stores,
            heartbeat_period=options.settings.heartbeat_seconds,
        )
        self._start += 1
        self.core = PdCore(config, world.subjects, world.dice.randrange, self._now())
        world.network.listen(self.name, self._heard, PD_WORDS)
        world.trace.note(world.clockwork.now, "pd_start", self.name)
        self._tick()

    def crash(self) -> None:
        """The process is killed."""
        self.core = None
        self._start += 1
        self.world.network.leave(self.name)
        self.world.trace.note(self.world.clockwork.now, "pd_crash", self.name)

    def _now(self) -> Instant:
        now = self.world.clockwork.now
        return Instant(now, START_WALL + int(now * 1000))

    def _tick(self) -> None:
        if self.core is not None:
            self._carry_out(self.core.on_tick(self._now()))
            self._later(TICK_SECONDS, self._tick)

    def _heard(self, subject: str, payload: bytes, reply: str) -> None:
        if self.core is not None:
            self._carry_out(self.core.on_message(Message(subject, payload, reply), self._now()))

    def _later(self, seconds: float, what: Callable[[], None]) -> None:
        start = self._start
        self.world.clockwork.after(seconds, lambda: what() if start == self._start else None)

    def _carry_out(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            match effect:
                case Send():
                    self.world.network.send(self.name, effect.subject, effect.payload)
                case AppendRecord():
                    self._append(effect)
                case ReadJournal():
                    self._read(effect)
                case Note():
                    now = self.world.clockwork.now
                    self.world.trace.note(now, "pd", f"{self.name}: {effect.text}")
                case _:
                    assert_never(effect)

    def _append(self, effect: AppendRecord) -> None:
        start = self._start
        self.world.streams.append(
            effect.subject,
            effect.payload,
            effect.headers,
            effect.expected_last,
            lambda result: (
                self._carry_out(self.core.on_appended(result, self._now()))
                if start == self._start and self.core is not None
                else None
            ),
        )

    def _read(self, effect: ReadJournal) -> None:
        start = self._start
        self.world.streams.read_journal(
            effect.after,
            lambda read: (
                self._carry_out(self.core.on_read(read, self._now()))
                if start == self._start and self.core is not None
                else None
            ),
        )
