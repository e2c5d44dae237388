"""A region has one set of peers per `conf_ver`, and majorities that follow each other meet."""

from flaredb.store import peer_orders
from flaredb.store.replica import Replica
from flaredb_schemas.ids import Index, PeerId, RegionId
from flaredb_schemas.membership import PEERS_CHANGES, PeersChange
from flaredb_schemas.raft import Entry, decode_change
from flaredb_schemas.regions import Peer, PeerRole, Region

BEFORE = (PeerRole.VOTER, PeerRole.DEMOTING_VOTER)
AFTER = (PeerRole.VOTER, PeerRole.INCOMING_VOTER)


class MembersAgree:
    """Remembers the peers of each region at each of its `conf_ver`."""

    def __init__(self) -> None:
        self._peers: dict[tuple[RegionId, int], tuple[Peer, ...]] = {}
        self.applied: set[tuple[RegionId, Index]] = set()
        """The entries that changed peers."""

    def look(self, before: Region, replica: Replica, entry: Entry) -> None:
        """The membership entry `entry` was applied to a region that was `before` until then."""
        after = replica.region
        if after == before:
            return
        self.applied.add((before.id, entry.index))
        change = decode_change(entry.data)
        if not change.leaves_joint:
            what = PEERS_CHANGES.decode(change.context)
            assert isinstance(what, PeersChange), what
            named, found = what.conf_ver, before.epoch.conf_ver
            assert named == found, f"a change for {named} took effect at {found}: {before.id}"
        assert after.epoch.conf_ver == before.epoch.conf_ver + 1
        _check_proposer(before, replica, entry)
        known = self._peers.setdefault((after.id, after.epoch.conf_ver), after.peers)
        assert known == after.peers, f"region {after.id} has peers {after.peers} and {known}"
        _check_overlap(before, after)


def _check_proposer(before: Region, replica: Replica, entry: Entry) -> None:
    """Whoever proposed the change keeps its vote, and gives none to who lacks much."""
    node, after = replica.node, replica.region
    if node.leader != replica.peer or node.term != entry.term:
        return  # it was proposed by another one, or led no longer
    mine = after.peer(replica.peer)
    keeps = mine is not None and mine.role in (PeerRole.VOTER, PeerRole.INCOMING_VOTER)
    assert keeps, f"peer {replica.peer} of region {before.id} has taken its own vote away"
    progress = node.status().progress
    for peer in voters(after, AFTER) - voters(before, AFTER):
        lacks = entry.index - 1 - progress[peer].match
        assert lacks <= peer_orders.MOST_BEHIND, f"peer {peer} votes, and lacks {lacks} entries"


def _check_overlap(before: Region, after: Region) -> None:
    """Majorities meet if at most one voter came or went, in each of two halves."""
    old, new = voters(before, AFTER), voters(after, BEFORE)
    assert len(old ^ new) <= 1, f"region {before.id}: voters {sorted(old)}, then {sorted(new)}"


def voters(region: Region, roles: tuple[PeerRole, ...]) -> set[PeerId]:
    """Those of the region's peers whose vote counts in one half."""
    return {peer.id for peer in region.peers if peer.role in roles}
