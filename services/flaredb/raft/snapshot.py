"""When a follower is too far behind for entries (Raft paper, section 7).

A vote is never taken from a snapshot; only the log, its marks and the configuration, and the term
of who has sent it, as from any message.
"""

from flaredb.raft.core import Core
from flaredb.raft.membership import check, members
from flaredb.raft.progress import SNAPSHOT, Progress
from flaredb.raft.refusals import SnapshotUnavailable
from flaredb.raft.roles import FOLLOWER, LEADER
from flaredb_schemas.ids import NO_PEER, PeerId, Term
from flaredb_schemas.raft import AppendAccepted, SnapshotMeta, SnapshotOffer


def offer(core: Core, peer: PeerId, progress: Progress) -> bool:
    """Offer a snapshot to a follower that is alive; whether one could be had."""
    if not progress.recent_active:
        return False
    meta = core.log.snapshot_to_send()
    if isinstance(meta, SnapshotUnavailable):
        return False
    assert meta.index > 0, "a snapshot of nothing"
    core.send(peer, SnapshotOffer(core.term, meta))
    progress.become_snapshot(meta.index)
    return True


def report(core: Core, peer: PeerId, ok: bool) -> None:
    """The host's snapshot to `peer` has ended, well or not.

    Either way the next append waits: for the follower's own answer, or for a sign of life.
    """
    progress = core.progress.get(peer)
    if progress is None or progress.state is not SNAPSHOT:
        return
    if ok:
        progress.become_probe()
    else:
        progress.fail_snapshot()
    progress.paused = True


def accept(core: Core, meta: SnapshotMeta) -> None:
    """Take the offered snapshot as the log's new beginning, unless it brings nothing."""
    if meta.index <= core.log.commit or core.peer not in members(meta.configuration):
        return
    if core.log.has(meta.index, meta.term):
        # The log holds everything; the snapshot only shows that it is committed.
        core.log.commit_to(meta.index)
        return
    _start_behind(core, meta, keeps_suffix=False)


def install(core: Core, meta: SnapshotMeta, term: Term) -> None:
    """The host's state is now that of `meta`, as a leader of `term` sent it; the log follows.

    What the log holds behind that point, and agrees with it, may have been acknowledged: it stays.
    A leader of an earlier term is not followed any more: it may not have what a later one has sent.
    """
    assert meta.index > core.log.commit, f"{meta.index} is committed here: {core.log.marks()}"
    assert core.peer in members(meta.configuration), "a snapshot for others"
    assert core.role is not LEADER, "a leader was behind its followers"
    if term > core.term:
        core.become_follower(term, NO_PEER)
    leader = core.leader
    if core.role is not FOLLOWER:
        core.become_follower(core.term, NO_PEER)
    _start_behind(core, meta, keeps_suffix=core.log.has(meta.index, meta.term))
    if leader != NO_PEER:
        core.send(leader, AppendAccepted(core.term, meta.index))


def _start_behind(core: Core, meta: SnapshotMeta, keeps_suffix: bool) -> None:
    check(meta.configuration)
    if keeps_suffix:
        core.log.pass_over(meta.index)
        # Where an earlier snapshot is not handed out yet, the saved log is older than that.
        keeps_suffix = core.restored is None or core.restored[1]
    else:
        core.log.restore(meta)
    core.restored = (meta, keeps_suffix)
    core.switch_members(meta.configuration)
