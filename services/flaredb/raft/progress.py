"""What a leader believes of one follower, and so what it may send next.

- probe: the logs' meeting point is not known; one append at a time, held back after it.
- replicate: it is known; appends follow one another without waiting, within the limits.
- snapshot: the follower needs entries that the log no longer has; no appends at all.
"""

import enum
from typing import Final

from flaredb.raft.inflights import Inflights
from flaredb_schemas.ids import Index


class ProgressState(enum.Enum):
    """How a leader sends to one follower."""

    PROBE = "probe"
    REPLICATE = "replicate"
    SNAPSHOT = "snapshot"


PROBE: Final = ProgressState.PROBE
REPLICATE: Final = ProgressState.REPLICATE
SNAPSHOT: Final = ProgressState.SNAPSHOT


class Progress:
    """One follower, as its leader sees it.

    Invariants: `match < next`; in snapshot state `next > pending_snapshot`; only in replicate
    state is anything in flight.
    """

    __slots__ = (
        "asked_anew",
        "inflights",
        "match",
        "next",
        "paused",
        "pending_snapshot",
        "read_round",
        "recent_active",
        "sent_commit",
        "state",
    )

    def __init__(self, next_index: Index, inflights: Inflights) -> None:
        self.match = Index(0)
        """The log is known to agree up to here."""
        self.next = next_index
        """What to send next."""
        self.state = PROBE
        self.paused = False
        """An append went out on trial; wait for an answer or for a heartbeat's."""
        self.asked_anew = False
        """It was not there, and has been asked once more since the last heartbeat."""
        self.pending_snapshot = Index(0)
        self.recent_active = False
        """Heard from since the last check of the quorum."""
        self.sent_commit = Index(0)
        """The commit index sent last: what the follower will know if messages arrive."""
        self.read_round = 0
        """The newest round of reads that it has answered."""
        self.inflights = inflights

    def check(self) -> None:
        """The invariants of the class."""
        assert self.match < self.next, f"match {self.match} is not before next {self.next}"
        if self.state is SNAPSHOT:
            assert self.next > self.pending_snapshot, "next is within the snapshot"
        assert self.state is REPLICATE or not self.inflights, "flying while probing"

    def holds_back(self) -> bool:
        """Whether no append at all may be sent now."""
        return self.paused or self.state is SNAPSHOT

    def become_probe(self) -> None:
        """Find the meeting point, behind the snapshot if one was sent."""
        behind = self.pending_snapshot if self.state is SNAPSHOT else Index(0)
        self._probe_from(Index(max(self.match, behind) + 1))

    def become_replicate(self) -> None:
        """The meeting point is known to be `match`."""
        self._enter(REPLICATE, Index(self.match + 1))

    def become_snapshot(self, index: Index) -> None:
        """A snapshot at `index` is on its way."""
        self._enter(SNAPSHOT, Index(index + 1))
        self.pending_snapshot = index
        self.sent_commit = index

    def fail_snapshot(self) -> None:
        """The snapshot did not arrive: probe again from what is known."""
        self._probe_from(Index(self.match + 1))

    def sent(self, count: int, size: int) -> None:
        """An append with `count` entries of `size` bytes has been handed out."""
        if self.state is REPLICATE:
            if count:
                self.next = Index(self.next + count)
                self.inflights.add(Index(self.next - 1), size)
            self.paused = self.inflights.full()
        else:
            assert self.state is PROBE, "append sent while a snapshot is pending"
            self.paused = self.paused or count > 0

    def accept(self, index: Index) -> bool:
        """The follower agrees up to `index`; whether that is news."""
        if index <= self.match:
            return False
        self.match = index
        self.next = max(self.next, Index(index + 1))
        self.paused = False
        return True

    def reject(self, rejected: Index, hint: Index) -> bool:
        """The follower has nothing that fits at `rejected`, perhaps at `hint`; whether to resend.

        An answer that is older than what is known changes nothing.
        """
        if self.state is REPLICATE:
            if rejected <= self.match:
                return False
            self.next = Index(self.match + 1)
        elif self.state is SNAPSHOT or self.next - 1 != rejected:
            # A probe is one append at a time, so a rejection of anything else is a late one.
            return False
        else:
            self.next = max(min(rejected, Index(hint + 1)), Index(self.match + 1))
            self.paused = False
        self.sent_commit = min(self.sent_commit, Index(self.next - 1))
        return True

    def lacks_commit(self, commit: Index) -> bool:
        """Whether sending `commit` now can move the follower's commit index."""
        return self.sent_commit < commit and self.sent_commit < self.next - 1

    def _probe_from(self, next_index: Index) -> None:
        self._enter(PROBE, next_index)
        # Whatever told it more has probably been lost.
        self.sent_commit = min(self.sent_commit, Index(next_index - 1))

    def _enter(self, state: ProgressState, next_index: Index) -> None:
        self.state = state
        self.paused = False
        self.pending_snapshot = Index(0)
        self.next = next_index
        self.inflights.clear()
