"""How far an operator is, and what is next: read off its region, as its leader tells of it.

Nothing else counts: no acknowledgement, and nothing that this PD has done before. So an operator
goes on under any PD, at whatever step it was. A step is a change that keeps a majority throughout:

    a learner is added → who leads and is to go hands over → the learner becomes a voter and the
    replica that is to go a learner, in one change → that one is removed

A region without another voter has its learner promoted before the leader hands over to it.

A store that gets a replica, or is to lead, is waited for while it is away, and given up when it is
down; not where its new replica votes already: then it is nearer to go on than to go back.
"""

from collections.abc import Callable, Iterable
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from flaredb_pd.availability import IsUp, has_majority
from flaredb_pd.operators import Operator
from flaredb_pd.region_map import Sighting
from flaredb_schemas.ids import NO_PEER, PeerId, StoreId
from flaredb_schemas.membership import OrderPeers
from flaredb_schemas.operators import OperatorOutcome, OperatorStep
from flaredb_schemas.placement import (
    PeerReport,
    TransferLeader,
)
from flaredb_schemas.regions import Peer, PeerRole, Region
from flaredb_schemas.reported import reported_peers

CHANGED_OTHERWISE: Final = "the region's peers have changed otherwise"

MOST_OF_A_REASON: Final = 64
"""How many characters of its reason an order names."""

JOINT: Final = (PeerRole.INCOMING_VOTER, PeerRole.DEMOTING_VOTER)


class StoresNow(Struct, frozen=True):
    """What a step depends on beside its region: which stores are up, which have been away for so
    long that they are down, how many regions each leads, and which are to be emptied. `asked` is
    whom the leader was told last to hand over to."""

    is_up: IsUp
    is_down: IsUp
    leaders: Callable[[StoreId], int]
    leaves: Callable[[StoreId], bool]
    asked: PeerId = NO_PEER


class Next(Struct, frozen=True):
    """What is to be ordered of who leads the region; `why` says it in words."""

    body: OrderPeers | TransferLeader
    why: str


class Waits(Struct, frozen=True):
    """Nothing can be ordered now; `ask` if a report would help, since none comes by itself."""

    why: str
    ask: bool = False


class Over(Struct, frozen=True):
    """There is nothing left to do, or it cannot be done any more."""

    outcome: OperatorOutcome
    reason: str = ""


Look = Next | Waits | Over


def look(operator: Operator, sighting: Sighting, stores: StoresNow) -> Look:
    """What is next for an operator whose region a leader has told of."""
    region, started = sighting.region, operator.started
    assert region.id == started.region and sighting.report is not None
    if not explains(operator, region):
        return Over("refused", CHANGED_OTHERWISE)
    if any(peer.role in JOINT for peer in region.peers):
        return Waits("for the leader to leave the joint majorities")
    if started.to != NO_PEER:
        return _transfer(started.to, sighting, stores)
    return _change(operator, sighting, stores)


def steps_done(operator: Operator, sighting: Sighting) -> tuple[OperatorStep, ...]:
    """Which steps the region shows to be done, in their order."""
    started, region = operator.started, sighting.region
    add, remove = (_role(region, peer) for peer in (started.add, started.remove))
    leads_away = started.remove is not None and started.leader == started.remove.id
    outgoing = started.remove is None or remove not in (PeerRole.VOTER, PeerRole.DEMOTING_VOTER)
    incoming = started.add is None or add is PeerRole.VOTER
    found: list[OperatorStep] = []
    if started.add is not None and add is not None:
        found.append("learner_added")
    if leads_away and sighting.leader not in (NO_PEER, started.leader):
        found.append("leader_moved")
    if (started.add is not None or _was_voter(started.remove)) and incoming and outgoing:
        found.append("voters_changed")
    return tuple(found)


def explains(operator: Operator, region: Region) -> bool:
    """Whether the operator's own steps lead from the region as it was to what it is now."""
    started = operator.started
    own = {peer.id for peer in (started.add, started.remove) if peer is not None}
    was = {peer for peer in reported_peers(started.before.peers) if peer.id not in own}
    if was != {peer for peer in region.peers if peer.id not in own}:
        return False
    halves = _halves_added(started.add, region), _halves_removed(started.remove, region)
    if None in halves:
        return False
    changes = (sum(half for half in halves if half is not None) + 1) // 2
    return region.epoch.conf_ver <= started.before.conf_ver + changes


def _halves_added(add: PeerReport | None, region: Region) -> int | None:
    """How many half changes it took until the new peer is what it is; None: it cannot be that."""
    table = {None: 0, PeerRole.LEARNER: 2, PeerRole.INCOMING_VOTER: 3, PeerRole.VOTER: 4}
    return table.get(_role(region, add))


def _halves_removed(remove: PeerReport | None, region: Region) -> int | None:
    if remove is None:
        return 0
    if not _was_voter(remove):
        return {None: 2, PeerRole.LEARNER: 0}.get(_role(region, remove))
    table = {PeerRole.VOTER: 0, PeerRole.DEMOTING_VOTER: 1, PeerRole.LEARNER: 2, None: 4}
    return table.get(_role(region, remove))


