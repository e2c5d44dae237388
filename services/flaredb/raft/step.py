"""The protocol as a table: what each role does with each message.

Before the table stand the rules that hold for every role: an answer from a stranger is refused, a
higher term is entered, a lower one is answered or dropped (Raft paper, 5.1).
"""

from collections.abc import Callable
from typing import Any, Final, get_args

import msgspec

from flaredb.raft import election, following, proposals, reading, replication, transfer
from flaredb.raft.core import Core
from flaredb.raft.refusals import StepRefusal, UnknownPeer
from flaredb.raft.roles import Role
from flaredb_schemas.ids import NO_PEER, PeerId
from flaredb_schemas.raft import (
    Append,
    AppendAccepted,
    AppendRejected,
    ForwardedProposal,
    Heartbeat,
    HeartbeatAnswer,
    Message,
    PreVoteAnswer,
    PreVoteRequest,
    ReadAnswer,
    ReadRequest,
    SnapshotOffer,
    StaleTerm,
    TimeoutNow,
    TransferRequest,
    VoteAnswer,
    VoteRequest,
)


class Ignored(msgspec.Struct, frozen=True):
    """A cell in which nothing happens, and why that is right."""

    reason: str

    def __call__(self, core: Core, sender: PeerId, message: Message) -> None:
        """Do nothing."""


Handler = Callable[[Core, PeerId, Any], StepRefusal | None]
"""Each handler takes the one message type of its row."""

NOT_LEADING: Final = Ignored("only a leader acts on it; the sender will learn who leads")
NOT_STANDING: Final = Ignored("the election that it answers is decided")
ONE_LEADER: Final = Ignored("only the leader of a term sends it, and that is this member")
OTHER_ROUND: Final = Ignored("it answers the other of the two questions")
UNDECIDED: Final = Ignored("this member stands for election already")
NO_READS: Final = Ignored("no read is under way here; it was asked for in another role")

TABLE: Final[dict[Role, dict[type[Message], Handler | Ignored]]] = {
    Role.FOLLOWER: {
        PreVoteRequest: election.handle_pre_vote_request,
        PreVoteAnswer: NOT_STANDING,
        VoteRequest: election.handle_vote_request,
        VoteAnswer: NOT_STANDING,
        Append: following.handle_append,
        AppendAccepted: NOT_LEADING,
        AppendRejected: NOT_LEADING,
        StaleTerm: NOT_LEADING,
        Heartbeat: following.handle_heartbeat,
        HeartbeatAnswer: NOT_LEADING,
        SnapshotOffer: following.handle_snapshot_offer,
        TimeoutNow: election.handle_timeout_now,
        ReadRequest: NOT_LEADING,
        ReadAnswer: reading.handle_read_answer,
        TransferRequest: NOT_LEADING,
        ForwardedProposal: proposals.handle_forwarded,
    },
    Role.PRE_CANDIDATE: {
        PreVoteRequest: election.handle_pre_vote_request,
        PreVoteAnswer: election.handle_pre_vote_answer,
        VoteRequest: election.handle_vote_request,
        VoteAnswer: OTHER_ROUND,
        Append: following.append_as_candidate,
        AppendAccepted: NOT_LEADING,
        AppendRejected: NOT_LEADING,
        StaleTerm: NOT_LEADING,
        Heartbeat: following.heartbeat_as_candidate,
        HeartbeatAnswer: NOT_LEADING,
        SnapshotOffer: following.snapshot_offer_as_candidate,
        TimeoutNow: UNDECIDED,
        ReadRequest: NOT_LEADING,
        ReadAnswer: NO_READS,
        TransferRequest: NOT_LEADING,
        ForwardedProposal: proposals.handle_forwarded,
    },
    Role.CANDIDATE: {
        PreVoteRequest: election.handle_pre_vote_request,
        PreVoteAnswer: OTHER_ROUND,
        VoteRequest: election.handle_vote_request,
        VoteAnswer: election.handle_vote_answer,
        Append: following.append_as_candidate,
        AppendAccepted: NOT_LEADING,
        AppendRejected: NOT_LEADING,
        StaleTerm: NOT_LEADING,
        Heartbeat: following.heartbeat_as_candidate,
        HeartbeatAnswer: NOT_LEADING,
        SnapshotOffer: following.snapshot_offer_as_candidate,
        TimeoutNow: UNDECIDED,
        ReadRequest: NOT_LEADING,
        ReadAnswer: NO_READS,
        TransferRequest: NOT_LEADING,
        ForwardedProposal: proposals.handle_forwarded,
    },
    Role.LEADER: {
        PreVoteRequest: election.handle_pre_vote_request,
        PreVoteAnswer: NOT_STANDING,
        VoteRequest: election.handle_vote_request,
        VoteAnswer: NOT_STANDING,
        Append: ONE_LEADER,
        AppendAccepted: replication.handle_append_accepted,
        AppendRejected: replication.handle_append_rejected,
        StaleTerm: replication.handle_stale_term,
        Heartbeat: ONE_LEADER,
        HeartbeatAnswer: reading.handle_heartbeat_answer,
        SnapshotOffer: ONE_LEADER,
        TimeoutNow: ONE_LEADER,
        ReadRequest: reading.handle_read_request,
        ReadAnswer: NO_READS,
        TransferRequest: transfer.handle_transfer_request,
        ForwardedProposal: proposals.handle_forwarded,
    },
}

