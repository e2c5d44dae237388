"""One run of one seed: troubles under the checkers' eyes, then healing, then the last word."""

from collections import Counter
from collections.abc import Callable

from msgspec import Struct

from flaredb.disk.memory_disk import MemoryDisk
from flaredb.store.replica import Replica
from flaredb.store.store import Store
from flaredb_schemas.ids import StoreUuid
from flaredb_schemas.raft import Entry, EntryKind
from flaredb_schemas.regions import Region
from tests.linearizability import (
    Linearizable,
    Operation,
    RegisterModel,
    Undecided,
    check,
    describe,
)
from tests.raft.chaos import shake
from tests.simulator.bereavement import Bereavement
from tests.simulator.checkers.authority import Authority
from tests.simulator.checkers.events import check_events
from tests.simulator.checkers.hashes import HashesAgree
from tests.simulator.checkers.hosting import HostsRightly
from tests.simulator.checkers.leaders import OneLeaderPerTerm
from tests.simulator.checkers.logs import LogsAgree
from tests.simulator.checkers.members import MembersAgree
from tests.simulator.checkers.merges import MergesOnce
from tests.simulator.checkers.names import NamesOnce
from tests.simulator.checkers.replicas import check_equal, check_ranges, check_sizes
from tests.simulator.checkers.splits import SplitsOnce
from tests.simulator.clients import Client
from tests.simulator.faults import describe_fault
from tests.simulator.healing import Healing
from tests.simulator.inspector import Inspector
from tests.simulator.limits import small_limits
from tests.simulator.observing import observed
from tests.simulator.options import Options, draw
from tests.simulator.phases import Phases
from tests.simulator.placement import SimPd
from tests.simulator.stores import SimStore
from tests.simulator.troubles import FEWEST, KINDS, Troubles
from tests.simulator.world import World

CHECK_BUDGET = 500_000
PATIENCE = 10
"""So many times that much for a seed, where what cannot be decided is a failure: one in a thousand
histories needs it. A hunt for a bug goes on to the next seed instead."""

BESIDES = ("ambush", "lost_word", "journal_loss_led", "store_removed", "peers_forgotten")
"""What is counted and is no trouble of its own."""

COUNTED = ("snapshots_installed", "snapshots_sent", "logs_cut", "sleeps", "turns")


class Result(Struct):
    """How a run ended: what it saw, and why it failed, if it did."""

    seed: int
    digest: str
    totals: Counter[str]
    failure: str = ""
    undecided: bool = False
    """Whether it failed only because nobody can tell, within the budget, if something is wrong."""
    ended: float = 0.0
    """When, in virtual seconds."""


class OutOfBudgetError(Exception):
    """The checker's budget ended before it knew whether the history can be explained."""


