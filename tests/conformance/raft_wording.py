"""Raft's values in the words of etcd's tests: one function per kind of thing.

The core has one type per message; etcd has one type whose fields change their meaning. Here the
former is shown as the latter would be.
"""

import json
from collections.abc import Sequence
from typing import NamedTuple, assert_never

from flaredb.raft.progress import ProgressState
from flaredb.raft.ready import LeadershipChange
from flaredb.raft.roles import Role
from flaredb.raft.status import ProgressStatus
from flaredb_schemas.ids import Index, PeerId, Term
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

V1 = b"v1"
"""The context of a change that was proposed in etcd's first format."""

ROLES = {
    Role.FOLLOWER: "StateFollower",
    Role.PRE_CANDIDATE: "StatePreCandidate",
    Role.CANDIDATE: "StateCandidate",
    Role.LEADER: "StateLeader",
}
STATES = {
    ProgressState.PROBE: "StateProbe",
    ProgressState.REPLICATE: "StateReplicate",
    ProgressState.SNAPSHOT: "StateSnapshot",
}
STEP_LETTERS = {
    "v": ChangeKind.ADD_VOTER,
    "l": ChangeKind.ADD_LEARNER,
    "r": ChangeKind.REMOVE,
    "u": ChangeKind.UPDATE,
}


class Etcd(NamedTuple):
    """A message as etcd has it."""

    kind: str
    term: int = 0
    log_term: int = 0
    log_index: int = 0
    rejected: int | None = None
    commit: int = 0
    vote: int = 0
    entries: Sequence[Entry] = ()
    snapshot: SnapshotMeta | None = None


def translated(message: Message) -> Etcd:
    """What etcd would send in its place."""
    match message:
        case PreVoteRequest(term=term, last_index=index, last_term=last_term):
            return Etcd("MsgPreVote", term, last_term, index)
        case VoteRequest(term=term, last_index=index, last_term=last_term):
            return Etcd("MsgVote", term, last_term, index)
        case PreVoteAnswer(term=term, granted=granted):
            return Etcd("MsgPreVoteResp", term, rejected=None if granted else 0)
        case VoteAnswer(term=term, granted=granted):
            return Etcd("MsgVoteResp", term, rejected=None if granted else 0)
        case Append(term=term, previous_index=index, previous_term=previous):
            return Etcd(
                "MsgApp", term, previous, index, commit=message.commit, entries=message.entries
            )
        case AppendAccepted(term=term, index=index):
            return Etcd("MsgAppResp", term, 0, index)
        case AppendRejected(term=term, index=index):
            return Etcd("MsgAppResp", term, message.hint_term, index, message.hint_index)
        case StaleTerm(term=term):
            return Etcd("MsgAppResp", term)
        case Heartbeat(term=term, commit=commit):
            return Etcd("MsgHeartbeat", term, commit=commit)
        case HeartbeatAnswer(term=term):
            return Etcd("MsgHeartbeatResp", term)
        case SnapshotOffer(term=term, meta=meta):
            return Etcd("MsgSnap", term, snapshot=meta)
        case TimeoutNow(term=term):
            return Etcd("MsgTimeoutNow", term)
        case ReadRequest():
            return Etcd("MsgReadIndex")
        case ReadAnswer(term=term, index=index):
            return Etcd("MsgReadIndexResp", term, 0, index)
        case TransferRequest():
            return Etcd("MsgTransferLeader")
        case ForwardedProposal(kind=kind, data=data):
            entries = [Entry(Index(0), Term(0), kind, item) for item in data]
            return Etcd("MsgProp", entries=entries)
        case unknown:
            assert_never(unknown)


