"""Hand leadership to a chosen peer (thesis, 3.10).

The leader brings the peer's log up to its own, takes no proposals meanwhile, and then tells the
peer to stand for election at once. After an election timeout without success it goes on leading.
"""

from flaredb.raft import replication
from flaredb.raft.core import Core
from flaredb.raft.membership import all_voters
from flaredb.raft.refusals import NotEligible, NotLeader, TransferRefusal
from flaredb.raft.roles import FOLLOWER, LEADER
from flaredb_schemas.ids import NO_PEER, PeerId
from flaredb_schemas.raft import TimeoutNow, TransferRequest


def request(core: Core, target: PeerId) -> TransferRefusal | None:
    """The host asks for a transfer; a follower passes the wish on."""
    if core.role is LEADER:
        return _begin(core, target)
    if core.role is not FOLLOWER or core.leader == NO_PEER:
        return NotLeader(core.leader)
    core.send(core.leader, TransferRequest(target))
    return None


def handle_transfer_request(
    core: Core, sender: PeerId, message: TransferRequest
) -> TransferRefusal | None:
    """A follower asks for a transfer."""
    return _begin(core, message.target)


def abort_if_ineligible(core: Core) -> None:
    """A target that no longer votes cannot lead."""
    if core.transfer_target not in all_voters(core.configuration):
        core.transfer_target = NO_PEER


def _begin(core: Core, target: PeerId) -> NotEligible | None:
    if target == core.transfer_target:
        return None
    core.transfer_target = NO_PEER
    if target == core.peer:
        return None
    if target not in all_voters(core.configuration):
        return NotEligible(target)
    core.transfer_target = target
    core.election_elapsed = 0
    progress = core.progress[target]
    if progress.match == core.log.tail.last:
        core.send(target, TimeoutNow(core.term))
    else:
        replication.send_append(core, target, progress, even_if_empty=True)
    return None
