"""The part that a member plays in its group."""

import enum
from typing import Final


class Role(enum.IntEnum):
    """Raft paper, figure 4, and the pre-candidate of thesis 9.6. A learner is a follower."""

    FOLLOWER = 0
    PRE_CANDIDATE = 1
    CANDIDATE = 2
    LEADER = 3


# Reached by name alone: in CPython 3.11 a member looked up in its class costs ten times as much.
FOLLOWER: Final = Role.FOLLOWER
PRE_CANDIDATE: Final = Role.PRE_CANDIDATE
CANDIDATE: Final = Role.CANDIDATE
LEADER: Final = Role.LEADER
