"""One run of one seed: troubles under the checkers' eyes, then healing, then the last word.

Healing has three parts. First one store may stay dead: every region with a live majority must have
a leader. Then all are there, and everything must come to rest and be equal. Last everything sleeps,
a leader is killed in its sleep, and the others must find a new one.
"""

from collections import Counter
from collections.abc import Callable, Sequence

from msgspec import Struct
from msgspec.structs import replace

from flaredb.disk.memory_disk import MemoryDisk
from flaredb.store.replica import Replica
from flaredb.store.store import Store
from flaredb_schemas.ids import RegionId, StoreUuid
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
from tests.simulator.checkers.authority import Authority
from tests.simulator.checkers.events import check_events
from tests.simulator.checkers.hashes import HashesAgree
from tests.simulator.checkers.hosting import HostsRightly
from tests.simulator.checkers.leaders import OneLeaderPerTerm
from tests.simulator.checkers.logs import LogsAgree
from tests.simulator.checkers.members import MembersAgree
from tests.simulator.checkers.merges import MergesOnce
from tests.simulator.checkers.progress import find_awake, find_leaderless, find_stuck
from tests.simulator.checkers.replicas import check_equal, check_ranges, check_sizes
from tests.simulator.checkers.splits import SplitsOnce
from tests.simulator.clients import Client
from tests.simulator.faults import describe_fault
from tests.simulator.inspector import PATIENCE_SECONDS, Inspector
from tests.simulator.limits import small_limits
from tests.simulator.observing import observed
from tests.simulator.options import Options, draw
from tests.simulator.phases import Phases
from tests.simulator.placement import SimPd
from tests.simulator.stores import SimStore
from tests.simulator.troubles import FEWEST, KINDS, Troubles, region_ids
from tests.simulator.world import World

START_SECONDS = 40.0
LEADER_SECONDS = 25.0
"""How long regions with a live majority may be without a leader: long pauses end meanwhile."""

HEALING_SECONDS = 60.0
"""By then everything must be at rest."""

