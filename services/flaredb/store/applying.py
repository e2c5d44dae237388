"""Commands into the log, and committed entries out of it into the state machine.

Applying shows at once and is saved a little later. A region applies a bounded amount per turn.
While a replica is held (something must read exactly the state as it stands), its entries wait.
"""

import enum
from collections.abc import Callable
from typing import Protocol

from msgspec import Struct

from flaredb.kv.machine import Effects, Executed, Machine
from flaredb.raft.proposals import Forwarded, Proposed
from flaredb.raft.refusals import (
    LeaderRemoved,
    LeaderTransferring,
    ProposalRefusal,
    UncommittedFull,
)
from flaredb.raft.refusals import NotLeader as RaftNotLeader
from flaredb.store.context import Context
from flaredb.store.records import CorruptRecordError
from flaredb.store.replica import MAX_APPLY_BYTES, MAX_APPLY_OPS, Asker, Proposal, Replica
from flaredb_schemas.commands import (
    COMMANDS,
    MAX_CHILDREN,
    Batch,
    Command,
    CommitMerge,
    Merge,
    holds_commit_merge,
)
from flaredb_schemas.envelope import Malformed
from flaredb_schemas.failures import Busy, EpochMismatch, KeyNotInRegion, NotLeader, Refusal
from flaredb_schemas.ids import Index
from flaredb_schemas.raft import Entry, EntryKind
from flaredb_schemas.requests import CheckAnswer, WriteAnswer

OnCheck = Callable[[Replica, Index, int], None]
"""A check of replicas was applied at this index, under this nonce."""

OnSplit = Callable[[Replica, tuple[Machine, ...]], None]
"""A split was applied, which made the regions of these machines."""


class Wait(enum.Enum):
    """What is to be absorbed is not ready for it yet."""

    WAIT = enum.auto()


class MergeHooks(Protocol):
    """What merges need of the store."""

    def source(self, target: Replica, command: CommitMerge) -> Replica | Wait | None:
        """The replica that is to be absorbed; None if the command will have no effect."""

    def applied(self, replica: Replica, command: Merge, effects: Effects) -> None:
        """A step of a merge was applied."""


class PeerHooks(Protocol):
    """What changes of peers need of the store."""

    def apply(self, replica: Replica, entry: Entry) -> None:
        """Apply a membership entry; the replica may be here no more after that."""

    def changed(self, replica: Replica) -> None:
        """A command was applied that changed who has left the region."""


class Hooks(Struct, frozen=True):
    """Who is told of what an entry asks of the store, once its rows can be seen."""

    check: OnCheck
    split: OnSplit
    merges: MergeHooks
    peers: PeerHooks


def propose_command(
    replica: Replica, command: Command, batch: Batch | None = None, asker: Asker | None = None
) -> Refusal | None:
    """Put `command` into the log; `asker` is answered when it is applied."""
    result = replica.node.propose((COMMANDS.encode(command),))
    assert not isinstance(result, Forwarded), "proposals are never forwarded"
    if not isinstance(result, Proposed):
        return _refusal(replica, result)
    replica.proposals[result.first_index] = Proposal(result.term, command, batch, asker)
    return None


def _refusal(replica: Replica, refusal: ProposalRefusal) -> Refusal:
    match refusal:
        case RaftNotLeader() | LeaderTransferring() | LeaderRemoved():
            return NotLeader(replica.route())
        case UncommittedFull():
            return Busy("too much waits to be committed in this region")


def with_leader(context: Context, replica: Replica, refusal: Refusal) -> Refusal:
    """A refusal of the state machine, which knows the region but neither leader nor neighbours.

    Whoever asked by an old epoch is told of the regions behind it as well: they may have been its.
    """
    match refusal:
        case EpochMismatch():
            behind = context.registry.following(replica.id, MAX_CHILDREN)
            return EpochMismatch((replica.route(), *(other.route() for other in behind)))
        case KeyNotInRegion():
            return KeyNotInRegion(refusal.key, replica.route())
        case _:
            return refusal


def apply_entries(context: Context, replica: Replica, hooks: Hooks) -> None:
    """Apply what is committed, within the budget of a turn; one entry is always within it."""
    budget, ops = MAX_APPLY_BYTES, MAX_APPLY_OPS
    applied = False
    while replica.applying and not replica.held and budget > 0 and ops > 0:
        if _waits(replica, replica.applying[0], hooks):
            break
        entry = replica.applying.popleft()
        budget -= len(entry.data) + 64
        ops -= apply_entry(context, replica, entry, hooks)
        applied = True
    if applied and context.registry.current(replica):
        replica.node.applied(replica.machine.state.index)
        replica.log.trim(replica.machine.state.index)
        if replica.applying or replica.node.has_news:
            context.touch(replica.id)


