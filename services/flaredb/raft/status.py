"""What can be seen of a member from outside, and whether it may sleep."""

from collections.abc import Container

import msgspec

from flaredb.raft.core import Core
from flaredb.raft.progress import REPLICATE, Progress, ProgressState
from flaredb.raft.roles import FOLLOWER, LEADER, Role
from flaredb_schemas.ids import NO_PEER, Index, PeerId, Term
from flaredb_schemas.raft import Configuration


class ProgressStatus(msgspec.Struct, frozen=True):
    """What a leader believes of one member."""

    match: Index
    next: Index
    state: ProgressState
    recent_active: bool
    paused: bool
    pending_snapshot: Index
    inflight_messages: int
    inflight_full: bool
    is_learner: bool


class Status(msgspec.Struct, frozen=True):
    """A member at one moment. Progress is empty unless it leads."""

    peer: PeerId
    role: Role
    term: Term
    vote: PeerId
    leader: PeerId
    commit: Index
    applied: Index
    saved: Index
    first: Index
    last: Index
    configuration: Configuration
    transfer_target: PeerId
    pending_change: Index
    """A membership change may stand in the log up to here."""
    uncommitted_bytes: int
    election_elapsed: int
    progress: dict[PeerId, ProgressStatus]


def status_of(core: Core) -> Status:
    """Everything about one member."""
    log = core.log
    return Status(
        peer=core.peer,
        role=core.role,
        term=core.term,
        vote=core.vote,
        leader=core.leader,
        commit=log.commit,
        applied=log.applied,
        saved=log.saved,
        first=log.first_index(),
        last=log.tail.last,
        configuration=core.configuration,
        transfer_target=core.transfer_target,
        pending_change=core.pending_change,
        uncommitted_bytes=core.uncommitted_bytes,
        election_elapsed=core.election_elapsed,
        progress={peer: _progress(core, peer, item) for peer, item in core.progress.items()},
    )


def is_quiet(core: Core, but_for: Container[PeerId]) -> bool:
    """Whether nothing is under way: all saved, committed, applied, told, and answered."""
    log = core.log
    last = log.tail.last
    if core.leader == NO_PEER or not (last == log.saved == log.commit == log.applied):
        return False
    if log.snapshot or core.send_now or core.send_after_save or core.read_states:
        return False
    if core.role is not LEADER:
        return core.role is FOLLOWER
    if core.reads or core.transfer_target != NO_PEER or core.configuration.auto_leave:
        return False
    return all(
        _has_everything(item, last)
        for peer, item in core.progress.items()
        if peer != core.peer and peer not in but_for
    )


def _has_everything(progress: Progress, last: Index) -> bool:
    return progress.state is REPLICATE and progress.match == last and progress.sent_commit == last


def _progress(core: Core, peer: PeerId, progress: Progress) -> ProgressStatus:
    return ProgressStatus(
        match=progress.match,
        next=progress.next,
        state=progress.state,
        recent_active=progress.recent_active,
        paused=progress.holds_back(),
        pending_snapshot=progress.pending_snapshot,
        inflight_messages=len(progress.inflights),
        inflight_full=progress.inflights.full(),
        is_learner=peer in core.configuration.learners,
    )
