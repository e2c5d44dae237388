"""The store's turn: take what came, step what is touched, save once, send, apply, answer.

Everything a store does passes `turn`, one call at a time, with no I/O of its own: what arrives is
queued by the `on_` calls, what leaves goes through ports. The same code runs in production and in
the simulator; only disk, bus and clock differ.
"""

from collections import deque
from collections.abc import Callable, Iterable

from msgspec import Struct

from flaredb.disk.disk import Disk, JobResult
from flaredb.runtime.clock import Clock, Jitter
from flaredb.runtime.settings import StoreSettings
from flaredb.store.answers import Answers
from flaredb.store.context import Context, Counters, Me
from flaredb.store.cutting import cut_log
from flaredb.store.outgoing import Outgoing
from flaredb.store.outside import Outside
from flaredb.store.parts import Parts
from flaredb.store.records import PdSeen
from flaredb.store.registry import Registry
from flaredb.store.replica import Replica
from flaredb_schemas.events import StoreStarted
from flaredb_schemas.ids import RegionId, StoreId, StoreUuid
from flaredb_schemas.subjects import Subjects

if not __debug__:
    raise RuntimeError("a store checks its invariants with assert: do not run it with -O")


class Input(Struct, frozen=True, gc=False):
    """Something that came, and how many bytes it is."""

    handle: Callable[[], None]
    size: int


