"""The one door to a Raft member: propose, step, tick, ready, saved, applied, and a few wishes.

The host loops: hand in what arrived (`step`, `propose`, `tick`), take `ready()`, send `send_now`,
save, then `saved(number)` and send `send_after_save`; apply, then `applied(index)`. Saving may
lag: any number of Readys may be out before the first is saved, but they are saved in order.
"""

from collections.abc import Callable, Container, Sequence

from flaredb.raft import (
    election,
    proposals,
    reading,
    replication,
    snapshot,
    timers,
    transfer,
)
from flaredb.raft.config import Config
from flaredb.raft.core import Core
from flaredb.raft.ledger import Ledger
from flaredb.raft.proposals import Forwarded, Proposed
from flaredb.raft.ready import Ready
from flaredb.raft.refusals import (
    ChangeRefusal,
    NotEligible,
    NotLeader,
    ProposalRefusal,
    StepRefusal,
    TransferRefusal,
)
from flaredb.raft.roles import FOLLOWER, LEADER, Role
from flaredb.raft.status import Status, is_quiet, status_of
from flaredb.raft.step import step
from flaredb.raft.storage import Storage
from flaredb_schemas.ids import NO_PEER, Index, PeerId, Term
from flaredb_schemas.raft import ConfChange, Configuration, Heartbeat, Message, SnapshotMeta

if not __debug__:
    raise RuntimeError("raft checks its invariants with assert: do not run it with -O")


