"""One run of one seed: troubles under the checkers' eyes, then healing, then the last word."""

from collections import Counter

from msgspec import Struct

from flaredb.store import applying
from flaredb.store.context import Context
from flaredb.store.replica import Replica
from flaredb.store.store import Store
from flaredb_schemas.raft import Entry
from tests.linearizability import Linearizable, Operation, RegisterModel, check, describe
from tests.simulator.checkers.events import check_events
from tests.simulator.checkers.leaders import OneLeaderPerTerm
from tests.simulator.checkers.logs import LogsAgree
from tests.simulator.checkers.progress import find_stuck
from tests.simulator.checkers.replicas import check_equal, check_ranges
from tests.simulator.clients import Client
from tests.simulator.options import Options, draw
from tests.simulator.placement import SimPd
from tests.simulator.stores import SimStore, World
from tests.simulator.troubles import Troubles

HEALING_SECONDS = 60.0
"""By then everything must be at rest."""

CHECK_BUDGET = 3_000_000


class Result(Struct):
    """How a run ended: what it saw, and why it failed, if it did."""

    seed: int
    digest: str
    totals: Counter[str]
    failure: str = ""


class Run:
    """One seed."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.world = World(options)
        self.history: list[Operation] = []
        self.leaders = OneLeaderPerTerm()
        self.logs = LogsAgree()
        self.events: set[str] = set()
        self.world.on_turn = self._turned
        self.stores = [SimStore(self.world, number + 1) for number in range(options.stores)]
        self.pds = [SimPd(self.world, number + 1) for number in range(options.pds)]
        self.clients = [
            Client(self.world, number + 1, self.history) for number in range(options.clients)
        ]

    def go(self) -> None:
        """Everything, in order. Raises `AssertionError` with what is wrong."""
        world = self.world
        for pd in self.pds:
            pd.start()
        for store in self.stores:
            store.start()
        world.clockwork.run_until(3.0)
        troubles = Troubles(world, self.stores, self.pds)
        world.clockwork.run_until(self.options.seconds)
        troubles.heal()
        world.clockwork.run_until(world.clockwork.now + 8.0)
        for client in self.clients:
            client.stop()
        self._until_at_rest()
        self._read_all()
        self._until_at_rest()
        self._last_word()
        for store in self.stores:
            store.count()

    def _turned(self, store: Store) -> None:
        self.leaders.look(store)

    def applied(self, context: Context, replica: Replica, entry: Entry) -> None:
        """Some replica has applied `entry`; its newest events are at the end of its outbox."""
        self.logs.applied(replica.id, entry)
        self.events |= {waiting.event.id for waiting in replica.outbox.of(entry.index)}

    def _until_at_rest(self) -> None:
        world = self.world
        end = world.clockwork.now + HEALING_SECONDS
        while True:
            stuck = self._stuck()
            if not stuck:
                return
            assert world.clockwork.now < end, "no progress after healing: " + "; ".join(stuck)
            world.clockwork.run_until(world.clockwork.now + 0.5)

    def _stuck(self) -> list[str]:
        stuck = [f"{item.name} does not serve" for item in self.stores if item.store is None]
        stuck += find_stuck([item.store for item in self.stores if item.store is not None])
        stuck += [f"{client.name} waits" for client in self.clients if not client.idle]
        return stuck

    def _read_all(self) -> None:
        """Every key is read once more: what was acknowledged must be there."""
        client = self.clients[0]
        before = client.unknown
        client.read(sorted(set().union(*(each.keys for each in self.clients))))
        end = self.world.clockwork.now + HEALING_SECONDS
        while client.reading:
            assert self.world.clockwork.now < end, "the last reads are not answered"
            self.world.clockwork.run_until(self.world.clockwork.now + 0.5)
        assert client.unknown == before, "a last read was given up"

    def _last_word(self) -> None:
        running = [
            (item.store, item.disk)
            for item in self.stores
            if item.store is not None and item.disk is not None
        ]
        check_ranges(running)
        check_equal(running)
        check_events(self.world.streams.events, self.events)
        assert sum(client.finished for client in self.clients) > 50, "hardly any call was answered"
        verdict = check(self.history, RegisterModel(), CHECK_BUDGET)
        assert isinstance(verdict, Linearizable), describe(verdict)

    def totals(self) -> Counter[str]:
        """What the run saw."""
        totals = Counter(
            {
                "elections": self.leaders.elections,
                "entries": self.logs.applied_entries,
                "messages": self.world.network.sent,
                "operations": len(self.history),
                "unknown": sum(client.unknown for client in self.clients),
            }
        )
        for kind in ("crash", "pause", "cut", "bus_down", "pd_crash"):
            totals[kind] = self.world.trace.totals[kind]
        for name in ("snapshots_installed", "logs_cut", "sleeps", "requests_refused", "turns"):
            totals[name] = self.world.counted[name]
        return totals


def run_seed(seed: int, options: Options | None = None) -> tuple[Result, Run]:
    """Run one seed; a failure is in the result, and the run holds its trace."""
    run = Run(options or draw(seed))
    real = applying.apply_entry

    def observed(
        context: Context, replica: Replica, entry: Entry, on_check: applying.OnCheck
    ) -> None:
        real(context, replica, entry, on_check)
        run.applied(context, replica, entry)

    failure = ""
    applying.apply_entry = observed
    try:
        run.go()
    except AssertionError as fault:
        failure = str(fault) or _where(fault)
        run.world.trace.note(run.world.clockwork.now, "FAILED", failure.splitlines()[0])
    finally:
        applying.apply_entry = real
    return Result(seed, run.world.trace.digest, run.totals(), failure), run


def _where(fault: BaseException) -> str:
    place = fault.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    assert place is not None
    return f"assertion in {place.tb_frame.f_code.co_filename}:{place.tb_lineno}"
