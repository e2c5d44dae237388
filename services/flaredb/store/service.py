"""The asyncio edge of a store: bus and disk in, turns, bus out, and a clean stop.

Callbacks of bus and disk only queue and ask for a turn; a turn runs once per pass of the loop, so
what arrives together is handled together. Nothing here decides anything.
"""

import asyncio
import gc
import logging
import secrets
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import anyio

from flaredb.bus.bus import Appended, Message
from flaredb.disk.disk import Batch, JobResult
from flaredb.disk.lmdb_disk import LmdbDisk
from flaredb.disk.lmdb_environment import damaged
from flaredb.runtime.clock import Clock, Jitter
from flaredb.runtime.settings import StoreSettings
from flaredb.store.joining import Accepted, Joining, Wait
from flaredb.store.planes import Planes
from flaredb.store.records import CorruptRecordError
from flaredb.store.status import figures_of
from flaredb.store.store import Store
from flaredb.store.twins import find_twin, has_successor, say_first_word
from flaredb_schemas.ids import StoreId, StoreUuid
from flaredb_schemas.placement import JoinRefused
from flaredb_schemas.subjects import Subjects

log: Final = logging.getLogger(__name__)

VERSION: Final = "0.1.0"


HAND_OVER_SECONDS: Final = 5.0
"""How long a stopping store waits for others to lead in its place, and then for its last word."""


class StoreFailed(Exception):
    """The store cannot start, or cannot go on; the text says why and what to do."""


class StoreRefused(StoreFailed):
    """PD does not have this store in the cluster, and will not: starting it again is no use."""


