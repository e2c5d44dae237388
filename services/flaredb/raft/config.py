"""The knobs of one member, in ticks and bytes, checked once when it is made."""

from typing import Final

import msgspec

from flaredb_schemas.ids import Index, PeerId

UNLIMITED: Final = 2**63 - 1


class Config(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """How one member behaves. Raises `ValueError` for settings that contradict each other."""

    peer: PeerId
    """This member; positive."""
    applied: Index = Index(0)
    """The newest entry that the state machine has saved; zero: as far as the log's start."""
    election_ticks: int = 10
    """Without a word from a leader for this many ticks, and up to as many again by chance, a
    follower stands for election. Also the period of check-quorum and of a transfer."""
    heartbeat_ticks: int = 1
    """A leader speaks at least this often."""
    max_append_bytes: int = 512 * 1024
    """Entries in one append; at least one entry goes, whatever its size."""
    max_inflight_messages: int = 256
    """Unacknowledged appends to one follower."""
    max_inflight_bytes: int = 8 * 1024 * 1024
    """Entry bytes in unacknowledged appends to one follower; one message may pass the limit."""
    max_uncommitted_bytes: int = UNLIMITED
    """Proposed bytes that are not handed out to apply; one proposal always gets through."""
    max_applying_bytes: int = 4 * 1024 * 1024
    """Committed entries handed out and not reported as applied; one entry always gets through."""
    pre_vote: bool = True
    check_quorum: bool = True
    step_down_on_removal: bool = True
    """A leader that applies its own removal or demotion becomes a follower at once."""
    lease_reads: bool = False
    """Reads rely on check-quorum and on clocks of equal speed instead of a round. Unsafe where
    processes pause."""
    forward_proposals: bool = False
    """A follower passes proposals on to its leader, without an answer, instead of refusing."""
    validate_changes: bool = True
    """Refuse a membership change while another is pending or the configuration is joint."""
    apply_unsaved: bool = False
    """Hand out committed entries before they are saved here (a quorum has them elsewhere)."""
    release_votes_early: bool = False
    """Vote requests leave before the vote is saved. Only for runs of etcd's cases."""
    full_checks: bool = False
    """Check invariants that cost more than constant time; for the simulator."""

    def __post_init__(self) -> None:
        wrong = [sentence for holds, sentence in self._rules() if not holds]
        if wrong:
            raise ValueError("; ".join(wrong))

    def _rules(self) -> list[tuple[bool, str]]:
        return [
            (self.peer > 0, "peer must be positive"),
            (self.applied >= 0, "applied must not be negative"),
            (self.heartbeat_ticks > 0, "heartbeat_ticks must be positive"),
            (
                self.election_ticks > self.heartbeat_ticks,
                "election_ticks must be more than heartbeat_ticks",
            ),
            (self.max_append_bytes >= 0, "max_append_bytes must not be negative"),
            (self.max_inflight_messages > 0, "max_inflight_messages must be positive"),
            (
                self.max_inflight_bytes >= self.max_append_bytes,
                "max_inflight_bytes must not be less than max_append_bytes",
            ),
            (self.max_uncommitted_bytes > 0, "max_uncommitted_bytes must be positive"),
            (self.max_applying_bytes > 0, "max_applying_bytes must be positive"),
            (self.check_quorum or not self.lease_reads, "lease_reads need check_quorum"),
        ]
