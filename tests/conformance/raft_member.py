"""One node of etcd's interaction tests: a `RaftNode`, its storage, and its two storage threads.

Without asynchronous writes everything that a Ready owes is done at once. With them it becomes
messages to an append and an apply thread, whose answers come back through the common list.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

from flaredb.raft import Config, MemoryStorage, RaftNode, Ready, Role, Send
from flaredb_schemas.ids import Index, PeerId, Term
from flaredb_schemas.raft import (
    Configuration,
    Entry,
    EntryKind,
    HardState,
    Message,
    PreVoteAnswer,
    SnapshotMeta,
    TransferRequest,
    decode_change,
)
from tests.conformance.raft_wording import (
    Etcd,
    entry_text,
    hard_state_text,
    leadership_text,
    message_text,
    snapshot_text,
    translated,
)

APPEND_THREAD, APPLY_THREAD = "AppendThread", "ApplyThread"
LONGEST = 2
"""What every member draws for its election timeout: of three ticks, the most."""

T = TypeVar("T")


class Flight(NamedTuple):
    """A message on its way, and what its arrival does; that returns an error's text or nothing."""

    sender: str
    to: PeerId
    message: Etcd
    arrive: Callable[[], str]

    @property
    def is_local(self) -> bool:
        return self.sender in (str(self.to), APPEND_THREAD, APPLY_THREAD)

    def text(self, indent: str = "") -> str:
        return message_text(self.sender, str(self.to), self.message, indent)


class Work(NamedTuple):
    """What one storage thread is to do, and the answers that it gives then."""

    message: Etcd
    perform: Callable[[], None]
    answers: list[Flight]


