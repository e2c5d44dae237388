"""Stores of the simulated world: the production turn on a disk in memory, killed, started anew."""

from collections.abc import Callable, Mapping

import msgspec

from flaredb.bus.bus import Appended, AppendResult
from flaredb.disk.disk import JobResult
from flaredb.disk.memory_disk import Contents, MemoryDisk
from flaredb.store.joining import JOINS, Accepted, Joining, Wait
from flaredb.store.store import Store
from flaredb_schemas.ids import StoreId, StoreUuid
from flaredb_schemas.placement import Join, JoinRefused
from tests.simulator.clockwork import Clock
from tests.simulator.hearing import hand_in
from tests.simulator.network import store_words
from tests.simulator.world import World

HAND_OVER_SECONDS = 1.0
"""How long a store that stops cleanly waits for others to take over, and for its last save."""


class SimStore:
    """One store's process, over all its starts.

    Invariants: what was scheduled for an earlier start does nothing (`_start` tells them apart);
    what is lost for good never starts again.
    """

    def __init__(self, world: World, number: int) -> None:
        self.world = world
        self.name = f"store{number}"
        self.contents = Contents.empty()
        self.clock = Clock(
            world.clockwork,
            world.options.clock_rates[number - 1],
            world.dice.randint(-2_000, 2_000),
        )
        self.store: Store | None = None
        self.disk: MemoryDisk | None = None
        self.failed = ""
        self.lost: StoreId | None = None
        """What it was in the cluster until it was lost for good."""
        self._joining: Joining | None = None
        self._start = 0
        self._paused_until = 0.0
        self._slow_until = self._busy_until = 0.0
        self._turn_asked = False
        self._due: float | None = None
        self._saving = False
        self._working = False

    @property
    def running(self) -> bool:
        """Whether there is a process."""
        return self.disk is not None

    def start(self) -> None:
        """Start the process: save its boot, ask PD, then serve."""
        world = self.world
        if self.lost is not None:
            return
        self._start += 1
        self._turn_asked, self._due = False, None
        self._saving = self._working = False
        self.disk = MemoryDisk(
            self._mine(self._on_saved), self._on_failed, self._on_job, self.contents
        )
        uuid = StoreUuid(f"{world.dice.getrandbits(128):032x}")
        self._joining = Joining(self.disk.view, uuid, f"{world.dice.getrandbits(64):016x}")
        world.note("start", self.name)
        world.network.listen(self.name, self._heard, (f"_INBOX.{self.name}",))
        self._submit_alone(1, self._joining.begin())

    def crash(self) -> None:
        """The process is killed; of the batches under way some may have become durable."""
        assert self.disk is not None
        self._end("crash", self.world.dice.randint(0, self.disk.under_way))

    def lose(self) -> None:
        """The process is killed, and nobody sees this store again."""
        assert self.store is not None
        self.lost = self.store.me.store
        self._end("store_loss", 0)

    def lose_disk(self) -> None:
        """The process is killed and its disk is gone: it comes back with an empty one."""
        self._end("disk_loss", 0)
        self.contents = Contents.empty()

    def stop(self, then: Callable[[], None]) -> None:
        """The process is asked to stop: it hands over, saves everything and leaves; then `then`."""
        store = self.store
        assert store is not None
        self.world.note("stop", self.name)
        moved = store.hand_over(for_good=True)
        self.ask_turn()

        def leave() -> None:
            self._end("stopped", 0)
            then()

        def say() -> None:
            store.stopping(moved)
            self.ask_turn()
            self._later(HAND_OVER_SECONDS, leave)

        self._later(HAND_OVER_SECONDS, say)

    def _end(self, how: str, kept: int) -> None:
        """The process is no more; of the batches under way the first `kept` became durable."""
        assert self.disk is not None
        world = self.world
        self.count()
        self.contents = self.disk.crash(kept, world.dice.randrange)
        self.store = self.disk = self._joining = self.accepted = None
        self._start += 1
        world.network.leave(self.name)
        world.network.away.discard(self.name)
        world.note(how, f"{self.name} kept {kept}")

    def count(self) -> None:
        """Add what this start of the store has counted to the world's figures."""
        if self.store is not None:
            self.world.counted.update(msgspec.structs.asdict(self.store.counters))

    def pause(self, seconds: float) -> None:
        """The process stands still, and then goes on as if nothing had been."""
        self._paused_until = self.world.clockwork.now + seconds
        self.world.note("pause", f"{self.name} {seconds:.2f}")

    def put_off_jobs(self, seconds: float) -> None:
        """What is read beside the loop takes longer for a while."""
        self._busy_until = self.world.clockwork.now + seconds

    def slow_down(self, seconds: float) -> None:
        """Each save takes as long as a stall, for a while."""
        self._slow_until = self.world.clockwork.now + seconds
        self.world.note("slow_disk", f"{self.name} {seconds:.2f}")

    def set_connected(self, connected: bool) -> None:
        """The process loses the bus, and knows it; or has it back."""
        away = self.world.network.away
        (away.discard if connected else away.add)(self.name)
        if self.store is not None:
            self.store.on_connection(connected)
            self.ask_turn()

    # The store's outside.

    def send_raft(self, subject: str, payload: bytes) -> bool:
        return self.world.network.send(self.name, subject, payload)

    def send_snapshot(self, subject: str, payload: bytes) -> bool:
        return self.world.network.send(self.name, subject, payload)

    def answer(self, subject: str, payload: bytes) -> bool:
        return self.world.network.send(self.name, subject, payload)

    def push(self) -> None:
        pass

    def tell_pd(self, subject: str, payload: bytes) -> bool:
        return self.world.network.send(self.name, subject, payload, self._inbox("pd"))

    def publish(self, token: int, subject: str, payload: bytes, headers: Mapping[str, str]) -> None:
        start = self._start

        def ended(result: AppendResult) -> None:
            if start == self._start and self.store is not None:
                self.store.on_published(token, isinstance(result, Appended))
                self.ask_turn()

        self.world.streams.append(subject, payload, headers, None, ended)

    def fail(self, reason: str, refused: bool = False) -> None:
        self.failed = reason

    # What happens to the process.

    def _mine(self, handle: Callable[[int], None]) -> Callable[[int], None]:
        start = self._start

        def only_in_this_start(number: int) -> None:
            if start == self._start:
                handle(number)

        return only_in_this_start

    def _later(self, seconds: float, what: Callable[[], None]) -> None:
        start = self._start
        self.world.clockwork.after(seconds, lambda: what() if start == self._start else None)

    def _on_saved(self, number: int) -> None:
        if self.store is not None:
            self.store.on_saved(number)
            self.ask_turn()
        elif number == 1:
            self._ask_pd()
        else:
            self._serve()

    def _on_failed(self, reason: str) -> None:
        raise AssertionError(f"the simulated disk does not fail: {reason}")

    def _on_job(self, number: int, result: JobResult) -> None:
        if self.store is not None:
            self.store.on_job(number, result)
            self.ask_turn()

    def _submit_alone(self, number: int, batch: object) -> None:
        assert self.disk is not None
        self.disk.submit(number, batch)  # type: ignore[arg-type]
        self._watch_disk()

    def _watch_disk(self) -> None:
        """Have the oldest batch and the oldest job under way end after a while."""
        disk = self.disk
        assert disk is not None
        speed, dice = self.world.options.disk, self.world.dice
        if disk.under_way and not self._saving:
            slow = self.world.clockwork.now < self._slow_until
            stalls = not self.world.healed and (slow or dice.random() < speed.stalls)
            seconds = speed.stall if stalls else speed.save * (0.5 + dice.random())
            self._saving = True
            self._later(seconds, lambda: self._finish(disk))
        if disk.jobs_under_way and not self._working:
            self._working = True
            wait = max(0.0, self._busy_until - self.world.clockwork.now)
            self._later(wait + speed.job * (0.2 + dice.random()), lambda: self._finish_job(disk))

    def _finish(self, disk: MemoryDisk) -> None:
        self._saving = False
        disk.finish_next()
        self._watch_disk()

    def _finish_job(self, disk: MemoryDisk) -> None:
        self._working = False
        if not self.world.healed and self.world.dice.random() < 0.05:
            disk.expire_job()
        else:
            disk.finish_job()
        self._watch_disk()

    def _inbox(self, purpose: str) -> str:
        """Each start of a process has inboxes of its own."""
        return f"_INBOX.{self.name}.{purpose}.{self._start}"

    def _ask_pd(self) -> None:
        joining = self._joining
        if joining is None or self.store is not None:
            return
        subject = self.world.subjects.pd_request(StoreId(joining.asks_as), "join")
        question = joining.question(2**30, {"host": self.name}, "simulated")
        told = JOINS.decode(question)
        assert isinstance(told, Join)
        self.world.on_start(told.uuid, told.pd_epoch)
        self.world.network.send(self.name, subject, question, self._inbox("join"))
        self._later(0.7, self._ask_pd)

    def _joined(self, payload: bytes) -> None:
        if self._joining is None or self.store is not None or self.accepted is not None:
            return
        answer = self._joining.answer(payload)
        assert not isinstance(answer, JoinRefused), f"{self.name} is refused: {answer.reason}"
        if not isinstance(answer, Wait):
            self.accepted = answer
            self._submit_alone(2, answer.batch)

    accepted: Accepted | None = None

    def _serve(self) -> None:
        world, disk, joining, accepted = self.world, self.disk, self._joining, self.accepted
        assert disk is not None and joining is not None and accepted is not None
        self.accepted = None
        disk.renew()
        self.store = Store(
            me=accepted.me,
            uuid=joining.uuid,
            seen=accepted.seen,
            settings=world.options.settings,
            disk=disk,
            clock=self.clock,
            jitter=world.dice.randrange,
            outside=self,
            subjects=world.subjects,
            read_cpu=lambda: 0.0,
            last_batch=2,
            full_checks=True,
        )
        world.on_serve(self.store, disk, joining.uuid)
        words = store_words(accepted.me.store)
        world.network.listen(self.name, self._heard, (f"_INBOX.{self.name}", *words))
        if self.name in world.network.away:
            self.store.on_connection(False)
        self._tick()
        self.ask_turn()

    def _heard(self, subject: str, payload: bytes, reply: str) -> None:
        if subject == self._inbox("join"):
            self._joined(payload)
            return
        store = self.store
        if store is None:
            return
        if subject == self._inbox("pd"):
            store.on_pd_answer(payload)
        else:
            hand_in(store, subject, payload, reply)
        self.ask_turn()

    def _tick(self) -> None:
        if self.store is not None:
            self.store.on_tick()
            self.ask_turn()
            tick = self.world.options.settings.tick_ms / 1000
            self._later(self.clock.real(tick), self._tick)

    def ask_turn(self) -> None:
        """Have a turn run soon, unless the process stands still."""
        if not self._turn_asked:
            self._turn_asked = True
            wait = max(0.0, self._paused_until - self.world.clockwork.now)
            self._later(wait + 0.0001, self._turn)

    def _turn(self) -> None:
        self._turn_asked = False
        store, disk = self.store, self.disk
        if store is None or disk is None:
            return
        store.turn()
        self._watch_disk()
        self.world.on_turn(store)
        if self.failed:
            raise AssertionError(f"{self.name} stopped: {self.failed}")
        if store.has_work:
            self.ask_turn()
        elif (due := store.next_due()) is not None:
            self._wait_until(due)

    def _wait_until(self, due: float) -> None:
        if self._due is not None and self._due <= due:
            return
        self._due = due

        def woken() -> None:
            self._due = None
            self.ask_turn()

        self._later(max(0.0, self.clock.real(due - self.clock.monotonic())), woken)
