"""What raft refuses, as values: the caller asked for something that cannot be had now.

None of these says that anything is broken. A broken invariant is an `AssertionError`.
"""

import enum

import msgspec

from flaredb_schemas.ids import Index, PeerId


class NotLeader(msgspec.Struct, frozen=True, gc=False):
    """Ask `leader` instead; zero if none is known."""

    leader: PeerId


class LeaderTransferring(msgspec.Struct, frozen=True, gc=False):
    """Leadership is on its way to `target`; nothing may be proposed meanwhile (thesis, 3.10)."""

    target: PeerId


class LeaderRemoved(msgspec.Struct, frozen=True, gc=False):
    """This leader has applied its own removal."""


class UncommittedFull(msgspec.Struct, frozen=True, gc=False):
    """Too many proposed bytes are not committed yet."""

    uncommitted_bytes: int
    limit: int


class ChangePending(msgspec.Struct, frozen=True, gc=False):
    """A membership change at or before `index` may not be applied yet (thesis, 4.1)."""

    index: Index
    applied: Index


class ChangeFault(enum.Enum):
    """Why a membership change does not fit the configuration."""

    ALREADY_JOINT = "the configuration is joint already"
    NOT_JOINT = "the configuration is not joint"
    JOINT_MUST_BE_LEFT = "the joint configuration must be left first"
    NO_VOTERS_YET = "a configuration without voters cannot become joint"
    NO_VOTERS_LEFT = "no voter would be left"
    TOO_MANY_VOTERS = "more than one voter would change without a joint configuration"


class ChangeInvalid(msgspec.Struct, frozen=True, gc=False):
    """The membership change does not fit the current configuration."""

    fault: ChangeFault


class UnknownPeer(msgspec.Struct, frozen=True, gc=False):
    """`peer` is not in the configuration, so its answer counts for nothing."""

    peer: PeerId


class NotEligible(msgspec.Struct, frozen=True, gc=False):
    """`peer` may not lead now: no voter, not whole, or a membership change awaits its apply."""

    peer: PeerId


class Compacted(msgspec.Struct, frozen=True, gc=False):
    """The entries asked for are gone from the log; a snapshot stands for them."""


class SnapshotUnavailable(msgspec.Struct, frozen=True, gc=False):
    """No snapshot can be had now; ask again later."""


ProposalRefusal = NotLeader | LeaderTransferring | LeaderRemoved | UncommittedFull
ChangeRefusal = ProposalRefusal | ChangePending | ChangeInvalid
TransferRefusal = NotLeader | NotEligible
StepRefusal = ProposalRefusal | ChangePending | ChangeInvalid | UnknownPeer | NotEligible
