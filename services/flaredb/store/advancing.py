"""What a touched replica owes the outside: send, save, apply, serve; and what a save lets go.

What may leave before the save and what waits for it is Raft's own division of a Ready: appends,
heartbeats, pre-votes and refusals at once; votes, vote requests and append answers with the commit
of what they rest on. The messages of a replica that was replaced meanwhile are dropped.
"""

from collections.abc import Callable, Sequence
from typing import Final

from flaredb.raft.ready import LeadershipChange, Ready, Send
from flaredb.raft.roles import Role
from flaredb.store.applying import Hooks, apply_entries, propose_command
from flaredb.store.context import Context
from flaredb.store.records import ReplicaState
from flaredb.store.replica import Replica
from flaredb.store.serving import refuse_all, serve_reads
from flaredb_schemas.commands import LeaderStarted
from flaredb_schemas.frames import RaftItem
from flaredb_schemas.ids import NO_STORE, PeerId, StoreId
from flaredb_schemas.raft import Append, PreVoteRequest, SnapshotOffer, VoteRequest

MAX_READYS_PER_TURN: Final = 8
"""A replica that still has work after so many goes on in the next turn."""


class Advancer:
    """Carries out what Raft makes due.

    Invariant: after `advance` and `apply` the replica owes nothing, or is touched again for the
    next turn.
    """

    __slots__ = ("_begin_snapshot", "_context", "_hooks", "_on_change")

    def __init__(
        self,
        context: Context,
        begin_snapshot: Callable[[Replica, PeerId, StoreId], None],
        hooks: Hooks,
        on_change: Callable[[Replica], None],
    ) -> None:
        """`on_change` is told whenever a replica's leadership has changed."""
        self._context = context
        self._begin_snapshot = begin_snapshot
        self._hooks = hooks
        self._on_change = on_change

    def advance(self, replica: Replica, _: None) -> None:
        """Send and gather what Raft makes due; what it commits is applied by `apply`."""
        for _round in range(MAX_READYS_PER_TURN):
            self._begin_read_round(replica)
            ready = replica.node.ready()
            if ready is None:
                break
            self._carry_out(replica, ready)
        else:
            self._context.touch(replica.id)

    def apply(self, replica: Replica, _: None) -> None:
        """Apply what is committed, and serve the reads that waited for it."""
        if replica.state is ReplicaState.LIVE:
            apply_entries(self._context, replica, self._hooks)
        if not self._context.registry.current(replica):
            return  # it has left its region
        serve_reads(self._context, replica)
        self._schedule(replica)

    def acknowledge(self, replica: Replica, ready: Ready) -> None:
        """The batch that holds this Ready of this very replica object is durable."""
        if not self._context.registry.current(replica):
            return
        replica.unsaved -= 1
        if ready.snapshot is not None:
            replica.log.restarted(ready.snapshot, ready.keeps_suffix)
        if ready.entries:
            replica.log.saved(ready.entries)
        replica.node.saved(ready.number)
        self._send(replica, ready.send_after_save)
        self._context.touch(replica.id)

    def _carry_out(self, replica: Replica, ready: Ready) -> None:
        self._send(replica, ready.send_now)
        if ready.change is not None:
            self._leadership_changed(replica, ready.change)
        for state in ready.read_states:
            replica.reads.confirmed(state.context, state.index)
        replica.applying.extend(ready.apply)
        self._save(replica, ready)

    def _save(self, replica: Replica, ready: Ready) -> None:
        ballot = (replica.node.term, replica.node.vote)
        durable = bool(ready.entries or ready.snapshot) or ballot != replica.saved_ballot
        if not durable and not replica.unsaved:
            # All that its messages rest on is saved. A commit index that alone has moved is saved
            # with the applied rows.
            replica.node.saved(ready.number)
            self._send(replica, ready.send_after_save)
            return
        replica.saved_ballot = ballot
        self._context.saver.add(replica, ready, durable)

    def _send(self, replica: Replica, sends: Sequence[Send]) -> None:
        for send in sends:
            self._send_one(replica, send)

    def _send_one(self, replica: Replica, send: Send) -> None:
        to = replica.store_of(send.to)
        if to == NO_STORE:
            return
        message = send.message
        if isinstance(message, SnapshotOffer):
            self._begin_snapshot(replica, send.to, to)
            return
        introduces = send.probing or isinstance(message, VoteRequest | PreVoteRequest)
        item = RaftItem(
            replica.id,
            replica.peer,
            send.to,
            replica.region.epoch,
            message,
            replica.region if introduces else None,
        )
        if isinstance(message, Append) and not message.entries and not send.probing:
            self._context.outgoing.add_commit(to, item, self._context.now)
        else:
            self._context.outgoing.add(to, item)

    def _leadership_changed(self, replica: Replica, change: LeadershipChange) -> None:
        context = self._context
        previous, replica.known_leader = replica.known_leader, change.leader or replica.known_leader
        if change.role is not Role.LEADER:
            refuse_all(context, replica)
            return
        context.counters.elections_won += 1
        self._on_change(replica)
        wall = context.clock.wall()
        propose_command(replica, LeaderStarted(wall, replica.peer, context.me.store, previous))

    def _begin_read_round(self, replica: Replica) -> None:
        if replica.leads and replica.reads.wants_round:
            context = replica.reads.begin(replica.node.term)
            assert context is not None
            replica.node.read_index(context)

    def _schedule(self, replica: Replica) -> None:
        if not replica.asleep and (due := replica.node.due_in()) is not None:
            self._context.wheel.schedule(replica.id, due)