def _waits(replica: Replica, entry: Entry, hooks: Hooks) -> bool:
    """Whether the entry would absorb a region whose replica here is not as far yet."""
    if entry.kind is not EntryKind.NORMAL or not holds_commit_merge(entry.data):
        return False
    command = _decoded(replica, entry)
    assert isinstance(command, CommitMerge), "what it begins with tells what it is"
    return hooks.merges.source(replica, command) is Wait.WAIT


def apply_entry(context: Context, replica: Replica, entry: Entry, hooks: Hooks) -> int:
    """Apply one committed entry: its effects are visible, its asker is answered.

    Returns how many operations it held, or rows it has changed if those are more.
    """
    proposal = _proposal(context, replica, entry)
    context.counters.entries_applied += 1
    if entry.kind is EntryKind.MEMBERSHIP:
        hooks.peers.apply(replica, entry)
        return 1
    command = _command(replica, entry, proposal)
    effects = _effects(context, replica, entry, (command, proposal), hooks)
    context.saver.applied(replica, effects, context.now)
    replica.traffic.written_keys += len(effects.rows)
    replica.traffic.written_bytes += effects.written_bytes
    if proposal is not None:
        _count(context, replica, effects)
    if effects.check is not None:
        hooks.check(replica, entry.index, effects.check)
    if effects.children:
        hooks.split(replica, effects.children)
    if effects.changed_peers:
        hooks.peers.changed(replica)
    if isinstance(command, Merge):
        hooks.merges.applied(replica, command, effects)
    if proposal is not None and proposal.asker is not None:
        _answer(context, replica, proposal.asker, entry.index, effects)
    executed = effects.answer.outcomes if isinstance(effects.answer, Executed) else ()
    return max(len(effects.rows), len(executed))


def _proposal(context: Context, replica: Replica, entry: Entry) -> Proposal | None:
    """What this leader knows of the entry, if it is its own."""
    proposal = replica.proposals.pop(entry.index, None)
    if proposal is None or proposal.term == entry.term:
        return proposal
    # Ours was overwritten by another leader's: it will never be committed.
    if proposal.asker is not None:
        context.answers.refuse(proposal.asker, NotLeader(replica.route()))
    return None


def _count(context: Context, replica: Replica, effects: Effects) -> None:
    """Here, where it was proposed, a write is load; followers only follow."""
    rows, size = effects.rows, effects.written_bytes
    samples = context.load.count(replica.id, len(rows), size) if rows else None
    if samples is not None:
        samples.take(len(rows), size, lambda at: (rows[at][0], rows[at][0]))


def _command(replica: Replica, entry: Entry, proposal: Proposal | None) -> Command | None:
    """What the entry asks for; None where it is only a leader's mark."""
    if not entry.data:
        return None
    return _decoded(replica, entry) if proposal is None else proposal.command


def _decoded(replica: Replica, entry: Entry) -> Command:
    command = COMMANDS.decode(entry.data)
    if isinstance(command, Malformed):
        raise CorruptRecordError(f"region {replica.id}, entry {entry.index}: {command.reason}")
    return command


def _effects(
    context: Context,
    replica: Replica,
    entry: Entry,
    what: tuple[Command | None, Proposal | None],
    hooks: Hooks,
) -> Effects:
    command, proposal = what
    machine, index, term = replica.machine, entry.index, entry.term
    if command is None:
        return machine.apply_empty(index, term)
    if isinstance(command, CommitMerge):
        source = hooks.merges.source(replica, command)
        assert source is not Wait.WAIT, "an entry that waits is not applied"
        machine_of_source = source.machine if source is not None else None
        return machine.apply(index, term, command, context.overlay, source=machine_of_source)
    batch = proposal.batch if proposal is not None else None
    return machine.apply(index, term, command, context.overlay, batch)


def _answer(
    context: Context, replica: Replica, asker: Asker, index: Index, effects: Effects
) -> None:
    if effects.check is not None:
        context.answers.add(asker.reply, CheckAnswer(asker.number, index, replica.route()))
    elif isinstance(effects.answer, Executed):
        answer = WriteAnswer(asker.number, effects.answer.time, effects.answer.outcomes)
        context.answers.add(asker.reply, answer)
    else:
        assert effects.answer is not None, "a write has an answer"
        context.answers.refuse(asker, with_leader(context, replica, effects.answer))
