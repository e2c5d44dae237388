"""Campaign, pre-vote, vote, tally (Raft paper, 5.2 and 5.4.1; thesis, 3.10, 4.2.3 and 9.6)."""

from flaredb.raft import quorum, replication
from flaredb.raft.core import Core
from flaredb.raft.membership import all_voters
from flaredb.raft.refusals import NotEligible
from flaredb.raft.roles import LEADER, PRE_CANDIDATE
from flaredb_schemas.ids import NO_PEER, PeerId, Term
from flaredb_schemas.raft import (
    PreVoteAnswer,
    PreVoteRequest,
    TimeoutNow,
    VoteAnswer,
    VoteRequest,
)


def campaign(core: Core, transfer: bool = False) -> NotEligible | None:
    """Stand for election; on a transfer without pre-vote and against leases. A leader stays one."""
    if core.role is LEADER:
        return None
    if not core.is_promotable or core.log.has_unapplied_change():
        return NotEligible(core.peer)
    if core.config.pre_vote and not transfer:
        _ask_first(core)
    else:
        _ask_for_votes(core, transfer)
    return None


def handle_timeout_now(core: Core, sender: PeerId, message: TimeoutNow) -> None:
    """The leader hands over to this member."""
    campaign(core, transfer=True)


def handle_vote_request(core: Core, sender: PeerId, message: VoteRequest) -> None:
    """One vote in a term, first come first served, for a log at least as new as this one."""
    free = core.vote == NO_PEER and core.leader == NO_PEER
    granted = (free or core.vote == sender) and core.log.is_up_to_date(
        message.last_index, message.last_term
    )
    if granted:
        core.election_elapsed = 0
        core.vote = sender
    core.send(sender, VoteAnswer(core.term, granted))


def handle_pre_vote_request(core: Core, sender: PeerId, message: PreVoteRequest) -> None:
    """Would this member vote so? Nothing changes by the answer."""
    free = core.vote == NO_PEER and core.leader == NO_PEER
    granted = (message.term > core.term or free or core.vote == sender) and core.log.is_up_to_date(
        message.last_index, message.last_term
    )
    # A granted answer names the term that was asked for, else the asker would ignore it as old.
    core.send(sender, PreVoteAnswer(message.term if granted else core.term, granted))


def handle_vote_answer(core: Core, sender: PeerId, message: VoteAnswer) -> None:
    """A vote in this candidate's term."""
    count_vote(core, sender, message.granted)


def handle_pre_vote_answer(core: Core, sender: PeerId, message: PreVoteAnswer) -> None:
    """A promise to this pre-candidate, or a refusal."""
    count_vote(core, sender, message.granted)


def count_vote(core: Core, voter: PeerId, granted: bool) -> None:
    """Take the first answer of each voter, and act once the election is decided."""
    core.votes.setdefault(voter, granted)
    configuration = core.configuration
    match quorum.joint_vote(configuration.voters, configuration.voters_outgoing, core.votes):
        case quorum.Vote.WON if core.role is PRE_CANDIDATE:
            _ask_for_votes(core, transfer=False)
        case quorum.Vote.WON:
            core.become_leader()
            replication.broadcast_append(core)
        case quorum.Vote.LOST:
            core.become_follower(core.term, NO_PEER)
        case quorum.Vote.PENDING:
            pass


def count_own_vote(core: Core) -> None:
    """This candidate's vote for itself is saved."""
    core.own_vote_counted = True
    count_vote(core, core.peer, True)


def _ask_first(core: Core) -> None:
    core.become_pre_candidate()
    tail = core.log.tail
    request = PreVoteRequest(Term(core.term + 1), tail.last, tail.last_term)
    for peer in all_voters(core.configuration):
        if peer != core.peer:
            core.send(peer, request)
    count_vote(core, core.peer, True)


def _ask_for_votes(core: Core, transfer: bool) -> None:
    core.become_candidate()
    tail = core.log.tail
    request = VoteRequest(core.term, tail.last, tail.last_term, transfer)
    for peer in all_voters(core.configuration):
        if peer != core.peer:
            core.send(peer, request)
