"""One member's state, and the moves that change who it is: become, reset, send, append, commit.

The moves of the protocol are functions in the files beside this one; each takes the `Core`.
"""

from collections.abc import Callable, Sequence

import msgspec

from flaredb.raft import quorum
from flaredb.raft.config import Config
from flaredb.raft.inflights import Inflights
from flaredb.raft.log import Log
from flaredb.raft.membership import members
from flaredb.raft.progress import Progress
from flaredb.raft.read_index import ReadQueue
from flaredb.raft.ready import ReadState, Send
from flaredb.raft.roles import CANDIDATE, FOLLOWER, LEADER, PRE_CANDIDATE
from flaredb.raft.storage import Storage
from flaredb_schemas.ids import NO_PEER, Index, PeerId, Term
from flaredb_schemas.raft import (
    Append,
    Configuration,
    Entry,
    EntryKind,
    HardState,
    Heartbeat,
    HeartbeatAnswer,
    Message,
    PreVoteAnswer,
    PreVoteRequest,
    SnapshotMeta,
    SnapshotOffer,
    TimeoutNow,
    VoteRequest,
)


class SharedAppend(msgspec.Struct, frozen=True, gc=False):
    """The append built last: followers in step get one and the same object, encoded once."""

    last: Index
    """The end of the log when it was built."""
    size: int
    message: Append


RELEASED_AT_ONCE: frozenset[type[Message]] = frozenset(
    {
        Append,
        Heartbeat,
        SnapshotOffer,
        TimeoutNow,
        PreVoteRequest,
        PreVoteAnswer,
        HeartbeatAnswer,
    }
)
"""What may leave before the save. The first four come from a leader, whose term is saved; the
others promise nothing. All else promises something that a crash must not undo."""