def _was_voter(remove: PeerReport | None) -> bool:
    return remove is not None and remove.role != "learner"


def _role(region: Region, told: PeerReport | None) -> PeerRole | None:
    peer = region.peer(told.id) if told is not None else None
    return peer.role if peer is not None else None


def _transfer(to: PeerId, sighting: Sighting, stores: StoresNow) -> Look:
    if sighting.leader == to:
        return Over("done")
    target = sighting.region.peer(to)
    assert target is not None, "an operator explains only regions that have its peer"
    if not stores.is_up(target.store):
        return _away(target.store, stores)
    return _hand_over(sighting, target)


def _away(store: StoreId, stores: StoresNow) -> Look:
    """A store that is not up is to get something."""
    if stores.is_down(store):
        return Over("cancelled", f"store {store} is down")
    return Waits(f"for store {store} to be up")


def _change(operator: Operator, sighting: Sighting, stores: StoresNow) -> Look:
    region, started = sighting.region, operator.started
    new = region.peer(started.add.id) if started.add is not None else None
    old = region.peer(started.remove.id) if started.remove is not None else None
    joins = started.add is not None and (new is None or new.role is PeerRole.LEARNER)
    leaves = old is not None and old.role is PeerRole.VOTER
    if started.add is not None and joins and not stores.is_up(started.add.store):
        return _away(started.add.store, stores)
    if started.add is not None and new is None:
        learner = Peer(started.add.id, started.add.store, PeerRole.LEARNER)
        why = f"have store {learner.store} get a replica"
        return _order(operator, sighting, (*region.peers, learner), why)
    if leaves and old is not None and sighting.leader == old.id:
        return _lead_away(operator, sighting, old, new if joins else None, stores)
    if joins or leaves:
        return _swap(operator, sighting, new, old, stores)
    if old is not None:
        stay = tuple(peer for peer in region.peers if peer.id != old.id)
        return _order(operator, sighting, stay, f"remove the replica from store {old.store}")
    return Over("done")


def _swap(
    operator: Operator, sighting: Sighting, new: Peer | None, old: Peer | None, stores: StoresNow
) -> Look:
    peers = _swapped(sighting.region, new, old)
    if not has_majority((peer for peer in peers if peer.role is PeerRole.VOTER), stores.is_up):
        return Waits("for a majority of those who will vote to be up")
    return _order(operator, sighting, peers, "change who votes")


def _lead_away(
    operator: Operator, sighting: Sighting, old: Peer, learner: Peer | None, stores: StoresNow
) -> Look:
    """The leader is to go: another one leads first."""
    region = sighting.region
    others = [peer for peer in region.peers if peer.role is PeerRole.VOTER and peer.id != old.id]
    if not others and learner is not None:
        return _swap(operator, sighting, learner, None, stores)
    lag = _lag(sighting, learner) if learner is not None else None
    if lag is not None and learner is not None:
        # Who leads next would begin anew to bring it up to date.
        return Waits(f"for store {learner.store} to catch up: {lag} entries are missing", ask=True)
    target = _best_leader(sighting, others, stores)
    if target is None:
        return Waits("for another replica that can lead", ask=True)
    return _hand_over(sighting, target)


def _best_leader(sighting: Sighting, others: Iterable[Peer], stores: StoresNow) -> Peer | None:
    """Of those on stores that are up who have everything and answer their leader: who was asked
    already, else one on a store that is to stay, and that leads the fewest regions."""
    report = sighting.report
    assert report is not None
    lame = {*(one.peer for one in report.pending), *(one.peer for one in report.down)}
    lame |= {*report.lost}
    able = (peer for peer in others if stores.is_up(peer.store) and peer.id not in lame)

    def rank(peer: Peer) -> tuple[bool, bool, int, PeerId]:
        leaders = stores.leaders(peer.store)
        return peer.id != stores.asked, stores.leaves(peer.store), leaders, peer.id

    return min(able, key=rank, default=None)


def _lag(sighting: Sighting, learner: Peer) -> int | None:
    assert sighting.report is not None
    found = (one.behind for one in sighting.report.pending if one.peer == learner.id)
    return next(found, None)


def _swapped(region: Region, new: Peer | None, old: Peer | None) -> tuple[Peer, ...]:
    roles = {
        **({new.id: PeerRole.VOTER} if new is not None else {}),
        **({old.id: PeerRole.LEARNER} if old is not None else {}),
    }
    return tuple(replace(peer, role=roles.get(peer.id, peer.role)) for peer in region.peers)


def _hand_over(sighting: Sighting, target: Peer) -> Next:
    region = sighting.region
    body = TransferLeader(region.id, region.epoch, sighting.leader, target.id)
    return Next(body, f"have store {target.store} lead")


def _order(operator: Operator, sighting: Sighting, peers: tuple[Peer, ...], why: str) -> Next:
    region, started = sighting.region, operator.started
    leader, number, reason = sighting.leader, operator.id, started.reason[:MOST_OF_A_REASON]
    return Next(OrderPeers(region.id, region.epoch, leader, peers, number, reason), why)