FEWEST_OPERATIONS = 200
CHECK_BUDGET = 500_000
PATIENCE = 10
"""So many times that much for a seed, where what cannot be decided is a failure: one in a thousand
histories needs it. A hunt for a bug goes on to the next seed instead."""

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
        world.on_start = self.authority.starts
        world.on_serve = self._serves

    def go(self) -> None:
        """Everything, in order. Raises `AssertionError` with what is wrong."""
        for pd in self.pds:
            pd.start()
        for store in self.stores:
            store.start()
        self._wait(self._unborn, START_SECONDS)
        troubles = Troubles(self.world, self.stores, self.pds, self.inspector.check)
        Phases(self.world, self.stores, troubles)

        def turned(store: Store) -> None:
            self.leaders.look(store)
            self.hosting.look(store)
            troubles.watch(store)

        self.world.on_turn = turned
        self._pass(self.options.seconds)
        self._heal(troubles)
        self._until_at_rest()
        self._read_all()
        self._wait(self._untold, HEALING_SECONDS)
        self._compare()
        self._kill_a_sleeper()
        self._read_all()
        self._until_at_rest()
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

    # The parts of healing.

    def _heal(self, troubles: Troubles) -> None:
        """First all but one store, then all."""
        dice = self.world.dice
        dead = [dice.choice(self.stores)] if dice.random() < 0.5 else []
        if self.world.trace.totals["disk_loss"]:
            dead = []  # a region that has lost one of three replicas needs the others
        self.world.quiet = False
        troubles.heal(dead)
        self._wait(self._leaderless, LEADER_SECONDS)
        self._wait(self._few_operations, HEALING_SECONDS)
        self._pass(2.0)
        for client in self.clients:
            client.stop()
        self._wait(self._waiting_clients, HEALING_SECONDS)
        troubles.heal()

    def _kill_a_sleeper(self) -> None:
        """When nothing happens all regions sleep; who leads in its sleep is replaced."""
        if self.world.trace.totals["disk_loss"]:
            return  # a region with a peer on a dead store stays awake
        self._wait(lambda: find_awake(self._running()), HEALING_SECONDS)
        leading = [
            item
            for item in self.stores
            if item.store is not None and any(replica.leads for replica in item.store.registry)
        ]
        victim = self.world.dice.choice(leading)
        victim.crash()
        self._pass(1.0)
        self._wait(self._leaderless, LEADER_SECONDS)
        victim.start()
        self._until_at_rest()

    def _read_all(self) -> None:
        """Every key is read once more: what was acknowledged must be there."""
        client = self.clients[0]
        before = client.unknown
        client.read(client.keys)
        self._wait(self._waiting_clients, HEALING_SECONDS)
        assert client.unknown == before, "a last read was given up"

    def _compare(self) -> None:
        """Every replica of every region says what it holds."""
        for region in region_ids(self.stores):
            end = self.world.clockwork.now + HEALING_SECONDS
            # PD may have small regions merged meanwhile.
            while region in region_ids(self.stores) and not self._compared(region):
                assert self.world.clockwork.now < end, f"region {region} cannot be checked"

    def _compared(self, region: RegionId) -> bool:
        """Check the region once; whether all who host it have answered."""
        check = self.inspector.check(region)
        hosts = {store.me.store for store, _ in self._running() if store.registry.get(region)}
        for _ in range(int(PATIENCE_SECONDS)):
            self._pass(1.0)
            if check.asked and hosts.isdisjoint(check.owing):
                return True
        return False

    def _last_word(self) -> None:
        for item in self.stores:
            item.count()
        running = self._running()
        check_ranges(running)
        check_equal(running)
        check_sizes(running)
        for store, disk in running:
            for replica in store.registry:
                self.logs.check_saved(replica, disk)
                self.authority.others({replica.id, *(peer.id for peer in replica.region.peers)})
        check_events(self.world.streams.events, self.events)
        verdict = check(self.history, RegisterModel(), self._budget)
        if isinstance(verdict, Undecided):
            raise OutOfBudgetError(describe(verdict))
        assert isinstance(verdict, Linearizable), describe(verdict)
        happened = sum(self.world.trace.totals[kind] for kind in KINDS)
        assert happened >= FEWEST, f"only {happened} troubles"

    # Waiting.

    def _pass(self, seconds: float) -> None:
        self.world.clockwork.run_until(self.world.clockwork.now + seconds)

    def _wait(self, find: Callable[[], Sequence[str]], seconds: float) -> None:
        """Let time pass until nothing is found any more."""
        end = self.world.clockwork.now + seconds
        while found := find():
            assert self.world.clockwork.now < end, "no progress: " + "; ".join(found)
            self._pass(0.5)

    def _until_at_rest(self) -> None:
        self._wait(self._stuck, HEALING_SECONDS)

    def _unborn(self) -> list[str]:
        born = [store for store, _ in self._running() if len(store.registry)]
        return [] if len(born) >= 3 and not self._leaderless() else ["there are no regions yet"]

    def _stuck(self) -> list[str]:
        stuck = [f"{item.name} does not serve" for item in self.stores if item.store is None]
        return stuck + find_stuck(self._running()) + self._waiting_clients()

    def _leaderless(self) -> list[str]:
        return find_leaderless(self._running())

    def _untold(self) -> list[str]:
        """What PD does not know of the regions, although it has had time to be told."""
        reigns = [pd.core._reign for pd in self.pds if pd.core is not None]
        reign = next((one for one in reigns if one is not None and not one.doing), None)
        if reign is None:
            return ["no PD is ready"]
        told = [found.region for found in reign.heard.regions.from_key(b"")]
        hosted = {
            one.id: replace(one.region, absorbed=())  # of no use to PD, and not reported
            for store, _ in self._running()
            for one in store.registry
        }
        expected = sorted(hosted.values(), key=lambda region: region.keys.start)
        return [] if told == expected else [f"PD knows of {told} instead of {expected}"]

    def _few_operations(self) -> list[str]:
        count = len(self.history)
        return [f"only {count} operations"] if count < FEWEST_OPERATIONS else []

    def _waiting_clients(self) -> list[str]:
        return [f"{client.name} waits" for client in self.clients if not client.idle]

    def _running(self) -> list[tuple[Store, MemoryDisk]]:
        return [
            (item.store, item.disk)
            for item in self.stores
            if item.store is not None and item.disk is not None
        ]

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
                "reigns": self.authority.count,
                "unknown": sum(client.unknown for client in self.clients),
                "virtual_seconds": int(world.clockwork.now),
            }
        )
        totals.update({kind: world.trace.totals[kind] for kind in (*KINDS, "ambush")})
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
