"""The leader's side of the log: appends, heartbeats, and what their answers mean.

Raft paper, 5.3; the conflict hint is an extension of its "term and first index" optimization.
"""

from collections.abc import Sequence

from flaredb.raft import snapshot
from flaredb.raft.core import Core, SharedAppend
from flaredb.raft.progress import PROBE, REPLICATE, SNAPSHOT, Progress
from flaredb.raft.refusals import Compacted
from flaredb.raft.roles import LEADER
from flaredb.raft.storage import entry_size
from flaredb_schemas.ids import Index, PeerId
from flaredb_schemas.raft import (
    Append,
    AppendAccepted,
    AppendRejected,
    Entry,
    Heartbeat,
    StaleTerm,
    TimeoutNow,
)


def broadcast_append(core: Core) -> None:
    """Send every follower what it lacks, be it only the commit index."""
    own = core.peer
    for peer, progress in core.progress.items():
        if peer != own:
            send_append(core, peer, progress, even_if_empty=True)


def send_append(core: Core, peer: PeerId, progress: Progress, even_if_empty: bool) -> bool:
    """Send the next append, or a snapshot if the log no longer reaches back; whether one went."""
    if progress.holds_back():
        return False
    shared = _next_append(core, progress)
    if shared is None:
        return snapshot.offer(core, peer, progress)
    message = shared.message
    if not message.entries and not even_if_empty:
        return False
    core.send(peer, message, progress.state is PROBE)
    progress.sent(len(message.entries), shared.size)
    progress.sent_commit = message.commit
    return True


def send_all(core: Core, peer: PeerId, progress: Progress) -> None:
    """Send entries until the follower has everything or its limits are reached."""
    while send_append(core, peer, progress, even_if_empty=False):
        pass


def resume(core: Core, peer: PeerId, progress: Progress) -> None:
    """A sign of life: probe where something is missing or the meeting point is unknown.

    Even an empty append helps where all that was in flight is lost: its answer tells.
    """
    if progress.match < core.log.tail.last or progress.state is PROBE:
        send_append(core, peer, progress, even_if_empty=True)


def broadcast_heartbeat(core: Core) -> None:
    """Tell every follower that this member leads, and which round of reads is open."""
    core.heartbeat_elapsed = 0
    for peer, progress in core.progress.items():
        if peer != core.peer:
            core.send(peer, heartbeat(core, progress))


def heartbeat(core: Core, progress: Progress) -> Heartbeat:
    """The heartbeat for one follower, which is about to be sent."""
    assert core.reads is not None, "heartbeats without leadership"
    # Not beyond what it is known to have: its log may still differ behind that.
    commit = min(progress.match, core.log.commit)
    progress.sent_commit = commit
    progress.asked_anew = False
    return Heartbeat(core.term, commit, core.reads.open_round)


def handle_append_accepted(core: Core, sender: PeerId, message: AppendAccepted) -> None:
    """A follower has saved the log up to an index."""
    progress = core.progress[sender]
    progress.recent_active = True
    probing = progress.state is PROBE
    if not progress.accept(message.index) and not (probing and progress.match == message.index):
        return
    _advance_state(core, progress)
    if not advance_commit(core) and progress.lacks_commit(core.log.commit):
        send_append(core, sender, progress, even_if_empty=True)
    send_all(core, sender, progress)
    if core.transfer_target == sender and progress.match == core.log.tail.last:
        core.send(sender, TimeoutNow(core.term))


def handle_append_rejected(core: Core, sender: PeerId, message: AppendRejected) -> None:
    """A follower's log does not reach, or differs: go back to where it may agree.

    The hint names the follower's newest entry whose term is not above the rejected one; this
    leader goes on to its own newest entry whose term is not above the hint's. So one exchange
    passes over a whole term, on either side.
    """
    progress = core.progress[sender]
    progress.recent_active = True
    hint = min(message.hint_index, core.log.tail.last)
    if message.hint_term > 0:
        hint, _ = core.log.latest_agreement(hint, message.hint_term)
    if progress.reject(message.index, hint):
        if progress.state is REPLICATE:
            progress.become_probe()
        send_append(core, sender, progress, even_if_empty=True)


def handle_stale_term(core: Core, sender: PeerId, message: StaleTerm) -> None:
    """Meant for the term before this one; it still shows that the sender lives."""
    core.progress[sender].recent_active = True


def handle_unreachable(core: Core, peer: PeerId) -> None:
    """Messages to `peer` are lost: stop sending ahead of its answers."""
    progress = core.progress.get(peer)
    if progress is not None and progress.state is REPLICATE:
        progress.become_probe()


def handle_absent(core: Core, peer: PeerId, is_welcome: bool) -> None:
    """The store of `peer` lives and has no such member; `is_welcome` if it could have one.

    A member that has acknowledged nothing in this term needs the whole state, not even its log is
    there. Otherwise a probe goes out, one per heartbeat: what it meets tells more.
    """
    progress = core.progress.get(peer)
    if core.role is not LEADER or progress is None or progress.state is SNAPSHOT:
        return
    progress.recent_active = True
    if not is_welcome:
        if progress.asked_anew:
            return  # the answer to that would be the same, at the speed of the network
        progress.asked_anew = True
        if progress.state is REPLICATE:
            progress.become_probe()
        progress.paused = False
        send_append(core, peer, progress, even_if_empty=True)
    elif progress.match == 0:
        snapshot.offer(core, peer, progress)


def advance_commit(core: Core) -> bool:
    """Commit what a quorum has, and tell everyone at once; whether there was anything."""
    if core.role is not LEADER or not core.commit_by_quorum():
        return False
    broadcast_append(core)
    return True


def _advance_state(core: Core, progress: Progress) -> None:
    if progress.state is REPLICATE:
        progress.inflights.free_through(progress.match)
    elif progress.state is PROBE:
        progress.become_replicate()
    elif progress.match + 1 >= core.log.first_index():
        # Wherever its state came from: the log reaches back far enough to go on.
        progress.become_probe()
        progress.become_replicate()


def _next_append(core: Core, progress: Progress) -> SharedAppend | None:
    """The append that `progress` asks for, or None if the log no longer reaches back."""
    log = core.log
    previous = Index(progress.next - 1)
    full = progress.state is REPLICATE and progress.inflights.full()
    shared = core.shared_append
    if (
        shared is not None
        and not full
        and shared.last == log.tail.last
        and shared.message.previous_index == previous
        and shared.message.commit == log.commit
    ):
        return shared
    return _build_append(core, previous, full)


def _build_append(core: Core, previous: Index, full: bool) -> SharedAppend | None:
    log = core.log
    term = log.term(previous)
    if isinstance(term, Compacted):
        return None
    entries: Sequence[Entry] = ()
    if previous < log.tail.last and not full:
        found = log.entries_from(Index(previous + 1), core.config.max_append_bytes)
        if isinstance(found, Compacted):
            return None
        entries = found
    message = Append(core.term, previous, term, log.commit, tuple(entries))
    shared = SharedAppend(log.tail.last, sum([entry_size(entry) for entry in entries]), message)
    if not full:
        core.shared_append = shared
    return shared
