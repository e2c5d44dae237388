"""What has been handed out, and what of it is saved: Readys go out, numbers come back."""

from collections.abc import Sequence

from flaredb.raft import election, reading, replication
from flaredb.raft.core import Core
from flaredb.raft.ready import LeadershipChange, Ready
from flaredb.raft.roles import CANDIDATE, LEADER
from flaredb_schemas.ids import Index, Term
from flaredb_schemas.raft import Entry, HardState, SnapshotMeta


class Ledger:
    """Remembers what the host was told last, so that each Ready holds only what is new.

    Invariants: numbers rise by one; `saved_number <= number`; what is owed to a save (a
    candidate's own vote, a snapshot) names the Ready that holds it.
    """

    __slots__ = (
        "_commit",
        "_leader",
        "_owed_snapshots",
        "_owed_vote",
        "_role",
        "_term",
        "_vote",
        "number",
        "saved_number",
    )

    def __init__(self, core: Core) -> None:
        self.number = 0
        self.saved_number = 0
        self._term, self._vote, self._commit = core.term, core.vote, core.log.commit
        self._role, self._leader = core.role, core.leader
        self._owed_vote: tuple[int, Term] | None = None
        self._owed_snapshots: list[tuple[int, Index]] = []

    def has_news(self, core: Core) -> bool:
        """Whether a Ready would hold anything. Called for every touched group in every turn."""
        log = core.log
        return (
            bool(core.send_now)
            or bool(core.send_after_save)
            or log.handed != log.tail.last
            or log.commit != self._commit
            or core.term != self._term
            or core.vote != self._vote
            or (log.applying < log.commit and log.has_to_apply())
            or core.role is not self._role
            or core.leader != self._leader
            or bool(core.read_states)
            or core.restored is not None
        )

    def take(self, core: Core) -> Ready | None:
        """Everything that has become due, or None."""
        if core.reads is not None and core.reads.waiting:
            reading.open_round(core)
        if not self.has_news(core):
            return None
        self.number += 1
        log = core.log
        snapshot, keeps_suffix = self._snapshot(core)
        hard_state = self._hard_state(core)
        entries = log.to_save(self.number) if log.handed != log.tail.last else ()
        ready = Ready(
            self.number,
            tuple(core.send_now),
            tuple(core.send_after_save),
            hard_state,
            entries,
            snapshot,
            keeps_suffix,
            _to_apply(core) if log.has_to_apply() else (),
            tuple(core.read_states),
            self._change(core),
        )
        _forget(core, ready)
        return ready

    def saved(self, core: Core, number: int) -> None:
        """Everything up to the Ready of that number is durable."""
        assert self.saved_number <= number <= self.number, f"saved({number}) of {self.number}"
        self.saved_number = number
        core.log.saved_under(number)
        self._settle_snapshots(core, number)
        if core.role is LEADER:
            own = core.progress.get(core.peer)
            if own is not None and own.accept(core.log.saved):
                replication.advance_commit(core)
        elif self._owed_vote is not None:
            self._settle_vote(core, number)

    def _hard_state(self, core: Core) -> HardState | None:
        term, vote, commit = core.term, core.vote, core.log.commit
        if term == self._term and vote == self._vote and commit == self._commit:
            return None
        self._term, self._vote, self._commit = term, vote, commit
        if not core.own_vote_counted:
            self._owed_vote = self.number, term
        return HardState(term, vote, commit)

    def _snapshot(self, core: Core) -> tuple[SnapshotMeta | None, bool]:
        if core.restored is None:
            return None, False
        meta, keeps_suffix = core.restored
        if not keeps_suffix:
            self._owed_snapshots.append((self.number, meta.index))
        return meta, keeps_suffix

    def _change(self, core: Core) -> LeadershipChange | None:
        if core.role is self._role and core.leader == self._leader:
            return None
        self._role, self._leader = core.role, core.leader
        return LeadershipChange(core.role, core.leader, core.term)

    def _settle_snapshots(self, core: Core, number: int) -> None:
        while self._owed_snapshots and self._owed_snapshots[0][0] <= number:
            core.log.snapshot_saved(self._owed_snapshots.pop(0)[1])

    def _settle_vote(self, core: Core, number: int) -> None:
        assert self._owed_vote is not None
        owed_number, term = self._owed_vote
        if owed_number <= number:
            self._owed_vote = None
            if core.role is CANDIDATE and core.term == term:
                election.count_own_vote(core)


def _to_apply(core: Core) -> Sequence[Entry]:
    entries = core.log.to_apply()
    if core.uncommitted_bytes:
        # Entries of earlier leaders were never counted, hence the floor.
        size = sum([len(entry.data) for entry in entries])
        core.uncommitted_bytes = max(0, core.uncommitted_bytes - size)
    return entries


def _forget(core: Core, ready: Ready) -> None:
    if ready.send_now:
        core.send_now = []
    if ready.send_after_save:
        core.send_after_save = []
    if ready.read_states:
        core.read_states = []
    core.restored = None
    # Within one turn the same append serves several followers; beyond it would only hold memory.
    core.shared_append = None
