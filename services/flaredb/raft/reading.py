"""How reads pass through a leader and its followers: ask, open a round, count answers, release."""

from flaredb.raft import quorum, replication
from flaredb.raft.core import Core
from flaredb.raft.read_index import Read
from flaredb.raft.ready import ReadState
from flaredb.raft.refusals import NotLeader
from flaredb.raft.roles import FOLLOWER, LEADER
from flaredb_schemas.ids import NO_PEER, Index, PeerId
from flaredb_schemas.raft import HeartbeatAnswer, ReadAnswer, ReadRequest


def ask(core: Core, context: bytes) -> NotLeader | None:
    """The host of this member wants to read."""
    if core.role is LEADER:
        _enqueue(core, core.peer, context)
    elif core.role is FOLLOWER and core.leader != NO_PEER:
        core.send(core.leader, ReadRequest(context))
    else:
        return NotLeader(core.leader)
    return None


def handle_read_request(core: Core, sender: PeerId, message: ReadRequest) -> None:
    """A follower wants to read."""
    _enqueue(core, sender, message.context)


def handle_read_answer(core: Core, sender: PeerId, message: ReadAnswer) -> None:
    """The leader has confirmed a read of this member's host."""
    core.read_states.append(ReadState(message.index, message.context))


def open_round(core: Core) -> None:
    """Send the waiting reads' round, if there are any and this leader may serve reads."""
    reads = core.reads
    if reads is None or not reads.waiting or core.log.commit < core.term_start:
        return
    if core.config.lease_reads and core.transfer_target == NO_PEER:
        # A transfer's election does not respect the lease, hence the second condition.
        waiting, reads.waiting = reads.waiting, []
        for read in waiting:
            _release(core, read, core.log.commit)
        return
    number = reads.begin_round(core.log.commit)
    own = core.progress.get(core.peer)
    if own is not None:
        own.read_round = number
    replication.broadcast_heartbeat(core)
    _release_confirmed(core)


def handle_heartbeat_answer(core: Core, sender: PeerId, message: HeartbeatAnswer) -> None:
    """A follower still follows: it is alive, and it confirms a round of reads."""
    progress = core.progress[sender]
    progress.recent_active = True
    # Whatever was sent on trial may be lost, so try again where something is missing.
    progress.paused = False
    replication.resume(core, sender, progress)
    if message.round > progress.read_round:
        progress.read_round = message.round
        _release_confirmed(core)


def _enqueue(core: Core, origin: PeerId, context: bytes) -> None:
    assert core.reads is not None, "a leader without a queue of reads"
    core.reads.waiting.append(Read(origin, context))


def _release_confirmed(core: Core) -> None:
    assert core.reads is not None, "a leader without a queue of reads"
    confirmed = _confirmed_by(core, core.configuration.voters)
    if core.configuration.voters_outgoing:
        confirmed = min(confirmed, _confirmed_by(core, core.configuration.voters_outgoing))
    for done in core.reads.confirm(confirmed):
        for read in done.reads:
            _release(core, read, done.index)


def _confirmed_by(core: Core, voters: tuple[PeerId, ...]) -> int:
    return quorum.majority_index([core.progress[voter].read_round for voter in voters])


def _release(core: Core, read: Read, index: Index) -> None:
    if read.origin == core.peer:
        core.read_states.append(ReadState(index, read.context))
    else:
        core.send(read.origin, ReadAnswer(core.term, index, read.context))
