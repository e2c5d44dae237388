"""From PD's order to a membership entry: what has to change, whether it may now, and the proposal.

One order is one change: a learner comes, a learner goes, or roles change; where more than one voter
comes or goes the change is joint. Nothing is said of an order that is not obeyed: PD repeats it as
long as it wants it, and sees in heartbeats what came of it.
"""

import logging
from typing import Final

from msgspec import Struct

from flaredb.raft.progress import ProgressState
from flaredb.raft.proposals import Proposed
from flaredb.store.context import Context
from flaredb.store.records import ReplicaState
from flaredb.store.replica import Replica
from flaredb.store.sleeping import Sleeping
from flaredb_schemas.ids import PeerId
from flaredb_schemas.membership import PEERS_CHANGES, OrderPeers, PeersChange
from flaredb_schemas.raft import ChangeKind, ChangeStep, ConfChange
from flaredb_schemas.regions import Peer, PeerRole, Region

log: Final = logging.getLogger(__name__)

MOST_BEHIND: Final = 128
"""How many entries a learner may lack when it is made a voter: it has them before it matters."""


class Plan(Struct, frozen=True):
    """The steps for Raft, and the peers as they are from the entry on."""

    steps: tuple[ChangeStep, ...]
    peers: tuple[Peer, ...]


class PeerOrders:
    """Has the leaders here propose what PD orders. Holds no state."""

    __slots__ = ("_context", "_sleeping")

    def __init__(self, context: Context, sleeping: Sleeping) -> None:
        self._context = context
        self._sleeping = sleeping

    def ordered(self, body: OrderPeers) -> None:
        """PD wants the peers of a region to be these."""
        replica = self._context.registry.get(body.region)
        if replica is None or not replica.leads or replica.peer != body.leader:
            return
        if replica.region.epoch != body.epoch:
            return  # done already, or the region is not what it was
        plan = planned(replica.region, replica.peer, body.peers)
        reason = plan if isinstance(plan, str) else _unfit(replica, plan)
        if isinstance(plan, str) or reason:
            log.info("the peers of region %s are not changed now: %s", replica.id, reason)
            return
        what = PeersChange(
            self._context.clock.wall(),
            replica.region.epoch.conf_ver,
            plan.peers,
            body.operator,
            body.reason,
        )
        change = ConfChange(plan.steps, context=PEERS_CHANGES.encode(what))
        self._sleeping.wake(replica)
        self._context.touch(replica.id)
        proposed = replica.node.propose_change(change)
        if not isinstance(proposed, Proposed):
            log.info("the peers of region %s are not changed now: %s", replica.id, proposed)


def planned(region: Region, leader: PeerId, wanted: tuple[Peer, ...]) -> Plan | str:
    """How `region`, led by `leader`, comes to have the peers `wanted`; or why it cannot so."""
    before = {peer.id: peer for peer in region.peers}
    after = {peer.id: peer for peer in wanted}
    fault = _fault(before, after, leader)
    if fault:
        return fault
    come = [peer for peer in wanted if peer.id not in before]
    gone = [peer for peer in region.peers if peer.id not in after]
    turned = [peer for peer in wanted if peer.id in before and peer.role != before[peer.id].role]
    if len(come) + len(gone) + bool(turned) != 1:
        return "this is not one change"
    if gone:
        stay = tuple(peer for peer in region.peers if peer.id in after)
        return Plan((ChangeStep(ChangeKind.REMOVE, gone[0].id),), stay)
    if come:
        step = ChangeStep(ChangeKind.ADD_LEARNER, come[0].id)
        return Plan((step,), (*region.peers, come[0]))
    steps = tuple(ChangeStep(_KINDS[peer.role], peer.id) for peer in turned)
    roles = after if len(steps) == 1 else {**after, **_joint(turned)}
    return Plan(steps, tuple(roles[peer.id] for peer in region.peers))


_KINDS: Final = {
    PeerRole.VOTER: ChangeKind.ADD_VOTER,
    PeerRole.LEARNER: ChangeKind.ADD_LEARNER,
}

_JOINT_ROLES: Final = {
    PeerRole.VOTER: PeerRole.INCOMING_VOTER,
    PeerRole.LEARNER: PeerRole.DEMOTING_VOTER,
}


def _joint(turned: list[Peer]) -> dict[PeerId, Peer]:
    """Those that change their roles, as they are while both majorities count."""
    return {peer.id: Peer(peer.id, peer.store, _JOINT_ROLES[peer.role]) for peer in turned}


def _fault(before: dict[PeerId, Peer], after: dict[PeerId, Peer], leader: PeerId) -> str:
    """What is wrong with what is wanted; empty if nothing is."""
    peers = [*before.values(), *after.values()]
    if any(peer.role not in _KINDS for peer in peers):
        return "a joint state must be left first"
    if len({peer.store for peer in after.values()}) != len(after):
        return "a store holds one peer of a region at most"
    if any(before[one].store != after[one].store for one in before.keys() & after.keys()):
        return "a peer stays on its store"
    if leader not in after or after[leader].role is not PeerRole.VOTER:
        return "whoever leads stays a voter: it hands over first"
    if any(before[one].role is PeerRole.VOTER for one in before.keys() - after.keys()):
        return "a voter becomes a learner before it leaves"
    if any(after[one].role is PeerRole.VOTER for one in after.keys() - before.keys()):
        return "a voter comes as a learner"
    return ""


def _unfit(replica: Replica, plan: Plan) -> str:
    """Why the change may not be proposed now; empty if it may."""
    node = replica.node
    if replica.state is not ReplicaState.LIVE or replica.machine.state.merging is not None:
        return "the region is being merged, or its leader's replica is damaged"
    if replica.machine.state.term != node.term:
        return "its leader has not applied an entry of its own yet"
    if node.has_pending_change:
        return "another change is under way"
    progress = node.status().progress
    for step in plan.steps:
        if step.kind is ChangeKind.ADD_VOTER:
            known = progress[step.peer]
            behind = node.last_index - known.match
            away = known.state is not ProgressState.REPLICATE or not known.recent_active
            if away or behind > MOST_BEHIND:
                return f"peer {step.peer} is away, or {behind} entries behind"
    return ""
