"""One replica: its Raft node, its log, its state machine, and who waits for what.

The parts are joined here and driven by the store's turn; nothing in this file sends or saves.
"""

from collections import deque
from typing import Final

from msgspec import Struct

from flaredb.kv.machine import AppliedState, Machine
from flaredb.raft.node import RaftNode
from flaredb.raft.roles import Role
from flaredb.store.log import ReplicaLog
from flaredb.store.outbox import Outbox
from flaredb.store.reads import ReadQueue
from flaredb.store.records import ReplicaRecord, ReplicaState
from flaredb_schemas.commands import Batch, Command
from flaredb_schemas.frames import SnapshotHeader
from flaredb_schemas.ids import NO_PEER, NO_STORE, Index, PeerId, RegionId, StoreId, Term
from flaredb_schemas.raft import Configuration, Entry, HardState, SnapshotMeta
from flaredb_schemas.regions import PeerRole, Region, Route
from flaredb_schemas.requests import GetRequest, ScanRequest

MAX_APPLY_BYTES: Final = 1024 * 1024
"""How much a replica applies in one turn, so that one region cannot stall the others."""

MAX_APPLY_OPS: Final = 2_000
"""How many operations, or rows that they change: tiny ones cost more than their bytes say. An entry
is applied whole, so it may be exceeded by one."""


MOST_MET: Final = 64
"""Of how many peers that are not in the record their stores are remembered."""


class Asker(Struct, frozen=True, gc=False):
    """Where an answer goes: the asker's inbox, and its own number for the request."""

    reply: str
    number: int


class Proposal(Struct, frozen=True, gc=False):
    """A command of this leader on its way through the log, in decoded form for its own apply."""

    term: Term
    command: Command
    batch: Batch | None
    asker: Asker | None


Read = tuple[GetRequest | ScanRequest, Asker]


class Traffic(Struct):
    """What clients did to a region since it was last reported."""

    read_keys: int = 0
    read_bytes: int = 0
    written_keys: int = 0
    written_bytes: int = 0


