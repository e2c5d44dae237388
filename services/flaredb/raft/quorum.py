"""Majorities, simple and joint: which index is committed, and how a vote stands.

Pure arithmetic; numbers in, numbers out. A joint configuration decides only what both of its
majorities decide (Raft paper, section 6). An empty majority agrees to everything, so that a
configuration that is not joint is a joint one whose second half is empty.
"""

import enum
from collections.abc import Mapping, Sequence
from typing import Final

from flaredb_schemas.ids import PeerId

EVERYTHING: Final = 2**64 - 1
"""The index to which an empty majority agrees."""


class Vote(enum.Enum):
    """How a vote stands."""

    PENDING = "pending"
    LOST = "lost"
    WON = "won"


def majority_index(acknowledged: Sequence[int]) -> int:
    """The largest index that more than half of these have reached."""
    if not acknowledged:
        return EVERYTHING
    return sorted(acknowledged)[(len(acknowledged) - 1) // 2]


def majority_vote(voters: Sequence[PeerId], votes: Mapping[PeerId, bool]) -> Vote:
    """Won or lost as soon as the missing votes cannot change it."""
    quorum = len(voters) // 2 + 1
    granted = sum(votes.get(voter, False) for voter in voters)
    missing = sum(voter not in votes for voter in voters)
    if not voters or granted >= quorum:
        return Vote.WON
    return Vote.PENDING if granted + missing >= quorum else Vote.LOST


def joint_vote(
    incoming: Sequence[PeerId], outgoing: Sequence[PeerId], votes: Mapping[PeerId, bool]
) -> Vote:
    """Lost if either half is lost, won if both are won."""
    halves = (majority_vote(incoming, votes), majority_vote(outgoing, votes))
    if Vote.LOST in halves:
        return Vote.LOST
    return Vote.PENDING if Vote.PENDING in halves else Vote.WON
