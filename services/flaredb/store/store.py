"""The store's turn: take what came, step what is touched, save once, send, apply, answer.

Everything a store does passes `turn`, one call at a time, with no I/O of its own: what arrives is
queued by the `on_` calls, what leaves goes through ports. The same code runs in production and in
the simulator; only disk, bus and clock differ.
"""

from collections import deque
from collections.abc import Callable

from msgspec import Struct

from flaredb.disk.disk import Disk, JobResult
from flaredb.raft.roles import Role
from flaredb.runtime.clock import Clock, Jitter
from flaredb.runtime.settings import StoreSettings
from flaredb.store.advancing import Advancer
from flaredb.store.answers import Answers
from flaredb.store.births import Births
from flaredb.store.checks import Checks
from flaredb.store.context import Context, Counters, Me
from flaredb.store.cutting import cut_log
from flaredb.store.guarding import Guard
from flaredb.store.history import History
from flaredb.store.incoming import Incoming
from flaredb.store.jobs import Jobs
from flaredb.store.liveness import Liveness
from flaredb.store.orders import Orders
from flaredb.store.outgoing import Outgoing
from flaredb.store.outside import Outside
from flaredb.store.records import PdSeen, ReplicaState
from flaredb.store.registry import Registry
from flaredb.store.replica import Replica
from flaredb.store.reporter import Reporter
from flaredb.store.serving import Service
from flaredb.store.sleeping import Sleeping
from flaredb.store.snapshot_plane import SnapshotPlane
from flaredb_schemas.events import StoreStarted, StoreStopped
from flaredb_schemas.ids import StoreId, StoreUuid
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

    __slots__ = (
        "_advancer",
        "_births",
        "_checks",
        "_connected",
        "_context",
        "_guard",
        "_history",
        "_incoming",
        "_inputs",
        "_jobs",
        "_liveness",
        "_orders",
        "_outside",
        "_peers_of",
        "_reporter",
        "_service",
        "_sleeping",
        "_snapshots",
        "_ticks",
    )

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
        """Take up every replica on `disk`, where batches up to `last_batch` were saved by others.

        Raises `CorruptRecordError` for a damaged record.
        """
        delay = settings.commit_delay_ms / 1000
        self._outside = outside
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
        patience = settings.tick_ms / 1000 * settings.election_ticks
        self._jobs = Jobs(disk)
        self._liveness = Liveness(patience)
        self._history = History(context, subjects, outside.publish)
        self._guard = Guard(context, self._history)
        self._checks = Checks(context, self._jobs)
        self._sleeping = Sleeping(context, self._liveness)
        self._snapshots = SnapshotPlane(
            context, self._jobs, self._history, subjects, outside.send_snapshot
        )
        self._advancer = Advancer(
            context, self._snapshots.out.begin, self._checks.applied, self._changed
        )
        self._service = Service(context, self._checks, self._sleeping)
        self._incoming = Incoming(
            context, self._liveness, self._sleeping, self._history, self._guard
        )
        self._births = Births(context)
        self._reporter = Reporter(context, self._liveness, subjects, outside.tell_pd, read_cpu)
        self._orders = Orders(
            context,
            uuid,
            seen,
            self._births,
            self._reporter,
            subjects,
            outside.tell_pd,
            outside.fail,
        )
        self._inputs: deque[Input] = deque()
        self._ticks = 0
        self._connected = True
        self._peers_of = -1
        self._births.find_all()
        for replica in context.registry:
            self._snapshots.into.resume(replica)
        self._snapshots.into.clear_files()
        self._history.add_own(self._started())

    # What arrives. Each call only queues; the next turn carries it out.

    def on_raft(self, from_store: StoreId, payload: bytes) -> None:
        """A frame of another store."""
        self._queue(lambda: self._incoming.handle(from_store, payload), len(payload))

    def on_snapshot(self, from_store: StoreId, payload: bytes) -> None:
        """A frame of the snapshot plane."""
        self._queue(lambda: self._snapshots.handle(from_store, payload), len(payload))

    def on_request(self, payload: bytes, reply: str) -> None:
        """A frame of requests; `reply` is the client's inbox."""
        self._queue(lambda: self._service.handle(payload, reply), len(payload))

    def on_order(self, payload: bytes) -> None:
        """An order of PD."""
        self._queue(lambda: self._orders.order(payload), len(payload))

    def on_alive(self, payload: bytes) -> None:
        """PD's sign of life."""
        self._queue(lambda: self._orders.alive(payload), len(payload))

    def on_pd_answer(self, payload: bytes) -> None:
        """PD's answer to a witness."""
        self._queue(lambda: self._orders.answered(payload), len(payload))

    def on_saved(self, number: int) -> None:
        """The disk has made batch `number` durable."""
        # Nothing that a save lets go should wait behind new work.
        self._inputs.appendleft(Input(lambda: self._saved(number), 0))

    def on_job(self, number: int, result: JobResult) -> None:
        """A job of the disk has ended."""
        self._queue(lambda: self._jobs.ended(number, result), 0)

    def on_published(self, token: int, ok: bool) -> None:
        """The stream has, or has not, acknowledged an event."""
        self._queue(lambda: self._history.published(token, ok), 0)

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
        return takes or bool(self._ticks or context.touched)

    def next_due(self) -> float | None:
        """When, on the monotonic clock, a turn is due although nothing has come."""
        context = self._context
        due = [
            context.outgoing.next_due(),
            context.saver.next_due(),
            self._history.next_due(),
            self._reporter.next_due(),
        ]
        return min((at for at in due if at is not None), default=None)

    def turn(self) -> None:
        """One turn. Messages come before ticks, so that a beat that has arrived counts."""
        context = self._context
        context.now = context.clock.monotonic()
        context.counters.turns += 1
        self._take_inputs()
        ticked: list[Replica] = []
        if self._ticks:
            self._ticks = 0
            ticked = self._tick()
        self._advance_touched()
        self._sleeping.settle(ticked)
        self._history.flush()
        self._reporter.flush()
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

    def hand_over(self) -> int:
        """Ask a peer of every led region to take over; returns how many regions are still led."""
        led = [replica for replica in self._context.registry if replica.leads]
        for replica in led:
            self._sleeping.wake(replica)
            self._transfer_away(replica)
        return len(led)

    def stopping(self, leaders_moved: int) -> None:
        """Say that this store stops as asked, and have everything applied saved."""
        self._history.add_own(
            StoreStopped(
                id=self._history.next_own_id(),
                at=self._context.clock.wall(),
                store=self.me.store,
                boot=self.me.boot,
                leaders_moved=leaders_moved,
            )
        )
        self._context.saver.force()

    @property
    def is_settled(self) -> bool:
        """Whether nothing waits to be saved or published by this store itself."""
        return self._context.saver.is_settled and self._history.is_own_empty

    # Inside the turn.

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
            self._guard(acknowledgement.replica, self._advancer.acknowledge, acknowledgement.ready)
        for replica, state in waiting.applied:
            replica.applied_saved(state)
            self._guard(replica, self._cut_log, None)
        for callback in waiting.callbacks:
            callback()

    def _cut_log(self, replica: Replica, _: None) -> None:
        if self._context.registry.current(replica):
            cut_log(self._context, replica)

    def _advance_touched(self) -> None:
        touched, self._context.touched = self._context.touched, {}
        for region in touched:
            replica = self._context.registry.get(region)
            if replica is not None:
                self._guard(replica, self._advancer.advance, None)
                self._history.note(replica)

    def _tick(self) -> list[Replica]:
        """A tick passes; returns whose timers were due."""
        if not self._connected:
            return []
        context = self._context
        self._beat()
        for change in self._liveness.check(context.now):
            self._sleeping.store_changed(change)
        due = [context.registry.get(region) for region in context.wheel.advance()]
        ticked = [replica for replica in due if replica is not None]
        for replica in ticked:
            self._guard(replica, Replica.tick, context.wheel.now)
            context.touch(replica.id)
        self._sleeping.tick()
        self._snapshots.tick()
        self._history.tick()
        self._orders.tick()
        self._watch_saving()
        usage = context.disk.usage()
        self._service.is_full = usage.used >= usage.quota
        return ticked

    def _beat(self) -> None:
        """Tell every store that shares a region with this one that this one lives."""
        context = self._context
        if self._peers_of != context.registry.version:
            self._peers_of = context.registry.version
            for store in context.registry.neighbours(context.me.store):
                self._liveness.expect(store, context.now)
        for store in context.registry.neighbours(context.me.store):
            context.outgoing.beat(store)

    def _watch_saving(self) -> None:
        """A leader whose saves lag by more than an election timeout hands over."""
        settings = self._context.settings
        limit = settings.tick_ms / 1000 * settings.election_ticks
        if self._context.saver.age(self._context.now) > limit:
            for replica in self._context.registry:
                if replica.leads:
                    self._transfer_away(replica)

    def _transfer_away(self, replica: Replica) -> None:
        """Hand over to the peer that has most of the log, on a store that lives."""
        if replica.node.transfer_target:
            return
        progress = replica.node.status().progress
        candidates = [
            (item.match, peer)
            for peer, item in progress.items()
            if peer != replica.peer
            and not item.is_learner
            and not self._liveness.is_suspected(replica.store_of(peer))
        ]
        if candidates:
            replica.node.transfer_leader(max(candidates)[1])
            self._context.touch(replica.id)

    def _connection(self, connected: bool) -> None:
        self._connected = connected
        context = self._context
        if not connected:
            return
        self._liveness.restart(context.now)
        for replica in context.registry:
            if not replica.asleep and replica.state is not ReplicaState.DAMAGED:
                replica.node.restart_timers()
                if replica.node.role is Role.LEADER:
                    replica.node.beat()
                context.touch(replica.id)

    def _changed(self, replica: Replica) -> None:
        """Who leads the region, or what it is, has changed."""
        if replica.leads:
            self._reporter.note(replica)

    def _started(self) -> StoreStarted:
        return StoreStarted(
            id=self._history.next_own_id(),
            at=self._context.clock.wall(),
            store=self.me.store,
            boot=self.me.boot,
            regions=len(self._context.registry),
            version="0.1.0",
        )
