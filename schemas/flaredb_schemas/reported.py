"""Regions and peers as heartbeats and events name them, and back."""

from flaredb_schemas.keys import KeyRange
from flaredb_schemas.placement import ROLE_NAMES, PeerReport, RegionReport
from flaredb_schemas.regions import Epoch, Peer, PeerRole, Region


def report_peers(peers: tuple[Peer, ...]) -> tuple[PeerReport, ...]:
    """Peers as a heartbeat names them."""
    return tuple(PeerReport(peer.id, peer.store, ROLE_NAMES[peer.role]) for peer in peers)


def reported_peers(reports: tuple[PeerReport, ...]) -> tuple[Peer, ...]:
    """The peers that a heartbeat names."""
    return tuple(Peer(report.id, report.store, PeerRole[report.role.upper()]) for report in reports)


def reported_region(report: RegionReport) -> Region:
    """The region that a heartbeat tells of; but for what it has absorbed, which few need."""
    return Region(
        report.id,
        KeyRange(report.start, report.end),
        Epoch(report.conf_ver, report.version),
        reported_peers(report.peers),
        reported_peers(report.removed),
    )