class Member:
    """One node. `post` puts messages on their way to the member named."""

    def __init__(
        self,
        config: Config,
        configuration: Configuration,
        start: Index,
        asynchronous: bool,
        arrive: Callable[[PeerId, PeerId, Message], str],
    ) -> None:
        term = Term(1 if start else 0)
        self.peer = config.peer
        self.storage = MemoryStorage(configuration, start, term)
        self.config = config
        self._jitter = LONGEST
        self.node = RaftNode(config, self.storage, lambda ticks: self._jitter)
        self.append_work: list[Work] = []
        self.apply_work: list[Work] = []
        self._asynchronous = asynchronous
        self._arrive = arrive
        self._history = SnapshotMeta(start, term, configuration)
        self._state = HardState(Term(0), PeerId(0), start)
        self._own_answers: list[Etcd] = []
        self._saved = 0

    def act(self, action: Callable[[], T]) -> T:
        """Do something with the node, and note what etcd's would tell itself about it."""
        node = self.node
        term, last = node.term, node.last_index
        outcome = action()
        if node.role is Role.CANDIDATE and node.term != term:
            self._own_answers.append(Etcd("MsgVoteResp", node.term))
        if node.role is Role.LEADER and node.last_index > last:
            self._own_answers.append(Etcd("MsgAppResp", node.term, 0, node.last_index))
        return outcome

    def set_election_timeout(self, timeout: int) -> None:
        """Until the next change of role or term this member's timeout is as given."""
        elapsed = self.node.status().election_elapsed
        self._jitter = timeout - self.config.election_ticks
        self.node.restart_timers()
        self.node.elapse(elapsed)
        self._jitter = LONGEST

    def process_ready(self) -> tuple[str, list[Flight]] | None:
        """Take a Ready and deal with it; its text, and what it sends. None: nothing to do."""
        ready = self.node.ready()
        if ready is None:
            return None
        own_answers, self._own_answers = self._own_answers, []
        sent = [self._flight(send) for send in ready.send_now if not _late(send)]
        after = [self._flight(send) for send in ready.send_now if _late(send)]
        after += [self._flight(send) for send in ready.send_after_save]
        if not self._asynchronous:
            text = self._text(ready, [flight.text() for flight in sent + after])
            self._settle(ready)
            return text, sent + after
        after += [self._own_flight(answer, ready.number) for answer in own_answers]
        shown = [flight.text() for flight in sent] + self._hand_to_threads(ready, after)
        return self._text(ready, shown), sent

    # Without threads.

    def _settle(self, ready: Ready) -> None:
        self._write(ready.snapshot, ready.entries)
        self._apply(ready.apply)
        self.act(lambda: self.node.saved(ready.number))
        if ready.apply:
            self.act(lambda: self.node.applied(ready.apply[-1].index))

    def _write(self, snapshot: SnapshotMeta | None, entries: Sequence[Entry]) -> None:
        if snapshot is not None:
            self.storage.install(snapshot)
            self.storage.offer_snapshot(self._history)
        if entries:
            self.storage.append(entries)

    def _apply(self, entries: Sequence[Entry]) -> None:
        configuration = self._history.configuration
        for entry in entries:
            if entry.kind is EntryKind.MEMBERSHIP:
                configuration = self.node.apply_change(decode_change(entry.data))
            self._history = SnapshotMeta(entry.index, entry.term, configuration)
        self.storage.offer_snapshot(self._history)

    # With threads.

    def _hand_to_threads(self, ready: Ready, after: list[Flight]) -> list[str]:
        shown = []
        if ready.entries or ready.hard_state or ready.snapshot or after:
            work = self._append_work(ready, after)
            self.append_work.append(work)
            shown.append(self._work_text(APPEND_THREAD, work))
        if ready.apply:
            work = self._apply_work(ready)
            self.apply_work.append(work)
            shown.append(self._work_text(APPLY_THREAD, work))
        return shown

    def _append_work(self, ready: Ready, after: list[Flight]) -> Work:
        state = ready.hard_state or HardState()
        message = Etcd(
            "MsgStorageAppend",
            state.term,
            commit=state.commit,
            vote=state.vote,
            entries=ready.entries,
            snapshot=ready.snapshot,
        )
        node = self.node
        unsaved = node.saved_index < node.last_index
        if unsaved or ready.snapshot:
            last_term, last = (node.last_term, node.last_index) if unsaved else (0, 0)
            answer = Etcd("MsgStorageAppendResp", node.term, last_term, last)
            answer = answer._replace(snapshot=ready.snapshot)
            after = [*after, self._own_flight(answer, ready.number, APPEND_THREAD)]
        return Work(message, lambda: self._write(ready.snapshot, ready.entries), after)

    def _apply_work(self, ready: Ready) -> Work:
        message = Etcd("MsgStorageApply", entries=ready.apply)
        answer = Etcd("MsgStorageApplyResp", entries=ready.apply)

        def arrive() -> str:
            self.act(lambda: self.node.applied(ready.apply[-1].index))
            return ""

        flight = Flight(APPLY_THREAD, self.peer, answer, arrive)
        return Work(message, lambda: self._apply(ready.apply), [flight])

    def _own_flight(self, answer: Etcd, number: int, sender: str = "") -> Flight:
        """What this member tells itself once the Ready is saved."""

        def arrive() -> str:
            # In etcd an answer of an older term says nothing about what is saved.
            if answer.term >= self.node.term and number > self._saved:
                self._saved = number
                self.act(lambda: self.node.saved(number))
            return ""

        return Flight(sender or str(self.peer), self.peer, answer, arrive)

    def _work_text(self, thread: str, work: Work) -> str:
        text = message_text(str(self.peer), thread, work.message)
        if not work.answers:
            return text
        answers = "".join(f"\n{answer.text('  ')}" for answer in work.answers)
        return f"{text} Responses:[{answers}\n]"

    # Both.

    def _flight(self, send: Send) -> Flight:
        message = send.message
        # etcd lets a forwarded transfer come from the one who is to lead.
        asked = message.target if isinstance(message, TransferRequest) else self.peer
        return Flight(
            str(asked),
            send.to,
            translated(message),
            lambda: self._arrive(self.peer, send.to, message),
        )

    def _text(self, ready: Ready, messages: list[str]) -> str:
        lines = []
        if ready.change:
            lines.append(leadership_text(ready.change))
        durable = bool(ready.entries)
        if ready.hard_state:
            lines.append(f"HardState {hard_state_text(ready.hard_state)}")
            before, after = self._state, ready.hard_state
            durable = durable or (before.term, before.vote) != (after.term, after.vote)
            self._state = ready.hard_state
        if ready.entries:
            lines += ["Entries:", *map(entry_text, ready.entries)]
        if ready.snapshot:
            lines.append(f"Snapshot {snapshot_text(ready.snapshot)}")
        if ready.apply:
            lines += ["CommittedEntries:", *map(entry_text, ready.apply)]
        if messages:
            lines += ["Messages:", *messages]
        if not lines:
            return "<empty Ready>"
        return "\n".join([f"Ready MustSync={str(durable).lower()}:", *lines])


def _late(send: Send) -> bool:
    """etcd holds answers to pre-votes back until the save; they need not be."""
    return isinstance(send.message, PreVoteAnswer)
