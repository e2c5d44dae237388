"""What travels between stores: Raft messages of many regions, beats, and snapshots in pieces.

A frame is a list of items, so that one message on the bus serves every region that two stores have
in common. All items of one region to one store in one turn stand in one frame, in order.
"""

from msgspec import Struct

from flaredb_schemas.ids import BootCounter, Index, PeerId, RegionId, Term
from flaredb_schemas.raft import Message, SnapshotMeta
from flaredb_schemas.regions import Count, Epoch, Region


class RaftItem(Struct, frozen=True, array_like=True, tag=1):
    """One Raft message between two peers of one region.

    `epoch` is the sender's. `record` is the sender's region record; it comes with vote and pre-vote
    requests and with probing appends, which may meet a store that does not host the region yet.
    """

    region: RegionId
    from_peer: PeerId
    to_peer: PeerId
    epoch: Epoch
    message: Message
    record: Region | None = None


class NotHosted(Struct, frozen=True, array_like=True, gc=False, tag=2):
    """The store does not host the region (FR-002). Never answered, and no leave to destroy.

    `is_lost`: the peer was there, and is out of service for good: it was buried, or is damaged.
    """

    region: RegionId
    peer: PeerId
    """The peer that was addressed, and is not there."""
    to_peer: PeerId
    is_welcome: bool = False
    """Whether it could be: the message told of the region, and nothing here stands in its way."""
    is_lost: bool = False


class SleepOffer(Struct, frozen=True, array_like=True, gc=False, tag=3):
    """The leader: everything is everywhere and applied up to `index`; let us sleep."""

    region: RegionId
    from_peer: PeerId
    to_peer: PeerId
    term: Term
    index: Index


class SleepAgreed(Struct, frozen=True, array_like=True, gc=False, tag=4):
    """The follower: so it is with me; I stop my timers until something happens."""

    region: RegionId
    from_peer: PeerId
    to_peer: PeerId
    term: Term
    index: Index


class Published(Struct, frozen=True, array_like=True, gc=False, tag=5):
    """The leader: events of entries up to `index` are in the stream; forget them."""

    region: RegionId
    to_peer: PeerId
    index: Index


class Blocked(Struct, frozen=True, array_like=True, gc=False, tag=6):
    """The store cannot take the peer yet: another replica holds keys of its range. Wait."""

    region: RegionId
    peer: PeerId
    """The peer that was addressed, and cannot be there yet."""
    to_peer: PeerId


class Removed(Struct, frozen=True, array_like=True, tag=7):
    """A member: your peer `peer` has left the region, whose committed `record` lists it no more.

    Nothing of it is needed any longer, whether it was ever there or not. Repeated until `Buried`.
    """

    region: RegionId
    peer: PeerId
    from_peer: PeerId
    record: Region


class Buried(Struct, frozen=True, array_like=True, gc=False, tag=8):
    """The store: `peer` is gone for good, and that is saved; it will never be here again."""

    region: RegionId
    peer: PeerId
    to_peer: PeerId


Item = RaftItem | NotHosted | SleepOffer | SleepAgreed | Published | Blocked | Removed | Buried


class StoreFrame(Struct, frozen=True, array_like=True):
    """Items from one store to another. A frame without items is a beat: the store lives."""

    boot: BootCounter
    items: tuple[Item, ...] = ()
    is_full: bool = False
    """Whether the sender's file system has no more than a reserve left."""


class Transfer(Struct, frozen=True, array_like=True, gc=False, order=True):
    """One attempt to bring a snapshot across: the sender's boot, and its count of attempts."""

    boot: BootCounter
    number: Count


class SnapshotHeader(Struct, frozen=True, array_like=True, tag=1):
    """A snapshot is ready to be fetched: `size` bytes of rows, and the records that go with them.

    `applied` is the encoded applied state at `meta.index`, as the sender had it on disk.
    """

    transfer: Transfer
    region: Region
    from_peer: PeerId
    to_peer: PeerId
    term: Term
    meta: SnapshotMeta
    applied: bytes
    size: Count
    rows: Count
    row_bytes: Count


class SnapshotPull(Struct, frozen=True, array_like=True, gc=False, tag=2):
    """The receiver asks for the bytes from `offset`, which also says that it has all before."""

    transfer: Transfer
    region: RegionId
    offset: Count


class SnapshotChunk(Struct, frozen=True, array_like=True, gc=False, tag=3):
    """Some bytes of the file. `checksum` is the CRC-32 of `data`."""

    transfer: Transfer
    region: RegionId
    offset: Count
    data: bytes
    checksum: Count


class SnapshotEnded(Struct, frozen=True, array_like=True, gc=False, tag=4):
    """Either side: this attempt is over. `ok` if the snapshot is installed."""

    transfer: Transfer
    region: RegionId
    ok: bool
    reason: str


SnapshotItem = SnapshotHeader | SnapshotPull | SnapshotChunk | SnapshotEnded