class RaftNode:
    """One member of one group. Not for use from several threads.

    Invariants: those of `Core` and `Log`, checked when a call ends.
    """

    __slots__ = ("_check", "_core", "_ledger")

    def __init__(self, config: Config, storage: Storage, jitter: Callable[[int], int]) -> None:
        """`jitter(n)` draws from 0 to n - 1; it spreads elections in time."""
        self._core = Core(config, storage, jitter)
        self._ledger = Ledger(self._core)
        self._check = self._core.check_fully if config.full_checks else self._core.check
        self._check()

    # What arrives.

    def propose(self, data: Sequence[bytes]) -> Proposed | Forwarded | ProposalRefusal:
        """Put entries into the log, one per item. Only a leader can; they may still be lost."""
        outcome = proposals.propose(self._core, data)
        self._check()
        return outcome

    def propose_change(self, change: ConfChange) -> Proposed | Forwarded | ChangeRefusal:
        """Put a membership change into the log; it takes effect by `apply_change`."""
        outcome = proposals.propose_change(self._core, change)
        self._check()
        return outcome

    def step(self, sender: PeerId, message: Message) -> StepRefusal | None:
        """A message from another member. A refusal is for the log; it is never sent back."""
        refusal = step(self._core, sender, message)
        self._check()
        return refusal

    def tick(self, count: int = 1) -> None:
        """`count` ticks have passed: does exactly what so many single ticks would."""
        handing_over = self._core.transfer_target != NO_PEER
        timers.tick(self._core, count)
        if handing_over and self._core.transfer_target == NO_PEER:
            proposals.leave_joint_if_due(self._core)  # which was refused meanwhile
        self._check()

    def elapse(self, count: int) -> None:
        """As `tick`, but stops one tick short of what would happen by itself.

        A host that calls `tick` only when `due_in` says so brings the member's clocks up to date
        with this before `step`, so that leases are judged by the time that has passed.
        """
        due = timers.due_in(self._core)
        timers.elapse(self._core, count if due is None else min(count, due - 1))

    def due_in(self) -> int | None:
        """Ticks until this member does something by itself, at least one; None: never.

        Ask again after every call: what arrives moves it.
        """
        return timers.due_in(self._core)

    # What the host owes.

    @property
    def has_news(self) -> bool:
        """Whether something has become due since the last `ready`. Cheap."""
        core = self._core
        return self._ledger.has_news(core) or (core.reads is not None and bool(core.reads.waiting))

    def ready(self) -> Ready | None:
        """What has become due since the last call, or None. Cheap when there is nothing."""
        if not self.has_news:
            return None
        ready = self._ledger.take(self._core)
        self._check()
        return ready

    def saved(self, number: int) -> None:
        """The Ready of that number and all before it are durable."""
        self._ledger.saved(self._core, number)
        self._check()

    def applied(self, index: Index) -> None:
        """The state machine has applied all entries up to `index`, of those handed out."""
        self._core.log.applied_to(index)
        proposals.leave_joint_if_due(self._core)
        self._check()

    def apply_change(self, change: ConfChange) -> Configuration:
        """A committed membership change takes effect; call it in the entry's place in the log,
        before `applied`. A change that the state machine turns down is simply not passed on."""
        configuration = proposals.apply_change(self._core, change)
        self._check()
        return configuration

    # What the host wishes.

    def read_index(self, context: bytes) -> NotLeader | None:
        """Ask for a linearizable read point; the answer is a `ReadState` with that context.

        Reads under way are lost without a word when leadership changes: ask again, under a fresh
        context.
        """
        return reading.ask(self._core, context)

    def transfer_leader(self, to: PeerId) -> TransferRefusal | None:
        """Hand over to `to`, within one election timeout or not at all."""
        refusal = transfer.request(self._core, to)
        self._check()
        return refusal

    def campaign(self) -> NotEligible | None:
        """Stand for election now."""
        refusal = election.campaign(self._core)
        self._check()
        return refusal

    def forget_leader(self) -> None:
        """A follower stops believing in its leader, so that it will vote for another."""
        core = self._core
        if core.role is FOLLOWER and not core.config.lease_reads:
            core.leader = NO_PEER

    def report_unreachable(self, peer: PeerId) -> None:
        """Messages to `peer` have been lost."""
        replication.handle_unreachable(self._core, peer)

    def report_absent(self, peer: PeerId, is_welcome: bool) -> None:
        """The store of `peer` lives, and does not have it; `is_welcome` if it could have it."""
        replication.handle_absent(self._core, peer, is_welcome)
        self._check()

    def report_snapshot(self, peer: PeerId, ok: bool) -> None:
        """The snapshot that was offered to `peer` has ended. Owed once for every offer."""
        snapshot.report(self._core, peer, ok)

    def restore(self, meta: SnapshotMeta, term: Term) -> None:
        """The host has installed the state at `meta`, which is beyond the commit index.

        A leader of `term` has sent it.

        The next Ready tells what becomes of the saved log; the leader, if known, hears of it
        after that is saved.
        """
        snapshot.install(self._core, meta, term)
        self._check()

    def learn_commit(self, index: Index, term: Term) -> None:
        """The host knows from elsewhere that this entry, which is in the log, is committed."""
        log = self._core.log
        if index > log.commit and log.has(index, term):
            log.commit_to(index)
            self._check()

    def beat(self) -> None:
        """A leader sends heartbeats at once."""
        if self._core.role is LEADER:
            replication.broadcast_heartbeat(self._core)

    def heartbeat(self, to: PeerId) -> Heartbeat:
        """What a leader would tell `to` now; for a host that sends it by itself."""
        assert self._core.role is LEADER, "heartbeats without leadership"
        return replication.heartbeat(self._core, self._core.progress[to])

    def restart_timers(self) -> None:
        """Nobody is late: as if everyone had just been heard."""
        timers.restart(self._core)

    def allow_campaigns(self, allowed: bool) -> None:
        """Whether this member may stand for election; while its state is in pieces it may not."""
        self._core.may_campaign = allowed

    # What can be seen.

    def is_quiet(self, but_for: Container[PeerId] = ()) -> bool:
        """Whether nothing is pending here, nor at any follower except those named."""
        return is_quiet(self._core, but_for) and self._ledger.saved_number == self._ledger.number

    def status(self) -> Status:
        """Everything about this member, for people and for tests."""
        return status_of(self._core)

    @property
    def peer(self) -> PeerId:
        return self._core.peer

    @property
    def role(self) -> Role:
        return self._core.role

    @property
    def term(self) -> Term:
        return self._core.term

    @property
    def vote(self) -> PeerId:
        return self._core.vote

    @property
    def leader(self) -> PeerId:
        """Whom this member believes to lead its term; zero for nobody."""
        return self._core.leader

    @property
    def commit(self) -> Index:
        return self._core.log.commit

    @property
    def applied_index(self) -> Index:
        return self._core.log.applied

    @property
    def saved_index(self) -> Index:
        return self._core.log.saved

    @property
    def first_index(self) -> Index:
        return self._core.log.first_index()

    @property
    def last_index(self) -> Index:
        return self._core.log.tail.last

    @property
    def last_term(self) -> Term:
        return self._core.log.tail.last_term

    @property
    def configuration(self) -> Configuration:
        return self._core.configuration

    @property
    def members(self) -> frozenset[PeerId]:
        """Everyone in the configuration, in whatever part."""
        return self._core.members

    @property
    def transfer_target(self) -> PeerId:
        return self._core.transfer_target

    @property
    def has_pending_change(self) -> bool:
        """Whether a membership change may stand unapplied in the log, as far as a leader knows."""
        return self._core.pending_change > self._core.log.applied
