"""The follower's side of the log: appends, heartbeats and snapshot offers of the leader."""

from flaredb.raft import snapshot
from flaredb.raft.core import Core
from flaredb_schemas.ids import Index, PeerId
from flaredb_schemas.raft import (
    Append,
    AppendAccepted,
    AppendRejected,
    Heartbeat,
    HeartbeatAnswer,
    SnapshotOffer,
)


def follow(core: Core, leader: PeerId) -> None:
    """`leader` leads this term."""
    assert core.leader in (0, leader), f"{core.leader} and {leader} both lead term {core.term}"
    core.election_elapsed = 0
    core.leader = leader


def handle_append(core: Core, sender: PeerId, message: Append) -> None:
    """Take the leader's entries if they fit behind an entry that is here (Raft paper, 5.3)."""
    follow(core, sender)
    log = core.log
    if message.previous_index < log.commit:
        # Old news: everything up to the commit index agrees for certain.
        core.send(sender, AppendAccepted(core.term, log.commit))
        return
    last = log.merge(message.previous_index, message.previous_term, message.entries)
    if last is None:
        _reject(core, sender, message)
        return
    log.commit_to(min(message.commit, last))
    core.send(sender, AppendAccepted(core.term, last))


def handle_heartbeat(core: Core, sender: PeerId, message: Heartbeat) -> None:
    """The leader lives; what it says is committed is known to be here."""
    follow(core, sender)
    core.log.commit_to(message.commit)
    core.send(sender, HeartbeatAnswer(core.term, message.round))


def handle_snapshot_offer(core: Core, sender: PeerId, message: SnapshotOffer) -> None:
    """Take the snapshot whose state the host holds already, if it brings anything new."""
    follow(core, sender)
    snapshot.accept(core, message.meta)
    core.send(sender, AppendAccepted(core.term, core.log.commit))


def append_as_candidate(core: Core, sender: PeerId, message: Append) -> None:
    """Somebody else has won this term."""
    core.become_follower(core.term, sender)
    handle_append(core, sender, message)


def heartbeat_as_candidate(core: Core, sender: PeerId, message: Heartbeat) -> None:
    """Somebody else has won this term."""
    core.become_follower(core.term, sender)
    handle_heartbeat(core, sender, message)


def snapshot_offer_as_candidate(core: Core, sender: PeerId, message: SnapshotOffer) -> None:
    """Somebody else has won this term."""
    core.become_follower(core.term, sender)
    handle_snapshot_offer(core, sender, message)


def _reject(core: Core, sender: PeerId, message: Append) -> None:
    last = core.log.tail.last
    hint, term = core.log.latest_agreement(min(message.previous_index, last), message.previous_term)
    core.send(sender, AppendRejected(core.term, Index(message.previous_index), hint, term))