class Core:
    """One member of one group.

    Invariants: the term never falls; the vote changes only with the term, from nobody to somebody;
    only a leader has progress of others and reads under way; a leader's log holds an entry of its
    term; messages of a term leave only while the member is in it.
    """

    __slots__ = (
        "config",
        "configuration",
        "election_elapsed",
        "election_timeout",
        "heartbeat_elapsed",
        "jitter",
        "leader",
        "log",
        "may_campaign",
        "members",
        "own_vote_counted",
        "peer",
        "pending_change",
        "progress",
        "read_states",
        "reads",
        "restored",
        "role",
        "send_after_save",
        "send_now",
        "shared_append",
        "term",
        "term_start",
        "transfer_target",
        "uncommitted_bytes",
        "vote",
        "votes",
    )

    def __init__(self, config: Config, storage: Storage, jitter: Callable[[int], int]) -> None:
        hard_state, self.configuration = storage.initial()
        self.config = config
        self.peer = config.peer
        self.jitter = jitter
        self.log = Log(
            storage,
            hard_state.commit,
            config.applied,
            config.apply_unsaved,
            config.max_applying_bytes,
        )
        self.members = members(self.configuration)
        self.term, self.vote = hard_state.term, hard_state.vote
        self.role = FOLLOWER
        self.leader = NO_PEER
        self.may_campaign = True
        self.votes: dict[PeerId, bool] = {}
        self.own_vote_counted = True
        """Whether nothing is owed to this candidate's own vote, which counts once it is saved."""
        self.progress: dict[PeerId, Progress] = {}
        """A leader's view of every member, itself too, in the order of ids so that runs repeat."""
        self.reads: ReadQueue | None = None
        self.term_start = Index(0)
        """A leader's first entry of its term."""
        self.pending_change = Index(0)
        """No membership change stands unapplied beyond this index."""
        self.transfer_target = NO_PEER
        self.uncommitted_bytes = 0
        self.shared_append: SharedAppend | None = None
        self.restored: tuple[SnapshotMeta, bool] | None = None
        """A snapshot to hand out to save, and whether the log behind it stays."""
        self.send_now: list[Send] = []
        self.send_after_save: list[Send] = []
        self.read_states: list[ReadState] = []
        self.election_elapsed = self.heartbeat_elapsed = 0
        self.election_timeout = config.election_ticks + jitter(config.election_ticks)

    def check(self) -> None:
        """The invariants that cost constant time; called at the end of every call."""
        self.log.check()
        leads = self.role is LEADER
        assert leads == (self.reads is not None), "reads without a leader"
        assert not leads or (self.leader == self.peer and self.term_start <= self.log.tail.last), (
            "a leader under another, or without an entry of its term"
        )

    def check_fully(self) -> None:
        """All invariants, at a cost linear in the tail and in the members."""
        self.check()
        self.log.tail.check()
        assert self.members == members(self.configuration), "members out of step"
        if self.role is LEADER:
            assert set(self.progress) == self.members, "progress out of step with the members"
        for peer, progress in self.progress.items():
            progress.check()
            assert progress.match <= self.log.tail.last, f"{peer} is ahead of its leader"

    # Who this member is.

    @property
    def hard_state(self) -> HardState:
        return HardState(self.term, self.vote, self.log.commit)

    @property
    def is_learner(self) -> bool:
        return self.peer in self.configuration.learners

    @property
    def is_promotable(self) -> bool:
        """Whether this member may stand for election."""
        return (
            self.may_campaign
            and self.peer in self.members
            and not self.is_learner
            and self.log.snapshot is None
        )

    @property
    def in_lease(self) -> bool:
        """Whether a leader was heard so recently that no other should be elected (thesis, 4.2.3).

        Sound only with check-quorum, by which a leader that nobody hears steps down in time.
        """
        return (
            self.config.check_quorum
            and self.leader != NO_PEER
            and self.election_elapsed < self.config.election_ticks
        )

    def become_follower(self, term: Term, leader: PeerId) -> None:
        self._reset(term)
        self.role = FOLLOWER
        self.leader = leader

    def become_pre_candidate(self) -> None:
        """Ask first; term and vote stay as they are (thesis, 9.6)."""
        assert self.role is not LEADER, "a leader stands for election"
        self.role = PRE_CANDIDATE
        self.leader = NO_PEER
        self.votes = {}

    def become_candidate(self) -> None:
        """Enter the next term with a vote for oneself, which counts once it is saved."""
        assert self.role is not LEADER, "a leader stands for election"
        self._reset(Term(self.term + 1))
        self.role = CANDIDATE
        self.vote = self.peer
        self.own_vote_counted = False

    def become_leader(self) -> None:
        """Lead this term, opened by an empty entry (thesis, 6.4, step 1)."""
        assert self.role is CANDIDATE, "a leader that did not stand for election"
        self._reset(self.term)
        self.role = LEADER
        self.leader = self.peer
        self.reads = ReadQueue()
        for peer in sorted(self.members):
            self.progress[peer] = self._new_progress(Index(self.log.tail.last + 1))
        own = self.progress.get(self.peer)
        if own is not None:
            own.accept(self.log.saved)
            own.become_replicate()
            own.recent_active = True
        # An inherited tail may hold a membership change that nobody has applied yet.
        self.pending_change = self.log.tail.last
        self.term_start = Index(self.log.tail.last + 1)
        self.append_own(EntryKind.NORMAL, (b"",))

    def restart_election_timer(self) -> None:
        self.election_elapsed = 0
        ticks = self.config.election_ticks
        self.election_timeout = ticks + self.jitter(ticks)

    # What it does.

    def send(self, to: PeerId, message: Message, probing: bool = False) -> None:
        """Hand `message` out, before or after the save as its type demands."""
        kind = type(message)
        if kind in RELEASED_AT_ONCE or (kind is VoteRequest and self.config.release_votes_early):
            self.send_now.append(Send(to, message, probing))
        else:
            self.send_after_save.append(Send(to, message, probing))

    def append_own(self, kind: EntryKind, data: Sequence[bytes]) -> bool:
        """Put a leader's entries into its log; whether the uncommitted bytes left room.

        What is empty, or alone, always gets through (else a large entry could never).
        """
        size = sum(map(len, data))
        if (
            size
            and self.uncommitted_bytes
            and self.uncommitted_bytes + size > self.config.max_uncommitted_bytes
        ):
            return False
        self.uncommitted_bytes += size
        index = self.log.tail.last
        term = self.term
        entries = []
        for payload in data:
            index = Index(index + 1)
            entries.append(Entry(index, term, kind, payload))
        self.log.append(entries)
        return True

    def commit_by_quorum(self) -> bool:
        """Commit what a quorum has saved, if it is of this term; whether anything was new.

        Entries of older terms are committed only by one of this term behind them (Raft paper,
        5.4.2 and figure 8).
        """
        progress = self.progress
        configuration = self.configuration
        index = quorum.majority_index([progress[peer].match for peer in configuration.voters])
        if configuration.voters_outgoing:
            outgoing = [progress[peer].match for peer in configuration.voters_outgoing]
            index = min(index, quorum.majority_index(outgoing))
        return (
            index != quorum.EVERYTHING
            and index >= self.term_start
            and self.log.commit_to(Index(index))
        )

    def switch_members(self, configuration: Configuration) -> None:
        """Take on a configuration; a leader begins or ends to follow its members' progress."""
        self.configuration = configuration
        self.members = members(configuration)
        if self.role is not LEADER:
            return
        old = self.progress
        self.progress = {
            peer: old[peer] if peer in old else self._newcomer() for peer in sorted(self.members)
        }

    def _reset(self, term: Term) -> None:
        assert term >= self.term, f"term falls from {self.term} to {term}"
        if term != self.term:
            self.term = term
            self.vote = NO_PEER
        self.leader = NO_PEER
        self.heartbeat_elapsed = 0
        self.restart_election_timer()
        self.transfer_target = NO_PEER
        self.votes = {}
        self.own_vote_counted = True
        self.progress = {}
        self.reads = None
        self.pending_change = Index(0)
        self.uncommitted_bytes = 0
        self.shared_append = None

    def _newcomer(self) -> Progress:
        progress = self._new_progress(Index(max(self.log.tail.last, 1)))
        # Counted as heard from, so that check-quorum gives it one period to answer.
        progress.recent_active = True
        return progress

    def _new_progress(self, next_index: Index) -> Progress:
        config = self.config
        return Progress(
            next_index, Inflights(config.max_inflight_messages, config.max_inflight_bytes)
        )
