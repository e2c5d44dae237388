"""What passing ticks do: elections, heartbeats, the check of the quorum, the end of a transfer.

A member says when it is next due, so that a store's one wheel touches only what is due.
"""

from flaredb.raft import election, quorum, replication
from flaredb.raft.core import Core
from flaredb.raft.roles import LEADER
from flaredb_schemas.ids import NO_PEER


def due_in(core: Core) -> int | None:
    """Ticks until something happens by itself, at least one; None: never."""
    config = core.config
    if core.role is LEADER:
        heartbeat = config.heartbeat_ticks - core.heartbeat_elapsed
        return max(1, min(heartbeat, config.election_ticks - core.election_elapsed))
    if core.is_promotable:
        return max(1, core.election_timeout - core.election_elapsed)
    return None


def elapse(core: Core, ticks: int) -> None:
    """Time has passed, but less than would make anything happen: only the clocks move."""
    if core.role is LEADER:
        core.heartbeat_elapsed += ticks
    core.election_elapsed += ticks


def tick(core: Core, count: int) -> None:
    """Exactly what `count` single ticks would do."""
    while count > 0:
        due = due_in(core)
        if due is None or count < due:
            elapse(core, count)
            return
        count -= due
        elapse(core, due)
        if core.role is LEADER:
            _leader_due(core)
        else:
            _follower_due(core)


def restart(core: Core) -> None:
    """Nobody is late: every timer starts anew."""
    core.heartbeat_elapsed = 0
    core.restart_election_timer()


def _follower_due(core: Core) -> None:
    core.election_elapsed = 0
    election.campaign(core)


def _leader_due(core: Core) -> None:
    config = core.config
    if core.election_elapsed >= config.election_ticks:
        core.election_elapsed = 0
        if config.check_quorum:
            _check_quorum(core)
        core.transfer_target = NO_PEER
    if core.role is LEADER and core.heartbeat_elapsed >= config.heartbeat_ticks:
        replication.broadcast_heartbeat(core)


def _check_quorum(core: Core) -> None:
    """A leader that no quorum answers makes way (thesis, 6.2)."""
    active = {peer: item.recent_active or peer == core.peer for peer, item in core.progress.items()}
    configuration = core.configuration
    heard = quorum.joint_vote(configuration.voters, configuration.voters_outgoing, active)
    if heard is not quorum.Vote.WON:
        core.become_follower(core.term, NO_PEER)
        return
    for peer, progress in core.progress.items():
        progress.recent_active = peer == core.peer