class Run:
    """One seed."""

    def __init__(self, options: Options, patience: int = 1) -> None:
        self.options = options
        self._budget = patience * CHECK_BUDGET
        self.world = world = World(options)
        self.history: list[Operation] = []
        self.leaders = OneLeaderPerTerm()
        self.logs = LogsAgree()
        self.hashes = HashesAgree()
        self.splits = SplitsOnce()
        self.merges = MergesOnce()
        self.members = MembersAgree()
        self.hosting = HostsRightly()
        self.names = NamesOnce()
        self.authority = Authority(lambda: bool(world.trace.totals["journal_loss"]))
        self.events: set[str] = set()
        self.stores = [SimStore(world, number + 1) for number in range(options.stores)]
        self.pds = [SimPd(world, number + 1) for number in range(options.pds)]
        for pd in self.pds:
            pd.on_order = self.authority.orders
        self.clients = [
            Client(world, number + 1, self.history) for number in range(options.workload.clients)
        ]
        self.inspector = Inspector(world, self.stores, self.hashes)
        self.healing = Healing(
            world, self.stores, self.pds, self.clients, self.inspector, self.history
        )
        world.on_start = self.authority.starts
        world.on_serve = self._serves

    def go(self) -> None:
        """Everything, in order. Raises `AssertionError` with what is wrong."""
        for pd in self.pds:
            pd.start()
        for store in self.stores:
            store.start()
        self.healing.until_born()
        troubles = Troubles(self.world, self.stores, self.pds, self.clients, self.inspector.check)
        Phases(self.world, self.stores, troubles)

        def turned(store: Store) -> None:
            self.leaders.look(store)
            self.hosting.look(store)
            self.names.look(store)
            troubles.watch(store)

        self.world.on_turn = turned
        clockwork, healing = self.world.clockwork, self.healing
        clockwork.run_until(clockwork.now + self.options.seconds)
        healing.heal(troubles)
        healing.until_at_rest()
        for item in self.stores:
            if item.lost is not None:
                Bereavement(healing, item.lost).settle()
        healing.read_all()
        healing.until_told()
        healing.compare()
        healing.hand_over_a_sleeper()
        healing.kill_a_sleeper()
        healing.read_all()
        healing.until_at_rest()
        self._last_word()

    def applied(self, before: Region, replica: Replica, entry: Entry) -> None:
        """Some replica has applied `entry`; its newest events are at the end of its outbox."""
        if entry.kind is EntryKind.MEMBERSHIP:
            self.members.look(before, replica, entry)
        else:
            self.splits.look(before, replica, entry)
            self.merges.look(before, replica, entry)
        self.logs.applied(replica.id, entry)
        self.events |= {waiting.event.id for waiting in replica.outbox.of(entry.index)}

    def _serves(self, store: Store, disk: MemoryDisk, folder: StoreUuid) -> None:
        """A start of a store has been accepted, and it has taken up what is on its disk."""
        self.authority.granted(store.me.store, folder)
        for replica in store.registry:
            self.logs.check_saved(replica, disk)

    def _last_word(self) -> None:
        for item in self.stores:
            item.count()
        running = self.healing.running()
        check_ranges(running)
        check_equal(running)
        check_sizes(running)
        for store, disk in running:
            for replica in store.registry:
                self.logs.check_saved(replica, disk)
        check_events(self.world.streams.all_events, self.events)
        verdict = check(self.history, RegisterModel(), self._budget)
        if isinstance(verdict, Undecided):
            raise OutOfBudgetError(describe(verdict))
        assert isinstance(verdict, Linearizable), describe(verdict)
        happened = sum(self.world.trace.totals[kind] for kind in KINDS)
        assert happened >= FEWEST, f"only {happened} troubles"

    def totals(self) -> Counter[str]:
        """What the run saw."""
        world = self.world
        totals = Counter(
            {
                "elections": self.leaders.elections,
                "entries": self.logs.applied_entries,
                "hashes": self.hashes.compared,
                "messages": world.network.sent,
                "operations": len(self.history),
                "split_regions": len(self.splits.applied),
                "merged_regions": len(self.merges.applied),
                "merges_given_up": len(self.merges.given_up),
                "peers_changed": len(self.members.applied),
                "operators_watched": len(self.healing.operators.watched),
                "reigns": self.authority.count,
                "unknown": sum(client.unknown for client in self.clients),
                "virtual_seconds": int(world.clockwork.now),
            }
        )
        totals.update({kind: world.trace.totals[kind] for kind in (*KINDS, *BESIDES)})
        totals.update({name: world.counted[name] for name in COUNTED})
        totals.update(self.splits.kinds)
        return totals


def run_seed(seed: int) -> tuple[Result, Run]:
    """Run one seed: its cluster, and before it a Raft group alone.

    The group changes its members and is read through its followers, as no cluster does yet. A
    failure is in the result, and the run holds its trace.
    """
    return _run(draw(seed), lambda: shake(seed), PATIENCE)


def run_cluster(seed: int) -> tuple[Result, Run]:
    """Run only the cluster of one seed."""
    return run_world(draw(seed))


def run_world(options: Options) -> tuple[Result, Run]:
    """Run the cluster of one world, whether a seed draws it or not."""
    return _run(options, lambda: "left alone")


def _run(options: Options, run_group: Callable[[], str], patience: int = 1) -> tuple[Result, Run]:
    with small_limits(options):
        run = Run(options, patience)
        failure, undecided = "", False
        try:
            run.world.note("group", run_group())
            with observed(run.applied, run.authority.obeyed):
                run.go()
        except Exception as fault:
            failure, undecided = describe_fault(fault), isinstance(fault, OutOfBudgetError)
            run.world.note("FAILED", failure.splitlines()[0])
    digest, ended = run.world.digest, run.world.clockwork.now
    return Result(options.seed, digest, run.totals(), failure, undecided, ended), run
