"""The part that a member plays in its group."""

import enum


class Role(enum.IntEnum):
    """Raft paper, figure 4, and the pre-candidate of thesis 9.6. A learner is a follower."""

    FOLLOWER = 0
    PRE_CANDIDATE = 1
    CANDIDATE = 2
    LEADER = 3
