"""The asyncio edge of PD: messages, time and the journal's answers in, effects out.

Nothing is decided here. Whatever the core finds broken stops the process: a PD that is wrong about
itself must not go on, and another one takes over.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Final, assert_never

from flaredb.bus.bus import Appended, Bus, BusError, Message
from flaredb.runtime.clock import Clock, Jitter
from flaredb.runtime.logs import Logger
from flaredb_pd.config import Config
from flaredb_pd.core import PdCore
from flaredb_pd.effects import AppendRecord, Effect, Note, Publish, ReadJournal, Send
from flaredb_pd.instant import Instant
from flaredb_pd.streams import (
    all_streams,
    ensure_streams,
    event_stream,
    heartbeat_stream,
    journal_stream,
    make_lost,
    read_journal,
)
from flaredb_schemas.subjects import Subjects

TICK_SECONDS: Final = 0.1
RETRY_SECONDS: Final = 1.0
STREAMS_SECONDS: Final = 2.0
"""How often it is looked whether events and heartbeats have their streams; the journal is the
core's own."""


class PdService:
    """One PD on a bus.

    Invariant: after anything has failed inside, no message reaches the core any more.
    """

    def __init__(
        self,
        bus: Bus,
        subjects: Subjects,
        config: Config,
        clock: Clock,
        jitter: Jitter,
        log: Logger,
    ) -> None:
        self._bus = bus
        self._subjects = subjects
        self._clock = clock
        self._log = log
        self._journal = journal_stream(subjects)
        self._tasks: set[asyncio.Task[None]] = set()
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.core = PdCore(config, subjects, jitter, self._now())

    def stop(self) -> None:
        """Have `run` return."""
        if not self._ended.done():
            self._ended.set_result(None)

    async def run(self) -> None:
        """Serve until `stop`; raises what broke inside."""
        await self._have_streams()
        subscriptions = [
            await self._bus.subscribe(subject, self._on_message) for subject in self._inbox
        ]
        self._bus.on_connection(self._on_connection)
        self._start(self._tick_for_ever())
        self._start(self._keep_streams())
        try:
            await self._ended
        finally:
            tasks = list(self._tasks)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for subscription in subscriptions:
                await subscription.stop()

    @property
    def _inbox(self) -> tuple[str, ...]:
        return (
            self._subjects.pd_alive,
            self._subjects.heartbeats,
            self._subjects.pd_get(">"),
            self._subjects.pd_admin(">"),
            f"{self._subjects.prefix}.pd.req.>",
        )

    async def _have_streams(self) -> None:
        while not self._ended.done():
            try:
                for line in await ensure_streams(self._bus.history, all_streams(self._subjects)):
                    self._log.warning("stream drifts", difference=line)
                return
            except BusError as error:
                self._log.warning("streams are not there yet", reason=str(error))
            await asyncio.wait([self._ended], timeout=RETRY_SECONDS)

    def _now(self) -> Instant:
        return Instant(self._clock.monotonic(), self._clock.wall())

    def _on_message(self, message: Message) -> None:
        # What asks to be answered elsewhere could have PD write into its own journal.
        if message.asks_rightly:
            self._drive(lambda: self.core.on_message(message, self._now()))

    def _on_connection(self, up: bool) -> None:
        self._drive(lambda: self.core.on_connection(up, self._now()))

    async def _tick_for_ever(self) -> None:
        while True:
            self._drive(lambda: self.core.on_tick(self._now()))
            await asyncio.sleep(TICK_SECONDS)

    async def _keep_streams(self) -> None:
        """While this PD leads, have the streams that somebody has taken away."""
        wanted = event_stream(self._subjects), heartbeat_stream(self._subjects)
        while True:
            await asyncio.sleep(STREAMS_SECONDS)
            if not (self.core.leading and self._bus.connected):
                continue
            try:
                for name in await make_lost(self._bus.history, wanted):
                    self._log.warning("a stream was lost: history has a gap there", stream=name)
            except BusError as error:
                self._log.warning("streams cannot be looked at", reason=str(error))

    def _drive(self, turn: Callable[[], Iterable[Effect]]) -> None:
        if self._ended.done():
            return
        try:
            for effect in turn():
                self._carry_out(effect)
        except Exception as error:
            # Not only AssertionError: whatever a turn raises, half of it may have been done.
            self._ended.set_exception(error)

    def _carry_out(self, effect: Effect) -> None:
        match effect:
            case Send():
                self._bus.send(effect.subject, effect.payload)
            case AppendRecord():
                self._start(self._append(effect))
            case Publish():
                self._start(self._publish(effect))
            case ReadJournal():
                self._start(self._read(effect))
            case Note(level="warning"):
                self._log.warning(effect.text)
            case Note():
                self._log.info(effect.text)
            case _:
                assert_never(effect)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._work_ended)

    def _work_ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and not self._ended.done():
            self._ended.set_exception(error)

    async def _append(self, effect: AppendRecord) -> None:
        result = await self._bus.history.append(
            effect.subject, effect.payload, effect.headers, effect.expected_last
        )
        self._drive(lambda: self.core.on_appended(result, self._now()))

    async def _publish(self, effect: Publish) -> None:
        result = await self._bus.history.append(effect.subject, effect.payload, effect.headers)
        ok = isinstance(result, Appended)
        self._drive(lambda: self.core.on_published(effect.id, ok, self._now()))

    async def _read(self, effect: ReadJournal) -> None:
        read = await read_journal(self._bus.history, self._journal, effect.after)
        self._drive(lambda: self.core.on_read(read, self._now()))
