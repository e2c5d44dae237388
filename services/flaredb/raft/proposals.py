"""What goes into the log: data, membership changes, and the end of a joint configuration."""

from collections.abc import Sequence
from typing import assert_never

import msgspec

from flaredb.raft import replication, transfer
from flaredb.raft.core import Core
from flaredb.raft.membership import changed, is_joint
from flaredb.raft.refusals import (
    ChangeFault,
    ChangeInvalid,
    ChangePending,
    ChangeRefusal,
    LeaderRemoved,
    LeaderTransferring,
    NotLeader,
    ProposalRefusal,
    UncommittedFull,
)
from flaredb.raft.roles import FOLLOWER, LEADER
from flaredb_schemas.ids import NO_PEER, Index, PeerId, Term
from flaredb_schemas.raft import (
    ConfChange,
    Configuration,
    EntryKind,
    ForwardedProposal,
    decode_change,
    encode_change,
)


class Proposed(msgspec.Struct, frozen=True, gc=False):
    """The entries stand in this leader's log from `first_index` on, and may still be lost."""

    first_index: Index
    term: Term


class Forwarded(msgspec.Struct, frozen=True, gc=False):
    """The proposal was passed on to `leader`; nothing more will be heard of it."""

    leader: PeerId


def propose(core: Core, data: Sequence[bytes]) -> Proposed | Forwarded | ProposalRefusal:
    """Put one entry per item into the log, in order."""
    assert data, "a proposal of nothing"
    if core.role is not LEADER:
        return _forward(core, EntryKind.NORMAL, data)
    return _append(core, EntryKind.NORMAL, data)


def propose_change(core: Core, change: ConfChange) -> Proposed | Forwarded | ChangeRefusal:
    """Put a membership change into the log, if none is pending and it fits."""
    data = (encode_change(change),)
    if core.role is not LEADER:
        return _forward(core, EntryKind.MEMBERSHIP, data)
    refusal = _refusal_of_change(core, change)
    if refusal is not None:
        return refusal
    proposed = _append(core, EntryKind.MEMBERSHIP, data)
    if isinstance(proposed, Proposed):
        core.pending_change = proposed.first_index
    return proposed


def handle_forwarded(
    core: Core, sender: PeerId, message: ForwardedProposal
) -> ChangeRefusal | None:
    """A follower passes on what it was asked to propose."""
    outcome: Proposed | Forwarded | ChangeRefusal
    match message.kind:
        case EntryKind.NORMAL:
            outcome = propose(core, message.data)
        case EntryKind.MEMBERSHIP:
            outcome = propose_change(core, decode_change(message.data[0]))
        case unknown:
            assert_never(unknown)
    return None if isinstance(outcome, Proposed | Forwarded) else outcome


def apply_change(core: Core, change: ConfChange) -> Configuration:
    """A committed membership change takes effect (thesis, 4.1: here, when it is applied)."""
    configuration = changed(core.configuration, change)
    assert not isinstance(configuration, ChangeFault), f"applied change: {configuration.value}"
    core.switch_members(configuration)
    if core.role is not LEADER:
        return configuration
    if core.peer not in core.members or core.is_learner:
        if core.config.step_down_on_removal:
            core.become_follower(core.term, NO_PEER)
        return configuration
    if not replication.advance_commit(core):
        for peer, progress in core.progress.items():
            if peer != core.peer:
                replication.send_append(core, peer, progress, even_if_empty=False)
    transfer.abort_if_ineligible(core)
    return configuration


def leave_joint_if_due(core: Core) -> None:
    """End a joint configuration that ends by itself, once the change into it is applied.

    During a transfer this is refused, and tried again at the next apply.
    """
    if (
        core.configuration.auto_leave
        and core.role is LEADER
        and core.log.applied >= core.pending_change
    ):
        propose_change(core, ConfChange())


def _append(core: Core, kind: EntryKind, data: Sequence[bytes]) -> Proposed | ProposalRefusal:
    if core.peer not in core.members:
        return LeaderRemoved()
    if core.transfer_target != NO_PEER:
        return LeaderTransferring(core.transfer_target)
    first = Index(core.log.tail.last + 1)
    if not core.append_own(kind, data):
        return UncommittedFull(core.uncommitted_bytes, core.config.max_uncommitted_bytes)
    replication.broadcast_append(core)
    return Proposed(first, core.term)


def _forward(core: Core, kind: EntryKind, data: Sequence[bytes]) -> Forwarded | NotLeader:
    follows = core.role is FOLLOWER and core.leader != NO_PEER
    if not (follows and core.config.forward_proposals):
        return NotLeader(core.leader)
    core.send(core.leader, ForwardedProposal(kind, tuple(data)))
    return Forwarded(core.leader)


def _refusal_of_change(core: Core, change: ConfChange) -> ChangePending | ChangeInvalid | None:
    if not core.config.validate_changes:
        return None
    if core.pending_change > core.log.applied:
        return ChangePending(core.pending_change, core.log.applied)
    if is_joint(core.configuration) and not change.leaves_joint:
        return ChangeInvalid(ChangeFault.JOINT_MUST_BE_LEFT)
    outcome = changed(core.configuration, change)
    return ChangeInvalid(outcome) if isinstance(outcome, ChangeFault) else None