ANSWERS: Final[frozenset[type[Message]]] = frozenset(
    {
        PreVoteAnswer,
        VoteAnswer,
        AppendAccepted,
        AppendRejected,
        StaleTerm,
        HeartbeatAnswer,
        ReadAnswer,
    }
)
WITHOUT_TERM: Final[frozenset[type[Message]]] = frozenset(
    {ReadRequest, TransferRequest, ForwardedProposal}
)
FROM_LEADER: Final[frozenset[type[Message]]] = frozenset({Append, Heartbeat, SnapshotOffer})

_ROWS: Final = tuple(TABLE[role] for role in Role)

assert all(set(row) == set(get_args(Message)) for row in _ROWS), "a cell of the table is empty"


def step(core: Core, sender: PeerId, message: Message) -> StepRefusal | None:
    """One message from another member."""
    kind = type(message)
    if kind in ANSWERS and sender not in core.members:
        return UnknownPeer(sender)
    if kind not in WITHOUT_TERM:
        term = message.term  # type: ignore[union-attr]  # the kinds without one are excluded
        if term != core.term and not _enters(core, sender, message, kind):
            return None
    return _ROWS[core.role][kind](core, sender, message)


def _enters(core: Core, sender: PeerId, message: Any, kind: type[Message]) -> bool:
    """Settle that the message is of another term; whether it is still to be handled."""
    if message.term < core.term:
        _answer_old(core, sender, kind)
        return False
    if kind is PreVoteRequest or kind is VoteRequest:
        if core.in_lease and not (kind is VoteRequest and message.transfer):
            # A leader lives. A member that was cut off, or removed, must not unseat it.
            return False
        if kind is PreVoteRequest:
            return True
    elif kind is PreVoteAnswer and message.granted:
        # It names the term that this member would enter, once enough others agree.
        return True
    core.become_follower(message.term, sender if kind in FROM_LEADER else NO_PEER)
    return True


def _answer_old(core: Core, sender: PeerId, kind: type[Message]) -> None:
    """What an old term deserves: mostly nothing.

    A leader that is told of a newer term steps down. Without pre-vote and check-quorum the member
    with that term would soon stand for election and tell everyone; with them nobody listens to
    it, so it must answer, or it could never rejoin. Likewise a pre-candidate of an old term.
    """
    if kind is Append or kind is Heartbeat:
        if core.config.check_quorum or core.config.pre_vote:
            core.send(sender, StaleTerm(core.term))
    elif kind is PreVoteRequest:
        core.send(sender, PreVoteAnswer(core.term, False))