def message_text(sender: str, to: str, message: Etcd, indent: str = "") -> str:
    """One message, on one line unless it carries several entries or a snapshot."""
    text = (
        f"{indent}{sender}->{to} {message.kind} "
        f"Term:{message.term} Log:{message.log_term}/{message.log_index}"
    )
    if message.rejected is not None:
        text += f" Rejected (Hint: {message.rejected})"
    if message.commit:
        text += f" Commit:{message.commit}"
    if message.vote:
        text += f" Vote:{message.vote}"
    if len(message.entries) == 1:
        text += f" Entries:[{entry_text(message.entries[0])}]"
    elif message.entries:
        inner = "".join(f"\n{indent}  {entry_text(entry)}" for entry in message.entries)
        text += f" Entries:[{inner}\n{indent}]"
    if message.snapshot is not None:
        text += f"\n{indent}  Snapshot: {snapshot_text(message.snapshot)}"
    return text


def entry_text(entry: Entry) -> str:
    """`term/index kind data`."""
    where = f"{entry.term}/{entry.index}"
    if entry.kind is EntryKind.NORMAL:
        return f"{where} EntryNormal {json.dumps(entry.data.decode())}"
    change = decode_change(entry.data)
    kind = "EntryConfChange" if change.context == V1 else "EntryConfChangeV2"
    return f"{where} {kind} {steps_text(change.steps)}".rstrip()


def steps_text(steps: Sequence[ChangeStep]) -> str:
    """`v1 l2 r3 u4`."""
    letters = {kind: letter for letter, kind in STEP_LETTERS.items()}
    return " ".join(f"{letters[step.kind]}{step.peer}" for step in steps)


def parsed_steps(text: str) -> tuple[ChangeStep, ...]:
    """The reverse of `steps_text`."""
    return tuple(ChangeStep(STEP_LETTERS[word[0]], PeerId(int(word[1:]))) for word in text.split())


def parsed_change(text: str, transition: str, v1: bool) -> ConfChange:
    """A change as `propose-conf-change` takes it."""
    return ConfChange(parsed_steps(text), Transition[transition.upper()], V1 if v1 else b"")


def hard_state_text(state: HardState) -> str:
    vote = f" Vote:{state.vote}" if state.vote else ""
    return f"Term:{state.term}{vote} Commit:{state.commit}"


def leadership_text(change: LeadershipChange) -> str:
    return f"Lead:{change.leader} State:{ROLES[change.role]}"


def snapshot_text(meta: SnapshotMeta) -> str:
    configuration = meta.configuration
    return (
        f"Index:{meta.index} Term:{meta.term} ConfState:"
        f"Voters:{_list(configuration.voters)} "
        f"VotersOutgoing:{_list(configuration.voters_outgoing)} "
        f"Learners:{_list(configuration.learners)} "
        f"LearnersNext:{_list(configuration.learners_next)} "
        f"AutoLeave:{str(configuration.auto_leave).lower()}"
    )


def configuration_text(configuration: Configuration) -> str:
    """`voters=(1 2)&&(1) learners=(3) learners_next=(4) autoleave`."""
    text = f"voters={_group(configuration.voters)}"
    if configuration.voters_outgoing:
        text += f"&&{_group(configuration.voters_outgoing)}"
    if configuration.learners:
        text += f" learners={_group(configuration.learners)}"
    if configuration.learners_next:
        text += f" learners_next={_group(configuration.learners_next)}"
    return text + (" autoleave" if configuration.auto_leave else "")


def progress_text(peer: PeerId, progress: ProgressStatus) -> str:
    parts = [f"{peer}: {STATES[progress.state]} match={progress.match} next={progress.next}"]
    if progress.is_learner:
        parts.append("learner")
    if progress.paused:
        parts.append("paused")
    if progress.pending_snapshot:
        parts.append(f"pendingSnap={progress.pending_snapshot}")
    if not progress.recent_active:
        parts.append("inactive")
    if progress.inflight_messages:
        full = "[full]" if progress.inflight_full else ""
        parts.append(f"inflight={progress.inflight_messages}{full}")
    return " ".join(parts)


def _list(peers: Sequence[PeerId]) -> str:
    return f"[{' '.join(map(str, peers))}]"


def _group(peers: Sequence[PeerId]) -> str:
    return f"({' '.join(map(str, peers))})"
