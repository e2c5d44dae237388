"""Deliberate bugs in Raft: elections, saving, committing, overwriting, reading."""

from collections.abc import Sequence
from typing import Any

import msgspec

from flaredb.disk.disk import Batch
from flaredb.raft import core, election, following, quorum, reading, step
from flaredb.raft.core import Core
from flaredb.raft.log import Log
from flaredb.raft.ready import Ready
from flaredb.store.log import ReplicaLog
from flaredb.store.reads import ReadQueue
from flaredb.store.replica import Replica
from flaredb.store.saving import Saver
from flaredb_schemas.ids import Index, PeerId, Term
from flaredb_schemas.raft import (
    Append,
    AppendAccepted,
    Entry,
    EntryKind,
    VoteAnswer,
    VoteRequest,
)
from flaredb_schemas.regions import FIRST_INDEX
from tests.simulator.bugs import Change, bug


def _handled(kind: type[Any], handler: Any) -> list[Change]:
    """Every role treats messages of `kind` with `handler`."""
    rows = tuple({**row, kind: handler} for row in step._ROWS)
    return [(step, "_ROWS", rows)]


def _followed(handler: Any) -> list[Change]:
    """Followers treat appends with `handler`."""
    rows = tuple(
        {**row, Append: handler} if row[Append] is following.handle_append else row
        for row in step._ROWS
    )
    return [(step, "_ROWS", rows)]


@bug("vote-twice", "a member votes for whoever asks, however often in a term")
def vote_twice() -> list[Change]:
    def handle(node: Core, sender: PeerId, message: VoteRequest) -> None:
        granted = node.log.is_up_to_date(message.last_index, message.last_term)
        if granted:
            node.vote = sender
        node.send(sender, VoteAnswer(node.term, granted))

    return _handled(VoteRequest, handle)


@bug("vote-request-before-save", "a candidate asks, and counts itself, before its vote is saved")
def vote_request_before_save() -> list[Change]:
    ask = election._ask_for_votes

    def ask_and_count(node: Core, transfer: bool) -> None:
        ask(node, transfer)
        node.send_now += node.send_after_save
        node.send_after_save = []
        election.count_own_vote(node)

    return [(election, "_ask_for_votes", ask_and_count)]


@bug("leader-counts-itself-early", "a leader counts itself before its own save")
def leader_counts_itself_early() -> list[Change]:
    append = Core.append_own

    def append_and_count(node: Core, kind: EntryKind, data: Sequence[bytes]) -> bool:
        done = append(node, kind, data)
        own = node.progress.get(node.peer)
        if done and own is not None:
            own.accept(node.log.tail.last)
        return done

    return [(Core, "append_own", append_and_count)]


@bug("acknowledge-before-save", "a follower acknowledges an append before it is saved")
def acknowledge_before_save() -> list[Change]:
    return [(core, "RELEASED_AT_ONCE", core.RELEASED_AT_ONCE | {AppendAccepted})]


@bug("old-term-commit", "a leader commits entries of older terms by counting (figure 8)")
def old_term_commit() -> list[Change]:
    def commit(node: Core) -> bool:
        matches = [node.progress[peer].match for peer in node.configuration.voters]
        return node.log.commit_to(Index(quorum.majority_index(matches)))

    return [(Core, "commit_by_quorum", commit)]


@bug("tail-not-cut", "what is overwritten stays on disk behind the new end of the log")
def tail_not_cut() -> list[Change]:
    write = ReplicaLog.write

    def write_only(self: ReplicaLog, batch: Batch, entries: Sequence[Entry]) -> None:
        self._written = Index(entries[0].index - 1)
        write(self, batch, entries)

    return [(ReplicaLog, "write", write_only)]


@bug("applied-without-commit", "a follower takes whatever it gets for committed")
def applied_without_commit() -> list[Change]:
    handle = following.handle_append

    def handle_and_commit(node: Core, sender: PeerId, message: Append) -> None:
        handle(node, sender, message)
        if message.entries and node.log.has(message.entries[-1].index, message.entries[-1].term):
            node.log.commit_to(message.entries[-1].index)

    return _followed(handle_and_commit)


@bug("committed-entries-cut", "a follower cuts its log back to what any append holds")
def committed_entries_cut() -> list[Change]:
    def merge(self: Log, previous: Index, term: Term, entries: Sequence[Entry]) -> Index | None:
        if not self.has(previous, term):
            return None
        if entries:
            if entries[0].index <= self.tail.last:
                self.commit = min(self.commit, Index(entries[0].index - 1))
                self._cut_from(entries[0].index)
            self.tail.extend(entries)
        return Index(previous + len(entries))

    def handle(node: Core, sender: PeerId, message: Append) -> None:
        following.follow(node, sender)
        last = node.log.merge(message.previous_index, message.previous_term, message.entries)
        if last is None:
            following._reject(node, sender, message)
            return
        node.log.commit_to(min(message.commit, last))
        node.send(sender, AppendAccepted(node.term, last))

    return [(Log, "merge", merge), *_followed(handle)]


@bug("empty-replica-up-to-date", "a log without entries counts as up to date in elections")
def empty_replica_up_to_date() -> list[Change]:
    real = Log.is_up_to_date

    def is_up_to_date(self: Log, index: Index, term: Term) -> bool:
        return index == FIRST_INDEX or real(self, index, term)

    return [(Log, "is_up_to_date", is_up_to_date)]


@bug("read-without-round", "a leader serves reads without asking whether it still leads")
def read_without_round() -> list[Change]:
    def open_round(node: Core) -> None:
        reads = node.reads
        if reads is None or not reads.waiting or node.log.commit < node.term_start:
            return
        waiting, reads.waiting = reads.waiting, []
        for read in waiting:
            reading._release(node, read, node.log.commit)

    return [(reading, "open_round", open_round)]


@bug("read-joins-sent-round", "a read joins a round that was sent before the read came")
def read_joins_sent_round() -> list[Change]:
    def add(self: ReadQueue[Any], read: Any) -> None:
        (self._under_way if self._context else self._next).append(read)

    return [(ReadQueue, "add", add)]


@bug("read-before-applied", "a confirmed read does not wait until its index is applied")
def read_before_applied() -> list[Change]:
    real = ReadQueue.confirmed

    def confirmed(self: ReadQueue[Any], context: bytes, index: Index) -> None:
        real(self, context, Index(0))

    return [(ReadQueue, "confirmed", confirmed)]


@bug("new-leader-reads-early", "a new leader serves reads before it has committed in its term")
def new_leader_reads_early() -> list[Change]:
    open_round = reading.open_round

    def early(node: Core) -> None:
        start, node.term_start = node.term_start, Index(0)
        try:
            open_round(node)
        finally:
            node.term_start = start

    return [(reading, "open_round", early)]


@bug("hard-state-not-saved", "term and vote are saved only with applied rows")
def hard_state_not_saved() -> list[Change]:
    real = Saver.add

    def add(self: Saver, replica: Replica, ready: Ready, durable: bool) -> None:
        real(self, replica, msgspec.structs.replace(ready, hard_state=None), durable)

    return [(Saver, "add", add)]
