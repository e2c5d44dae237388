"""Log entries, hard state, snapshots and membership changes, and one type per Raft message.

A message carries what the protocol needs and nothing else: who sends it to whom, for which region
and at which epoch stands in the frame around it. Every message has its own frozen type with its
own field names; the tag is a small integer. Arrays grow at the end only, by fields with defaults,
so that an older reader skips what it does not know.

The words are those of Ongaro's thesis, "Consensus: Bridging Theory and Practice" (2014).
"""

import enum
from typing import Annotated, Final

import msgspec

from flaredb_schemas.ids import Index, PeerId, Term

AtLeastZero = Annotated[int, msgspec.Meta(ge=0)]
SomeIndex = Annotated[Index, msgspec.Meta(ge=0)]
SomeTerm = Annotated[Term, msgspec.Meta(ge=0)]
SomePeer = Annotated[PeerId, msgspec.Meta(ge=0)]


class EntryKind(enum.IntEnum):
    """What the bytes of a log entry mean to Raft."""

    NORMAL = 0
    """Bytes for the state machine; empty for the entry with which a leader opens its term."""
    MEMBERSHIP = 1
    """A `ConfChange`; empty bytes mean: leave the joint configuration."""


class Entry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One entry of a Raft log."""

    index: SomeIndex
    term: SomeTerm
    kind: EntryKind
    data: bytes


class HardState(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a member must never forget (Raft paper, figure 2: persistent state)."""

    term: SomeTerm = Term(0)
    vote: SomePeer = PeerId(0)
    """For whom this member voted in `term`; zero for nobody."""
    commit: SomeIndex = Index(0)
    """Known to be committed; losing it costs time, not safety."""


class Configuration(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Who takes part, in which role (thesis, chapter 4). Every tuple is sorted, without repeats."""

    voters: tuple[SomePeer, ...] = ()
    learners: tuple[SomePeer, ...] = ()
    """Receive the log, count in no quorum."""
    voters_outgoing: tuple[SomePeer, ...] = ()
    """The voters before the change, while it is joint: both majorities are needed."""
    learners_next: tuple[SomePeer, ...] = ()
    """Outgoing voters that become learners when the joint configuration is left."""
    auto_leave: bool = False
    """The leader leaves the joint configuration by itself once it has applied it."""


class SnapshotMeta(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The point in the log that a snapshot of the state machine stands for."""

    index: SomeIndex
    term: SomeTerm
    configuration: Configuration


class ChangeKind(enum.IntEnum):
    """One step of a membership change."""

    ADD_VOTER = 0
    REMOVE = 1
    UPDATE = 2
    """Nothing for Raft; the change's context says what is new about the peer."""
    ADD_LEARNER = 3


class ChangeStep(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What happens to one peer. A step that names peer zero is skipped."""

    kind: ChangeKind
    peer: SomePeer


class Transition(enum.IntEnum):
    """How a membership change passes from the old configuration to the new one."""

    AUTO = 0
    """At once for one step, else as `IMPLICIT`."""
    IMPLICIT = 1
    """Through a joint configuration, which the leader leaves by itself."""
    EXPLICIT = 2
    """Through a joint configuration, which somebody must propose to leave."""


class ConfChange(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A membership change as it stands in the log. Without steps: leave the joint configuration."""

    steps: tuple[ChangeStep, ...] = ()
    transition: Transition = Transition.AUTO
    context: bytes = b""
    """For the host alone; Raft carries it."""

    @property
    def leaves_joint(self) -> bool:
        return not self.steps and self.transition is Transition.AUTO

    @property
    def enters_joint(self) -> bool:
        return len(self.steps) > 1 or self.transition is not Transition.AUTO


_encoder: Final = msgspec.msgpack.Encoder()
_change_decoder: Final = msgspec.msgpack.Decoder(ConfChange)


def encode_change(change: ConfChange) -> bytes:
    """The data of a membership entry. A bare "leave" is empty, so that no size limit refuses it."""
    return b"" if change.leaves_joint and not change.context else _encoder.encode(change)


def decode_change(data: bytes) -> ConfChange:
    """The reverse of `encode_change`; raises `msgspec.DecodeError` for anything else."""
    return _change_decoder.decode(data) if data else ConfChange()


class PreVoteRequest(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=1):
    """Would you vote for me? Changes nobody's term (thesis, 9.6)."""

    term: SomeTerm
    """The term in which the sender would stand: one more than its own."""
    last_index: SomeIndex
    last_term: SomeTerm


class PreVoteAnswer(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=2):
    """Granted: `term` is that of the request. Refused: `term` is the answerer's own."""

    term: SomeTerm
    granted: bool


class VoteRequest(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=3):
    """RequestVote (Raft paper, figure 2)."""

    term: SomeTerm
    last_index: SomeIndex
    last_term: SomeTerm
    transfer: bool = False
    """The leader asked for this election, so its lease does not stand in the way (thesis, 3.10)."""


class VoteAnswer(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=4):
    """The answer to RequestVote."""

    term: SomeTerm
    granted: bool


class Append(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=5):
    """AppendEntries (Raft paper, figure 2)."""

    term: SomeTerm
    previous_index: SomeIndex
    previous_term: SomeTerm
    commit: SomeIndex
    entries: tuple[Entry, ...] = ()


class AppendAccepted(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=6):
    """My saved log agrees with the leader's up to `index`."""

    term: SomeTerm
    index: SomeIndex


class AppendRejected(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=7):
    """My log has no entry that fits before your entries."""

    term: SomeTerm
    index: SomeIndex
    """The `previous_index` that was refused."""
    hint_index: SomeIndex
    """The largest index at which the logs may agree."""
    hint_term: SomeTerm
    """The term of my entry at `hint_index`; zero if I do not know it."""


class StaleTerm(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=8):
    """You act as a leader of an old term; mine is `term`."""

    term: SomeTerm


class Heartbeat(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=9):
    """I still lead."""

    term: SomeTerm
    commit: SomeIndex
    """Never beyond what the receiver is known to have."""
    round: AtLeastZero = 0
    """The newest round of reads that waits for a quorum; zero for none (thesis, 6.4)."""


class HeartbeatAnswer(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=10):
    """I still follow; `round` is that of the heartbeat."""

    term: SomeTerm
    round: AtLeastZero = 0


class SnapshotOffer(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=11):
    """What you lack is no longer in my log; take the state at `meta` (Raft paper, section 7)."""

    term: SomeTerm
    meta: SnapshotMeta


class TimeoutNow(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=12):
    """Stand for election at once: I hand over to you (thesis, 3.10)."""

    term: SomeTerm


class ReadRequest(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=13):
    """A follower asks the leader for a linearizable read point."""

    context: bytes


class ReadAnswer(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=14):
    """The read named by `context` may be served once `index` is applied."""

    term: SomeTerm
    index: SomeIndex
    context: bytes


class TransferRequest(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=15):
    """A follower asks the leader to hand over to `target`."""

    target: SomePeer


class ForwardedProposal(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=16):
    """A follower passes proposals on to the leader; only where forwarding is switched on."""

    kind: EntryKind
    data: tuple[bytes, ...]


Message = (
    PreVoteRequest
    | PreVoteAnswer
    | VoteRequest
    | VoteAnswer
    | Append
    | AppendAccepted
    | AppendRejected
    | StaleTerm
    | Heartbeat
    | HeartbeatAnswer
    | SnapshotOffer
    | TimeoutNow
    | ReadRequest
    | ReadAnswer
    | TransferRequest
    | ForwardedProposal
)
"""Everything that one member says to another."""