class Replica:
    """A peer of a region on this store.

    Invariants: `machine.region` is the region as last applied; entries to apply follow on the
    machine's index; proposals are kept only while this replica leads in their term; `unsaved`
    counts the Readys that no durable batch holds yet; `roused` means that it was woken for nothing
    but an election, and nobody has wanted anything of it since; `lost` are peers
    that will not take part again, `missed` those that may be, since when.
    """

    __slots__ = (
        "applying",
        "asleep",
        "drowsy_since",
        "held",
        "incarnation",
        "installing",
        "known_leader",
        "last_activity",
        "last_tick",
        "log",
        "lost",
        "machine",
        "met",
        "missed",
        "node",
        "outbox",
        "peer",
        "proposals",
        "quiet_answers",
        "reads",
        "roused",
        "saved_applied",
        "saved_ballot",
        "snapshot_floor",
        "state",
        "traffic",
        "unsaved",
    )

    def __init__(
        self,
        *,
        peer: PeerId,
        incarnation: int,
        node: RaftNode,
        log: ReplicaLog,
        machine: Machine,
        outbox: Outbox,
        tick: int,
        now: float,
    ) -> None:
        self.peer = peer
        self.incarnation = incarnation
        self.node = node
        self.log = log
        self.machine = machine
        self.outbox = outbox
        self.state = ReplicaState.LIVE
        self.reads: ReadQueue[Read] = ReadQueue()
        self.proposals: dict[Index, Proposal] = {}
        self.applying: deque[Entry] = deque()
        self.held = False
        self.unsaved = 0
        self.saved_applied = Index(0)
        self.applied_saved(machine.state)
        self.saved_ballot = (node.term, node.vote)
        self.snapshot_floor: dict[PeerId, Index] = {}
        self.installing: tuple[SnapshotHeader, str] | None = None
        self.traffic = Traffic()
        self.known_leader = NO_PEER
        self.lost: set[PeerId] = set()
        self.missed: dict[PeerId, float] = {}
        self.met: dict[PeerId, StoreId] = {}
        self.last_tick = tick
        self.last_activity = now
        self.asleep = False
        self.roused = False
        self.drowsy_since: float | None = None
        self.quiet_answers: set[PeerId] = set()

    @property
    def id(self) -> RegionId:
        """The region's id."""
        return self.machine.region.id

    @property
    def region(self) -> Region:
        """The region as last applied here."""
        return self.machine.region

    @property
    def leads(self) -> bool:
        """Whether this replica believes that it leads; one that is damaged has given that up."""
        return self.node.role is Role.LEADER and self.state is ReplicaState.LIVE

    def store_of(self, peer: PeerId) -> StoreId:
        """The store that holds `peer`; zero if neither the region's record nor anybody told it."""
        region = self.machine.region
        for known in region.peers + region.removed:
            if known.id == peer:
                return known.store
        return self.met.get(peer, NO_STORE)

    def meet(self, peer: PeerId, store: StoreId) -> None:
        """A peer that is not in the record speaks from `store`: who is late must answer it.

        The record, once it has caught up, says more.
        """
        if len(self.met) >= MOST_MET:
            self.met.clear()
        self.met[peer] = store

    def route(self) -> Route:
        """The region and its leader as this replica knows them."""
        leader = self.node.leader
        return Route(
            self.region,
            leader,
            self.store_of(leader) if leader != NO_PEER else NO_STORE,
            self.node.term,
            self.machine.state.time,
        )

    def hard_state(self) -> HardState:
        """What Raft must never forget, for the batch that is being gathered.

        What is committed may be ahead of what was gathered: messages are handed over while a split
        is applied, too. A start with a commit index behind the log's end gives the replica up.
        """
        commit = min(self.node.commit, self.log.gathered)
        assert commit >= self.machine.state.index, "only what is gathered is applied"
        return HardState(self.node.term, self.node.vote, commit)

    def catch_up(self, tick: int) -> None:
        """Bring the node's clocks up to date before it is told something; nothing fires yet."""
        if self.asleep or tick <= self.last_tick:
            return
        due = self.node.due_in()
        passed = tick - self.last_tick if due is None else min(tick - self.last_tick, due - 1)
        self.node.elapse(passed)
        self.last_tick += passed

    def tick(self, tick: int) -> None:
        """The ticks since the last time pass now, with all that they make due."""
        passed = tick - self.last_tick
        if passed > 0 and not self.asleep:
            self.last_tick = tick
            self.node.tick(passed)

    def applied_saved(self, state: AppliedState) -> None:
        """What is applied up to `state` is on disk, and could be sent as a snapshot."""
        if state.index >= self.saved_applied:
            self.saved_applied = state.index
            self.log.offered = SnapshotMeta(state.index, state.term, self.node.configuration)

    def record(self) -> ReplicaRecord:
        """What is saved of the replica itself."""
        if self.installing is None:
            return ReplicaRecord(self.region, self.peer, self.state)
        header, name = self.installing
        return ReplicaRecord(self.region, self.peer, self.state, header, name)


def configuration_of(region: Region) -> Configuration:
    """The Raft configuration that the region's record describes."""

    def ids(*roles: PeerRole) -> tuple[PeerId, ...]:
        return tuple(sorted(peer.id for peer in region.peers if peer.role in roles))

    joint = ids(PeerRole.INCOMING_VOTER, PeerRole.DEMOTING_VOTER)
    return Configuration(
        voters=ids(PeerRole.VOTER, PeerRole.INCOMING_VOTER),
        learners=ids(PeerRole.LEARNER),
        voters_outgoing=ids(PeerRole.VOTER, PeerRole.DEMOTING_VOTER) if joint else (),
        learners_next=ids(PeerRole.DEMOTING_VOTER),
        # Whoever leads leaves the joint state, so that it never stays behind.
        auto_leave=bool(joint),
    )