class StoreProcess:
    """Runs one store until it is told to stop or cannot go on.

    Invariants: nothing is subscribed before PD has accepted this start; after a failure no further
    turn runs, so nothing more is acknowledged.
    """

    def __init__(
        self,
        settings: StoreSettings,
        planes: Planes,
        clock: Clock,
        jitter: Jitter,
    ) -> None:
        self._settings = settings
        self._planes = planes
        self._clock = clock
        self._jitter = jitter
        self._subjects = Subjects(settings.prefix)
        self._store: Store | None = None
        self._disk: LmdbDisk | None = None
        self._loop = asyncio.get_running_loop()
        self._turn_asked = False
        self._timer: asyncio.TimerHandle | None = None
        self._ended = asyncio.Event()
        self.failure: str | None = None
        self._refused = False
        self._stop_asked = False
        self._publishing: set[asyncio.Task[None]] = set()
        self._pd_inbox = planes.events.new_inbox()
        self._saves: dict[int, asyncio.Future[None]] = {}
        self._waiting_for = "the disk"

    # What health checks and metrics read.

    def why_not_ready(self) -> str:
        """Empty while the store serves: it has subscribed, and clients reach it."""
        if not self._waiting_for and self._planes.clients.connected:
            return ""
        return f"waiting for {self._waiting_for or 'the bus'}"

    def figures(self) -> dict[str, float]:
        """What is worth plotting."""
        store = self._store
        return {} if store is None else figures_of(store.registry, store.counters)

    # Life.

    def stop(self) -> None:
        """Stop cleanly: hand leaderships over, save everything, leave."""
        if not self._stop_asked:
            self._stop_asked = True
            self._publishing.add(self._loop.create_task(self._stop_cleanly()))

    async def run(self) -> None:
        """Start, serve, and return after a clean stop. Raises `StoreFailed`, `StoreRefused`."""
        self._disk = await LmdbDisk.open(
            Path(self._settings.data),
            quota=self._settings.quota_bytes,
            on_saved=self._on_saved,
            on_failed=self.fail,
            on_job=self._on_job,
            lock_wait=self._settings.lock_wait_seconds,
        )
        try:
            accepted, uuid = await self._join(self._disk)
            if accepted is not None:
                await self._serve(self._disk, accepted, uuid)
                await self._ended.wait()
        finally:
            self._cancel_timers()
            self._store, self._waiting_for = None, "its end"
            await self._planes.close()
            await self._disk.close()
        if self.failure is not None:
            raise (StoreRefused if self._refused else StoreFailed)(self.failure)

    async def _join(self, disk: LmdbDisk) -> tuple[Accepted | None, StoreUuid]:
        uuid = StoreUuid(secrets.token_hex(16))
        try:
            joining = Joining(disk.view, uuid, secrets.token_hex(8))
        except CorruptRecordError as fault:  # of the store itself: it does not know who it is
            raise StoreFailed(damaged(Path(self._settings.data), str(fault))) from fault
        await self._save(disk, 1, joining.begin())
        known, events = StoreId(joining.asks_as), self._planes.events
        if known and (twin := await find_twin(events, self._subjects, known, self._settings.data)):
            raise StoreFailed(twin)
        subject = self._subjects.pd_request(known, "join")
        said = ""
        while not self._stop_asked and self.failure is None:
            usage = disk.usage()
            capacity = self._settings.capacity_bytes or min(usage.quota, usage.used + usage.room)
            question = joining.question(capacity, self._settings.labels, VERSION)
            payload = await events.request(subject, question, timeout=2.0)
            answer = joining.answer(payload)
            if isinstance(answer, Accepted):
                await self._save(disk, 2, answer.batch)
                return answer, joining.uuid
            if isinstance(answer, JoinRefused):
                hint = answer.hint[:1].upper() + answer.hint[1:]
                raise StoreRefused(f"PD refuses this store: {answer.reason}. {hint}")
            said = self._wait_for(answer, said)
            await anyio.sleep(answer.seconds)
        return None, joining.uuid

    def _wait_for(self, wait: Wait, said: str) -> str:
        self._waiting_for = f"PD ({wait.reason})"
        if wait.reason != said:
            log.info("waiting for PD: %s", wait.reason)
        return wait.reason

    async def _save(self, disk: LmdbDisk, number: int, batch: Batch) -> None:
        """Save one batch before there is a store, and wait for it. Raises `StoreFailed`."""
        if self.failure is not None:
            raise StoreFailed(self.failure)
        done = self._saves[number] = self._loop.create_future()
        disk.submit(number, batch)
        await done
        disk.renew()

    async def _serve(self, disk: LmdbDisk, accepted: Accepted, uuid: StoreUuid) -> None:
        me = accepted.me
        self._store = store = Store(
            me=me,
            uuid=uuid,
            seen=accepted.seen,
            settings=self._settings,
            disk=disk,
            clock=self._clock,
            jitter=self._jitter,
            outside=self,
            subjects=self._subjects,
            read_cpu=time.process_time,
            last_batch=2,
        )
        gc.freeze()  # what was taken up stays: a look through thousands of replicas stops the loop
        self._waiting_for = "the bus"
        await self._subscribe(store)
        self._waiting_for = ""
        say_first_word(self._planes.raft, self._subjects, me)
        self._tick()
        self._ask_turn()
        log.info("store %s of cluster %s serves, start %s", me.store, me.cluster, me.boot)

    async def _subscribe(self, store: Store) -> None:
        subjects, planes, me = self._subjects, self._planes, store.me.store

        def addressed(on_frame: Callable[[StoreId, bytes], None]) -> Callable[[Message], None]:
            def received(message: Message) -> None:
                address = subjects.raft_address(message.subject)
                if address is not None and address.from_store != me:
                    on_frame(address.from_store, message.payload)
                    self._ask_turn()
                elif address is not None and has_successor(store.me, message.payload):
                    self.fail("another process goes on as this store, on a copy of its folder")

            return received

        def plain(on_payload: Callable[[bytes], None]) -> Callable[[Message], None]:
            def received(message: Message) -> None:
                if not message.no_responders:
                    on_payload(message.payload)
                    self._ask_turn()

            return received

        def request(message: Message) -> None:
            if message.reply and message.asks_rightly:
                store.on_request(message.payload, message.reply)
                self._ask_turn()

        await planes.raft.subscribe(subjects.raft_inbox(me), addressed(store.on_raft))
        await planes.snapshots.subscribe(subjects.snapshot_inbox(me), addressed(store.on_snapshot))
        await planes.events.subscribe(self._pd_inbox, plain(store.on_pd_answer))
        await planes.events.subscribe(subjects.pd_order(me), plain(store.on_order))
        await planes.events.subscribe(subjects.pd_alive, plain(store.on_alive))
        await planes.clients.subscribe(subjects.rpc(me), request)
        planes.raft.on_connection(self._on_connection)
        store.on_connection(planes.raft.connected)

    # The turn.

    def _ask_turn(self) -> None:
        if not self._turn_asked and self._store is not None:
            self._turn_asked = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._turn_asked = False
        store = self._store
        if store is None or self.failure is not None:
            return
        try:
            store.turn()
        except Exception as fault:
            log.exception("the store's turn failed")
            self.fail(f"the turn failed: {type(fault).__name__}: {fault}")
            return
        if store.has_work:
            self._ask_turn()
        else:
            self._wait_until(store.next_due())

    def _wait_until(self, due: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if due is not None:
            wait = max(0.0, due - self._clock.monotonic())
            self._timer = self._loop.call_later(wait, self._ask_turn)

    def _tick(self) -> None:
        if self._store is not None and self.failure is None:
            self._store.on_tick()
            self._ask_turn()
            self._loop.call_later(self._settings.tick_ms / 1000, self._tick)

    def _cancel_timers(self) -> None:
        self._wait_until(None)
        for task in self._publishing:
            task.cancel()

    # What disk and bus say.

    def _on_saved(self, number: int) -> None:
        waiting = self._saves.pop(number, None)
        if waiting is not None:
            waiting.set_result(None)
        elif self._store is not None:
            self._store.on_saved(number)
            self._ask_turn()

    def _on_job(self, number: int, result: JobResult) -> None:
        if self._store is not None:
            self._store.on_job(number, result)
            self._ask_turn()

    def _on_connection(self, connected: bool) -> None:
        if self._store is not None:
            self._store.on_connection(connected)
            self._ask_turn()

    def fail(self, reason: str, refused: bool = False) -> None:
        """Neither turn nor acknowledgement follows; `run` ends with this reason."""
        if self.failure is None:
            self.failure, self._refused = reason, refused
            log.error("the store stops: %s", reason)
            while self._saves:
                self._saves.popitem()[1].set_exception(StoreFailed(reason))
            self._ended.set()

    async def _stop_cleanly(self) -> None:
        store = self._store
        if store is not None:
            led = store.hand_over(for_good=True)
            await self._until(lambda: not store.heirs_awaited)
            left = sum(replica.leads for replica in store.registry)
            store.stopping(max(0, led - left))
            await self._until(lambda: store.may_stop)
        self._ended.set()

    async def _until(self, condition: Callable[[], bool]) -> None:
        """Take turns until `condition` holds, or for as long as a stop may take."""
        with anyio.move_on_after(HAND_OVER_SECONDS):
            while not condition():
                self._ask_turn()
                await anyio.sleep(0.02)

    # The store's outside.

    def send_raft(self, subject: str, payload: bytes) -> bool:
        return self._planes.raft.send(subject, payload)

    def send_snapshot(self, subject: str, payload: bytes) -> bool:
        return self._planes.snapshots.send(subject, payload)

    def answer(self, subject: str, payload: bytes) -> bool:
        return self._planes.clients.send(subject, payload)

    def push(self) -> None:
        self._planes.raft.push()
        self._planes.clients.push()

    def tell_pd(self, subject: str, payload: bytes) -> bool:
        return self._planes.events.send(subject, payload, reply=self._pd_inbox)

    def publish(self, token: int, subject: str, payload: bytes, headers: Mapping[str, str]) -> None:
        task = self._loop.create_task(self._append(token, subject, payload, headers))
        self._publishing.add(task)
        task.add_done_callback(self._publishing.discard)

    async def _append(
        self, token: int, subject: str, payload: bytes, headers: Mapping[str, str]
    ) -> None:
        result = await self._planes.events.history.append(subject, payload, headers)
        if self._store is not None:
            self._store.on_published(token, isinstance(result, Appended))
            self._ask_turn()
