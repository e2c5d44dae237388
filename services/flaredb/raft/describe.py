"""One line of text for anything in raft, stable enough to test against.

No memory addresses, no repr; peers in order; log positions as `term/index`.
"""

from collections.abc import Iterable, Sequence
from typing import assert_never

from flaredb.raft.proposals import Forwarded, Proposed
from flaredb.raft.ready import LeadershipChange, ReadState, Ready, Send
from flaredb.raft.refusals import (
    ChangeInvalid,
    ChangePending,
    ChangeRefusal,
    LeaderRemoved,
    LeaderTransferring,
    NotEligible,
    NotLeader,
    StepRefusal,
    UncommittedFull,
    UnknownPeer,
)
from flaredb.raft.status import ProgressStatus, Status
from flaredb_schemas.ids import PeerId
from flaredb_schemas.raft import (
    Append,
    AppendAccepted,
    AppendRejected,
    ChangeKind,
    ChangeStep,
    ConfChange,
    Configuration,
    Entry,
    EntryKind,
    ForwardedProposal,
    HardState,
    Heartbeat,
    HeartbeatAnswer,
    Message,
    PreVoteAnswer,
    PreVoteRequest,
    ReadAnswer,
    ReadRequest,
    SnapshotMeta,
    SnapshotOffer,
    StaleTerm,
    TimeoutNow,
    TransferRequest,
    Transition,
    VoteAnswer,
    VoteRequest,
    decode_change,
)

_STEP_LETTERS = {
    ChangeKind.ADD_VOTER: "v",
    ChangeKind.ADD_LEARNER: "l",
    ChangeKind.REMOVE: "r",
    ChangeKind.UPDATE: "u",
}


def describe_message(message: Message) -> str:
    """What is said, in the order of the protocol's words."""
    match message:
        case PreVoteRequest():
            return f"pre-vote? term={message.term} {_last(message)}"
        case PreVoteAnswer(term=term, granted=granted):
            return f"pre-vote {_yes(granted)} term={term}"
        case VoteRequest(transfer=transfer):
            wish = " transfer" if transfer else ""
            return f"vote? term={message.term} {_last(message)}{wish}"
        case VoteAnswer(term=term, granted=granted):
            return f"vote {_yes(granted)} term={term}"
        case Append():
            return _append(message)
        case AppendAccepted(term=term, index=index):
            return f"accepted term={term} index={index}"
        case AppendRejected(term=term, index=index):
            hint = f"{message.hint_term}/{message.hint_index}"
            return f"rejected term={term} index={index} hint={hint}"
        case StaleTerm(term=term):
            return f"stale-term term={term}"
        case Heartbeat(term=term, commit=commit, round=number):
            return f"heartbeat term={term} commit={commit}{_round(number)}"
        case HeartbeatAnswer(term=term, round=number):
            return f"heartbeat-answer term={term}{_round(number)}"
        case SnapshotOffer(term=term, meta=meta):
            return f"snapshot? term={term} {describe_snapshot(meta)}"
        case TimeoutNow(term=term):
            return f"timeout-now term={term}"
        case ReadRequest(context=context):
            return f"read? {_data(context)}"
        case ReadAnswer(term=term, index=index, context=context):
            return f"read-answer term={term} index={index} {_data(context)}"
        case TransferRequest(target=target):
            return f"transfer? to={target}"
        case ForwardedProposal(kind=kind, data=data):
            return f"forwarded {kind.name.lower()} {' '.join(map(_data, data))}"
        case unknown:
            assert_never(unknown)


def describe_send(sender: PeerId, send: Send) -> str:
    """A message with its ends, and whether it looks for the place where the logs meet."""
    probing = " probing" if send.probing else ""
    return f"{sender}->{send.to} {describe_message(send.message)}{probing}"


def describe_entry(entry: Entry) -> str:
    """`term/index` and the data, or the change."""
    where = f"{entry.term}/{entry.index}"
    if entry.kind is EntryKind.NORMAL:
        return f"{where} {_data(entry.data)}"
    return f"{where} change {describe_change(decode_change(entry.data))}"


def describe_change(change: ConfChange) -> str:
    """`v1 l2 r3 u4`, and how it passes from old to new if not by itself."""
    if change.leaves_joint:
        return "leave"
    way = "" if change.transition is Transition.AUTO else f" {change.transition.name.lower()}"
    return f"{describe_steps(change.steps)}{way}".strip()


def describe_steps(steps: Sequence[ChangeStep]) -> str:
    """`v1 l2 r3 u4`: a voter, a learner, a removal, an update."""
    return " ".join(f"{_STEP_LETTERS[step.kind]}{step.peer}" for step in steps)


def describe_hard_state(state: HardState) -> str:
    """`term= vote= commit=`."""
    return f"term={state.term} vote={state.vote} commit={state.commit}"