class Store:
    """One store, from the moment PD has accepted it.

    Invariants: between turns every gathered message has been sent, every touched replica has been
    advanced or is touched for the next turn, and what waits for a save is in the saver. While the
    bus is down no group ticks and nothing is sent to other stores.
    """

    __slots__ = ("_connected", "_context", "_inputs", "_outside", "_parts", "_saves", "_ticks")

    def __init__(
        self,
        *,
        me: Me,
        uuid: StoreUuid,
        seen: PdSeen,
        settings: StoreSettings,
        disk: Disk,
        clock: Clock,
        jitter: Jitter,
        outside: Outside,
        subjects: Subjects,
        read_cpu: Callable[[], float],
        last_batch: int,
        full_checks: bool = False,
    ) -> None:
        """Take up the replicas on `disk`, where batches up to `last_batch` were saved by others."""
        self._outside = outside
        delay = settings.commit_delay_ms / 1000
        self._context = context = Context(
            me=me,
            settings=settings,
            disk=disk,
            clock=clock,
            jitter=jitter,
            outgoing=Outgoing(me.store, me.boot, subjects, outside.send_raft, delay),
            answers=Answers(me.store, outside.answer),
            full_checks=full_checks,
            last_batch=last_batch,
        )
        self._parts = parts = Parts(context, uuid, seen, outside, subjects, read_cpu)
        self._inputs: deque[Input] = deque()
        self._saves: deque[int] = deque()
        self._ticks = 0
        self._connected = True
        parts.cleaning.find_all()
        parts.births.find_all()
        for damaged in context.registry.damaged.values():
            parts.guard.report(damaged.region.id, damaged.peer, damaged.reason)
        for replica in context.registry:
            parts.removing.note(replica)
            parts.snapshots.into.resume(replica)
            parts.sleeping.found(replica)
        parts.merge_orders.find_all()
        parts.snapshots.into.clear_files()
        parts.history.add_own(self._started())

    # What arrives. Each call only queues; the next turn carries it out.

    def on_raft(self, from_store: StoreId, payload: bytes) -> None:
        """A frame of another store."""
        if self._is_flooded:
            self.counters.frames_dropped += 1
            return
        self._queue(lambda: self._parts.incoming.handle(from_store, payload), len(payload))

    def on_snapshot(self, from_store: StoreId, payload: bytes) -> None:
        """A frame of the snapshot plane."""
        self._queue(lambda: self._parts.snapshots.handle(from_store, payload), len(payload))

    def on_request(self, payload: bytes, reply: str) -> None:
        """A frame of requests; `reply` is the client's inbox."""
        if self._is_flooded:
            self._parts.service.turn_away(payload, reply)
            return
        self._queue(lambda: self._parts.service.handle(payload, reply), len(payload))

    def on_order(self, payload: bytes) -> None:
        """An order of PD."""
        self._queue(lambda: self._parts.orders.order(payload), len(payload))

    def on_alive(self, payload: bytes) -> None:
        """PD's sign of life."""
        self._queue(lambda: self._parts.orders.alive(payload), len(payload))

    def on_pd_answer(self, payload: bytes) -> None:
        """PD's answer to a witness."""
        self._queue(lambda: self._parts.orders.answered(payload), len(payload))

    def on_saved(self, number: int) -> None:
        """The disk has made batch `number` durable."""
        self._saves.append(number)

    def on_job(self, number: int, result: JobResult) -> None:
        """A job of the disk has ended."""
        self._queue(lambda: self._parts.jobs.ended(number, result), 0)

    def on_published(self, token: int, ok: bool) -> None:
        """The stream has, or has not, acknowledged an event."""
        self._queue(lambda: self._parts.history.published(token, ok), 0)

    def on_connection(self, connected: bool) -> None:
        """The bus is lost, or back."""
        self._queue(lambda: self._connection(connected), 0)

    def on_tick(self) -> None:
        """A tick has passed; ticks that come while one is waiting are not piled up."""
        self._ticks = 1

    # The turn.

    @property
    def has_work(self) -> bool:
        """Whether a turn would do anything now."""
        context = self._context
        takes = bool(self._inputs) and not (context.saver.is_full and self._inputs[0].size)
        return takes or bool(self._saves or self._ticks or context.touched)

    def next_due(self) -> float | None:
        """When, on the monotonic clock, a turn is due although nothing has come."""
        context = self._context
        due = [
            context.outgoing.next_due(),
            context.saver.next_due(),
            self._parts.history.next_due(),
            self._parts.reporter.next_due(),
        ]
        return min((at for at in due if at is not None), default=None)

    def turn(self) -> None:
        """One turn. Messages come before ticks, so that a beat that has arrived counts."""
        context = self._context
        context.now = context.clock.monotonic()
        context.counters.turns += 1
        while self._saves:  # first: nothing that a save lets go should wait behind new work
            self._saved(self._saves.popleft())
        self._take_inputs()
        ticked: list[Replica] = []
        if self._ticks:
            self._ticks = 0
            ticked = self._tick()
        touched, context.touched = context.touched, {}
        self._each(touched, self._parts.advancer.advance)
        # Peers first, they take longest, then the disk: what they do while we apply is free.
        if self._connected:
            context.outgoing.hurry()
            self._outside.push()
        context.saver.submit(context.now)
        self._each(touched, self._parts.advancer.apply)
        context.answers.flush()
        self._outside.push()
        self._parts.sleeping.settle(ticked)
        self._parts.history.flush()
        self._parts.reporter.flush()
        context.saver.submit(context.now)
        if self._connected:
            context.outgoing.flush(context.now)
        else:
            context.outgoing.forget()
        context.answers.flush()

    # What others may ask.

    @property
    def registry(self) -> Registry:
        """The replicas here."""
        return self._context.registry

    @property
    def counters(self) -> Counters:
        """What was counted since start."""
        return self._context.counters

    @property
    def me(self) -> Me:
        """Who this store is."""
        return self._context.me

    def hand_over(self, for_good: bool = False) -> int:
        """Ask a peer of every led region to take over; returns how many regions are still led.

        `for_good`, before a stop: whatever comes to be led is handed over too, each tick anew.
        """
        return self._parts.handing_over.ask_all(for_good)

    @property
    def heirs_awaited(self) -> int:
        """How many regions are led here that a peer on a store that lives could lead."""
        return self._parts.handing_over.heirs_awaited

    def stopping(self, leaders_moved: int) -> None:
        """Say that this store stops as asked, and have saved what is applied by now."""
        self._parts.last_word.say(leaders_moved)

    @property
    def may_stop(self) -> bool:
        """Whether what was said and saved at `stopping` is in the stream and on disk."""
        return self._parts.last_word.is_heard

    @property
    def is_settled(self) -> bool:
        """Whether nothing waits to be saved or published by this store itself."""
        return self._context.saver.is_settled and self._parts.history.is_own_empty

    # Inside the turn.

    @property
    def _is_flooded(self) -> bool:
        """Whether so much waits that what comes is turned away: Raft repeats, clients try again."""
        return len(self._inputs) >= self._context.settings.max_queued_requests

    def _queue(self, handle: Callable[[], None], size: int) -> None:
        self._inputs.append(Input(handle, size))

    def _take_inputs(self) -> None:
        saver, budget = self._context.saver, self._context.settings.max_turn_bytes
        for _ in range(len(self._inputs)):
            if saver.is_full and self._inputs[0].size:
                return
            if budget <= 0:
                return
            taken = self._inputs.popleft()
            budget -= taken.size
            taken.handle()

    def _saved(self, number: int) -> None:
        waiting = self._context.saver.saved(number)
        for acknowledgement in waiting.acknowledgements:
            self._parts.guard(
                acknowledgement.replica, self._parts.advancer.acknowledge, acknowledgement.ready
            )
        for replica, state in waiting.applied:
            replica.applied_saved(state)
            self._parts.reporter.note_written(replica)
            self._parts.growth.note(replica)
            self._parts.recounting.note(replica)
            self._parts.guard(replica, self._cut_log, None)
        for callback in waiting.callbacks:
            callback()

    def _cut_log(self, replica: Replica, _: None) -> None:
        if self._context.registry.current(replica):
            cut_log(self._context, replica)

    def _each(self, regions: Iterable[RegionId], what: Callable[[Replica, None], None]) -> None:
        for region in regions:
            replica = self._context.registry.get(region)
            if replica is not None:
                self._parts.guard(replica, what, None)
                self._parts.history.note(replica)

    def _tick(self) -> list[Replica]:
        """A tick passes; returns whose timers were due."""
        if not self._connected:
            return []
        context, parts = self._context, self._parts
        for change in parts.beating.tick():
            parts.sleeping.store_changed(change)
        due = [context.registry.get(region) for region in context.wheel.advance()]
        ticked = [replica for replica in due if replica is not None]
        for replica in ticked:
            parts.guard(replica, Replica.tick, context.wheel.now)
            context.touch(replica.id)
        parts.sleeping.tick()
        parts.snapshots.tick()
        parts.history.tick()
        parts.orders.tick()
        parts.parking.tick()
        parts.split_orders.tick()
        parts.merging.tick()
        parts.merge_orders.tick()
        parts.removing.tick()
        parts.fates.tick()
        parts.growth.tick()
        parts.hot_spots.tick()
        parts.recounting.tick()
        parts.handing_over.tick()
        parts.room.tick()
        return ticked

    def _connection(self, connected: bool) -> None:
        self._connected = connected
        if connected:
            self._parts.beating.reconnected()

    def _started(self) -> StoreStarted:
        return StoreStarted(
            id=self._parts.history.next_own_id(),
            at=self._context.clock.wall(),
            store=self.me.store,
            boot=self.me.boot,
            regions=len(self._context.registry),
            version="0.1.0",
        )
