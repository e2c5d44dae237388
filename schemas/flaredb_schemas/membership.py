"""How the peers of a region change: what PD orders, and what stands in the region's log.

A change of peers is a membership entry of the region's Raft group, whose context says what the
region's peers are from that entry on. Where it takes two majorities, the entry opens a joint
configuration, which the leader leaves by an entry without context as soon as it has applied it.
"""

from typing import Annotated, Final

from msgspec import Meta, Struct

from flaredb_schemas.commands import Key
from flaredb_schemas.envelope import Codec
from flaredb_schemas.ids import BootCounter, ClusterId, PeerId, RegionId, StoreId
from flaredb_schemas.regions import Count, Epoch, Peer, Region

MAX_PEERS: Final = 32
"""How many peers a region may have, of all roles."""

MOST_FORGOTTEN: Final = 64
"""How many peers that have left are forgotten at a time, as in `ForgetRemoved`."""

Peers = Annotated[tuple[Peer, ...], Meta(min_length=1, max_length=MAX_PEERS)]


class OrderPeers(Struct, frozen=True, array_like=True, tag=7):
    """Have `leader` see to it that its region's peers are `peers`, voters and learners.

    One change: some learners come, or go, or change roles with voters. `operator` is PD's number
    for what this is a step of, `reason` why that is done. Obeyed at this very epoch only, and as
    soon as no voter comes of a learner that is far behind.
    """

    region: RegionId
    epoch: Epoch
    leader: PeerId
    peers: Peers
    operator: Count
    reason: Annotated[str, Meta(max_length=64)]


class AskFate(Struct, frozen=True, array_like=True):
    """A replica hears of no leader, or is in another's way: what of it (`pd.req.<store>.fate`)?

    What it asks is whether `peer` is still a member of `region`, whose `epoch` and `start` are as
    known there. Asked again as long as that is so.
    """

    store: StoreId
    boot: BootCounter
    cluster: ClusterId
    region: RegionId
    peer: PeerId
    epoch: Epoch
    start: Key


class TellFate(Struct, frozen=True, array_like=True, tag=8):
    """PD's answer to `AskFate`, where it knows better: by `record` the peer is a member no more.

    `record` is that of the region itself, with a higher `conf_ver` and without the peer; or that of
    one which names the asked region among those that it has absorbed.
    """

    region: RegionId
    peer: PeerId
    record: Region


class ForgetPeers(Struct, frozen=True, array_like=True, tag=9):
    """Have `leader` forget that these peers have left its region.

    Their stores are no part of the cluster any more, so nobody will ever confirm that nothing is
    left of them. Obeyed at this very epoch only.
    """

    region: RegionId
    epoch: Epoch
    leader: PeerId
    peers: Annotated[tuple[PeerId, ...], Meta(min_length=1, max_length=MOST_FORGOTTEN)]


class PeersChange(Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    """The context of a membership entry: the region's peers from there on, with their roles.

    Takes effect only where the region has this `conf_ver`, and no merge has frozen it. `time` is
    the proposer's, in milliseconds since 1970; the rest tells why, as in `OrderPeers`.
    """

    time: Count
    conf_ver: Count
    peers: Peers
    operator: Count
    reason: Annotated[str, Meta(max_length=64)]


PEERS_CHANGES: Final[Codec[PeersChange]] = Codec(PeersChange)