def describe_configuration(configuration: Configuration) -> str:
    """`voters=(1 2)&(1) learners=(3) learners-next=(4) auto-leave`."""
    text = f"voters={_peers(configuration.voters)}"
    if configuration.voters_outgoing:
        text += f"&{_peers(configuration.voters_outgoing)}"
    if configuration.learners:
        text += f" learners={_peers(configuration.learners)}"
    if configuration.learners_next:
        text += f" learners-next={_peers(configuration.learners_next)}"
    return text + (" auto-leave" if configuration.auto_leave else "")


def describe_snapshot(meta: SnapshotMeta) -> str:
    """`at term/index`, and who belongs to the group there."""
    return f"at {meta.term}/{meta.index} {describe_configuration(meta.configuration)}"


def describe_leadership(change: LeadershipChange) -> str:
    """`role term= leader=`."""
    role = change.role.name.lower().replace("_", "-")
    return f"{role} term={change.term} leader={change.leader}"


def describe_read_state(read: ReadState) -> str:
    """`index= context`."""
    return f"index={read.index} {_data(read.context)}"


def describe_ready(sender: PeerId, ready: Ready) -> str:
    """Everything that is owed, in the order in which the host deals with it."""
    parts = [f"ready {ready.number}"]
    if ready.change:
        parts.append(describe_leadership(ready.change))
    parts += _section("now", (describe_send(sender, send) for send in ready.send_now))
    if ready.hard_state:
        parts.append(f"save {describe_hard_state(ready.hard_state)}")
    if ready.snapshot:
        kept = " keeping what follows" if ready.keeps_suffix else ""
        parts.append(f"save snapshot {describe_snapshot(ready.snapshot)}{kept}")
    parts += _section("save", map(describe_entry, ready.entries))
    parts += _section("then", (describe_send(sender, send) for send in ready.send_after_save))
    parts += _section("apply", map(describe_entry, ready.apply))
    parts += _section("read", map(describe_read_state, ready.read_states))
    return "; ".join(parts)


def describe_progress(peer: PeerId, progress: ProgressStatus) -> str:
    """What a leader believes of one member."""
    parts = [f"{peer}: {progress.state.value} match={progress.match} next={progress.next}"]
    if progress.is_learner:
        parts.append("learner")
    if progress.paused:
        parts.append("paused")
    if progress.pending_snapshot:
        parts.append(f"snapshot={progress.pending_snapshot}")
    if not progress.recent_active:
        parts.append("silent")
    if progress.inflight_messages:
        full = " full" if progress.inflight_full else ""
        parts.append(f"inflight={progress.inflight_messages}{full}")
    return " ".join(parts)


def describe_status(status: Status) -> str:
    """A member in one line, without its progress."""
    role = status.role.name.lower().replace("_", "-")
    return (
        f"{status.peer}: {role} term={status.term} vote={status.vote} leader={status.leader} "
        f"log={status.first}..{status.last} saved={status.saved} commit={status.commit} "
        f"applied={status.applied} {describe_configuration(status.configuration)}"
    )


def describe_outcome(outcome: Proposed | Forwarded | ChangeRefusal | StepRefusal | None) -> str:
    """What came of a wish."""
    match outcome:
        case None:
            return "ok"
        case Proposed(first_index=index, term=term):
            return f"proposed at {term}/{index}"
        case Forwarded(leader=leader):
            return f"forwarded to {leader}"
        case NotLeader(leader=leader):
            return f"refused: not leader, leader={leader}"
        case LeaderTransferring(target=target):
            return f"refused: leadership goes to {target}"
        case LeaderRemoved():
            return "refused: this leader is removed"
        case UncommittedFull(uncommitted_bytes=size, limit=limit):
            return f"refused: {size} of {limit} bytes uncommitted"
        case ChangePending(index=index, applied=applied):
            return f"refused: change pending up to {index}, applied={applied}"
        case ChangeInvalid(fault=fault):
            return f"refused: {fault.value}"
        case UnknownPeer(peer=peer):
            return f"refused: {peer} is unknown"
        case NotEligible(peer=peer):
            return f"refused: {peer} may not lead now"
        case unknown:
            assert_never(unknown)


def _append(message: Append) -> str:
    text = (
        f"append term={message.term} after={message.previous_term}/{message.previous_index} "
        f"commit={message.commit}"
    )
    if message.entries:
        text += f" [{', '.join(map(describe_entry, message.entries))}]"
    return text


def _last(request: PreVoteRequest | VoteRequest) -> str:
    return f"last={request.last_term}/{request.last_index}"


def _yes(granted: bool) -> str:
    return "granted" if granted else "refused"


def _round(number: int) -> str:
    return f" round={number}" if number else ""


def _data(data: bytes) -> str:
    """The bytes as ASCII text, with escapes, in quotes."""
    return '"' + ascii(data.decode("latin-1"))[1:-1] + '"'


def _peers(peers: Sequence[PeerId]) -> str:
    return f"({' '.join(map(str, peers))})"


def _section(name: str, lines: Iterable[str]) -> list[str]:
    return [f"{name} {line}" for line in lines]
