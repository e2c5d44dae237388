"""A region as PD moves its replicas: what leaders do with an order, without logs, without data."""

from collections.abc import Set

from msgspec.structs import replace

from flaredb_schemas.ids import NO_PEER, PeerId, StoreId
from flaredb_schemas.membership import ForgetPeers, OrderPeers
from flaredb_schemas.placement import (
    DownPeer,
    PendingPeer,
    RegionReport,
    TransferLeader,
)
from flaredb_schemas.regions import Epoch, Peer, PeerRole, Region
from flaredb_schemas.reported import report_peers
from tests.pd.builders import region_report

JOINT = {
    PeerRole.INCOMING_VOTER: PeerRole.VOTER,
    PeerRole.DEMOTING_VOTER: PeerRole.LEARNER,
}


class FakeRegion:
    """One region.

    Invariants: the leader is a voter that is not lost; no two peers are on one store; nobody leads
    without a majority of the voters on stores that are up.
    """

    def __init__(self, region: Region) -> None:
        self.region = region
        self.leader = region.peers[0].id
        self.term = 6
        self.lag: dict[PeerId, int] = {}
        """How many entries each peer that lags lacks."""
        self.new_lag = 0
        """How many entries a new learner lacks."""
        self.lost: set[PeerId] = set()
        """Whose records are damaged: they vote no more, and nothing makes them well."""

    @property
    def store(self) -> StoreId:
        """Who leads it."""
        peer = self.region.peer(self.leader)
        return peer.store if peer is not None else StoreId(0)

    @property
    def is_joint(self) -> bool:
        """Whether both majorities count now."""
        return any(peer.role in JOINT for peer in self.region.peers)

    def voters(self, before: bool = False) -> list[Peer]:
        """Who votes after a change of members, or before it."""
        gone = PeerRole.INCOMING_VOTER if before else PeerRole.DEMOTING_VOTER
        return [one for one in self.region.peers if one.role not in (PeerRole.LEARNER, gone)]

    def can_decide(self, up: Set[StoreId]) -> bool:
        """Whether the majorities that count are on stores that are up."""
        sides = (self.voters(), self.voters(before=True))
        return all(2 * sum(self._votes(one, up) for one in side) > len(side) for side in sides)

    def _votes(self, peer: Peer, up: Set[StoreId]) -> bool:
        return peer.store in up and peer.id not in self.lost

    def damage(self, peer: PeerId) -> None:
        """A record of this replica is not what was written; where it led, nobody leads now."""
        self.lost.add(peer)
        if peer == self.leader:
            self.leader = NO_PEER

    def elect(self, up: Set[StoreId], away_from: PeerId = NO_PEER) -> bool:
        """Have somebody else lead, if anybody can."""
        able = [one.id for one in self.voters() if self._votes(one, up) and one.id not in self.lag]
        able = [one for one in able if one != away_from] or able
        if not able or not self.can_decide(up):
            self.leader = NO_PEER
            return False
        self.leader, self.term = able[0], self.term + 1
        return True

    def hand_over(self, order: TransferLeader, up: Set[StoreId]) -> bool:
        """Obey, or do nothing."""
        target = self.region.peer(order.to)
        fits = order.epoch == self.region.epoch and order.leader == self.leader
        able = target is not None and target in self.voters() and self._votes(target, up)
        if not fits or not able or order.to in self.lag:
            return False
        self.leader, self.term = order.to, self.term + 1
        return True

    def change(self, order: OrderPeers, up: Set[StoreId]) -> bool:
        """Obey, or do nothing; what no leader may be ordered to do is an error of the test."""
        if order.epoch != self.region.epoch or order.leader != self.leader:
            return False
        self._check(order)
        before = {peer.id: peer for peer in self.region.peers}
        rises = [
            peer.id
            for peer in order.peers
            if peer.role is PeerRole.VOTER and before[peer.id].role is PeerRole.LEARNER
        ]
        lame = self.lag.keys() | self.lost
        if not self.can_decide(up) or any(peer in lame for peer in rises):
            return False
        falls = [
            peer.id
            for peer in order.peers
            if peer.role is PeerRole.LEARNER
            and peer.id in before
            and before[peer.id].role is PeerRole.VOTER
        ]
        joint = len(rises) + len(falls) > 1
        now = tuple(_amid(peer, rises, falls) if joint else peer for peer in order.peers)
        for peer in order.peers:
            if peer.id not in before and self.new_lag:
                self.lag[peer.id] = self.new_lag
        self._become(now)
        return True

    def forget(self, order: ForgetPeers, up: Set[StoreId]) -> bool:
        """Obey, or do nothing."""
        if order.epoch != self.region.epoch or order.leader != self.leader:
            return False
        gone = {peer.store for peer in self.region.removed if peer.id in order.peers}
        assert not gone & up, "a store that is there could confirm it"
        left = tuple(peer for peer in self.region.removed if peer.id not in order.peers)
        changed = left != self.region.removed
        self.region = replace(self.region, removed=left)
        return changed

    def leave_joint(self, up: Set[StoreId]) -> bool:
        """What a leader does by itself."""
        if not self.is_joint or not self.can_decide(up) or self.leader == NO_PEER:
            return False
        peers = self.region.peers
        self._become(tuple(replace(one, role=JOINT.get(one.role, one.role)) for one in peers))
        return True

    def clean_up(self, up: Set[StoreId]) -> bool:
        """Stores confirm that they have buried what was removed."""
        left = tuple(peer for peer in self.region.removed if peer.store not in up)
        changed = left != self.region.removed
        self.region = replace(self.region, removed=left)
        return changed

    def report(self, up: Set[StoreId]) -> RegionReport:
        """What the leader tells."""
        leader = self.region.peer(self.leader)
        assert leader is not None
        down = [peer.id for peer in self.region.peers if peer.store not in up]
        lags = {peer: lag for peer, lag in self.lag.items() if self.region.peer(peer) is not None}
        return replace(
            region_report(self.region, leader, self.term),
            pending=tuple(PendingPeer(peer, lag) for peer, lag in sorted(lags.items())),
            down=tuple(DownPeer(peer, 9) for peer in down),
            removed=report_peers(self.region.removed),
            lost=tuple(peer.id for peer in self.region.peers if peer.id in self.lost),
        )

    def _check(self, order: OrderPeers) -> None:
        region = self.region
        assert not self.is_joint, "a change is ordered amid another"
        roles = {peer.id: peer.role for peer in order.peers}
        assert roles.get(self.leader) is PeerRole.VOTER, "a leader is to remove itself"
        assert len({peer.store for peer in order.peers}) == len(order.peers), "two on one store"
        for peer in order.peers:
            if region.peer(peer.id) is None:
                assert peer.role is PeerRole.LEARNER, "what comes must first learn"
                buried = [one.store for one in region.removed]
                assert peer.store not in buried, "a store that is not clean gets another replica"
        for peer in region.peers:
            assert peer.id in roles or peer.role is PeerRole.LEARNER, "who votes is to go at once"

    def _become(self, peers: tuple[Peer, ...]) -> None:
        region, kept = self.region, {peer.id for peer in peers}
        gone = tuple(peer for peer in region.peers if peer.id not in kept)
        epoch = Epoch(region.epoch.conf_ver + 1, region.epoch.version)
        removed = (*region.removed, *gone)
        self.region = replace(region, epoch=epoch, peers=peers, removed=removed)
        for peer in gone:
            self.lag.pop(peer.id, None)


def _amid(peer: Peer, rises: list[PeerId], falls: list[PeerId]) -> Peer:
    if peer.id in rises:
        return replace(peer, role=PeerRole.INCOMING_VOTER)
    return replace(peer, role=PeerRole.DEMOTING_VOTER) if peer.id in falls else peer
