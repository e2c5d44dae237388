"""What has happened to regions and stores: facts with stable ids, as JSON that people can read.

An event that comes from the log is named by its entry (`region.term.index.kind.n`) and says only
what stands in the entry, so every replica would say the same bytes; who published it stands in the
subject and the headers. An event of a store by itself is named `store.boot.n`, what PD tells about
a store `pd.epoch.store.n`. Consumers key on the id, and order the events of a region by `index`.
"""

from typing import Any, Final

import msgspec
from msgspec import Struct

from flaredb_schemas.ids import BootCounter, Index, PeerId, RegionId, StoreId, Term
from flaredb_schemas.placement import PeerReport


class LeaderChanged(
    Struct, frozen=True, kw_only=True, tag_field="type", tag="region.leader_changed"
):
    """A new leader's first own entry was applied. `at` is milliseconds since 1970, its clock."""

    id: str
    at: int
    region: RegionId
    term: Term
    index: Index
    leader: PeerId
    store: StoreId
    previous: PeerId


class SplitPart(Struct, frozen=True, kw_only=True):
    """One of the regions after a split, or one of the two before a merge.

    `start` and `end` are base64, their twins are for people. `keys` and `bytes` are what was
    counted for the split before it was proposed, or the region's own figures at the merge.
    """

    id: RegionId
    start: bytes
    end: bytes
    start_text: str
    end_text: str
    peers: tuple[PeerReport, ...]
    keys: int
    bytes: int


class RegionSplit(Struct, frozen=True, kw_only=True, tag_field="type", tag="region.split"):
    """A region was cut: `parts` in key order, the first of which is the region itself.

    All of them have `version` and `conf_ver`. `trigger` is `bytes`, `keys`, `load`, or `manual`
    where somebody wished for it. Times are milliseconds since 1970: `triggered` when the split was
    wanted (by load: when that had passed its mark, which it then had to hold), `at` when it was
    proposed.
    """

    id: str
    at: int
    region: RegionId
    term: Term
    index: Index
    version: int
    conf_ver: int
    trigger: str
    triggered: int
    parts: tuple[SplitPart, ...]


class PeersChanged(Struct, frozen=True, kw_only=True, tag_field="type", tag="region.peers_changed"):
    """The peers of a region are others from this entry on; it has `conf_ver` now.

    While a peer is `incoming_voter` or `demoting_voter` both majorities are needed; the next such
    event ends that. `removed` are those that have left, now or before, and may still be on disk.
    `operator` is PD's number for what this was a step of (0: of nothing), `reason` why that was
    done. `at` is when it was proposed, or as of which write it took effect.
    """

    id: str
    at: int
    region: RegionId
    term: Term
    index: Index
    version: int
    conf_ver: int
    peers: tuple[PeerReport, ...]
    removed: tuple[PeerReport, ...]
    operator: int
    reason: str


class MergePrepared(
    Struct, frozen=True, kw_only=True, tag_field="type", tag="region.merge_prepared"
):
    """A region is to become a part of its neighbour `target`, and serves nobody meanwhile.

    `version` and `conf_ver` are its own, as they stay. Times as in `RegionSplit`.
    """

    id: str
    at: int
    region: RegionId
    term: Term
    index: Index
    version: int
    conf_ver: int
    target: RegionId
    trigger: str
    triggered: int


class RegionMerged(Struct, frozen=True, kw_only=True, tag_field="type", tag="region.merged"):
    """A region has absorbed its neighbour `source`, which is no more.

    `before` are the two as they were, in key order, with what they held; the rest tells of what
    the region is now. Times as in `RegionSplit`.
    """

    id: str
    at: int
    region: RegionId
    term: Term
    index: Index
    version: int
    conf_ver: int
    source: RegionId
    trigger: str
    triggered: int
    start: bytes
    end: bytes
    start_text: str
    end_text: str
    keys: int
    bytes: int
    before: tuple[SplitPart, ...]


class MergeAborted(Struct, frozen=True, kw_only=True, tag_field="type", tag="region.merge_aborted"):
    """A region does not absorb `source` after all, and why; it has `version` now."""

    id: str
    at: int
    region: RegionId
    term: Term
    index: Index
    version: int
    conf_ver: int
    source: RegionId
    reason: str = ""


class MergeRolledBack(
    Struct, frozen=True, kw_only=True, tag_field="type", tag="region.merge_rolled_back"
):
    """A region that was to become a part of `target` stays what it was, and serves again."""

    id: str
    at: int
    region: RegionId
    term: Term
    index: Index
    target: RegionId


class ReplicaLost(Struct, frozen=True, kw_only=True, tag_field="type", tag="region.replica_lost"):
    """A store no longer has a replica that had acknowledged entries, or has it damaged."""

    id: str
    at: int
    region: RegionId
    peer: PeerId
    store: StoreId
    reason: str


class SnapshotInstalled(
    Struct, frozen=True, kw_only=True, tag_field="type", tag="region.snapshot_installed"
):
    """A replica caught up by a snapshot. `bytes` are keys and values; `ms` the whole transfer."""

    id: str
    at: int
    region: RegionId
    peer: PeerId
    store: StoreId
    term: Term
    index: Index
    rows: int
    bytes: int
    ms: int


class SplitSkipped(Struct, frozen=True, kw_only=True, tag_field="type", tag="region.split_skipped"):
    """A region is larger or busier than it should be, and cannot be cut.

    Told once per `version` and `keys`, of load once per `version`. `bytes` are keys and values;
    `trigger` is what the region had too much of: `bytes`, `keys` or `load`.
    """

    id: str
    at: int
    region: RegionId
    store: StoreId
    version: int
    trigger: str
    reason: str
    keys: int
    bytes: int


class StoreStarted(Struct, frozen=True, kw_only=True, tag_field="type", tag="store.started"):
    """A store was accepted by PD and serves; `regions` is how many replicas it found on disk."""

    id: str
    at: int
    store: StoreId
    boot: BootCounter
    regions: int
    version: str


class StoreStopped(Struct, frozen=True, kw_only=True, tag_field="type", tag="store.stopped"):
    """A store stops as asked, after it handed over `leaders_moved` leaderships."""

    id: str
    at: int
    store: StoreId
    boot: BootCounter
    leaders_moved: int


class _StoreHealth(Struct, frozen=True, kw_only=True):
    """What PD hears of a store. `boot` is its last accepted start; `silent_ms` how long nothing was
    heard of it before this; `previous` is `unknown` where this reign of PD tells of it first."""

    id: str
    at: int
    store: StoreId
    boot: BootCounter
    previous: str
    silent_ms: int


class StoreUp(_StoreHealth, frozen=True, kw_only=True, tag_field="type", tag="store.up"):
    """PD hears the store: for the first time in its reign, or again."""


class StoreDisconnected(
    _StoreHealth, frozen=True, kw_only=True, tag_field="type", tag="store.disconnected"
):
    """PD has not heard the store for some seconds (its setting `store_disconnected_seconds`)."""


class StoreDown(_StoreHealth, frozen=True, kw_only=True, tag_field="type", tag="store.down"):
    """PD has not heard the store for longer (its setting `store_down_seconds`)."""


StoreEvent = StoreUp | StoreDisconnected | StoreDown

Event = (
    LeaderChanged
    | RegionSplit
    | PeersChanged
    | MergePrepared
    | RegionMerged
    | MergeAborted
    | MergeRolledBack
    | ReplicaLost
    | SnapshotInstalled
    | SplitSkipped
    | StoreStarted
    | StoreStopped
    | StoreUp
    | StoreDisconnected
    | StoreDown
)

EVENT_TYPES: Final[tuple[type[Event], ...]] = (
    LeaderChanged,
    RegionSplit,
    PeersChanged,
    MergePrepared,
    RegionMerged,
    MergeAborted,
    MergeRolledBack,
    ReplicaLost,
    SnapshotInstalled,
    SplitSkipped,
    StoreStarted,
    StoreStopped,
    StoreUp,
    StoreDisconnected,
    StoreDown,
)

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Event)


def entry_event_id(region: RegionId, term: Term, index: Index, what: str, number: int) -> str:
    """The id of the event `number` of its kind (`what`, without the noun) that an entry emits."""
    return f"{region}.{term}.{index}.{what}.{number}"


def kind_of(event: Event) -> str:
    """The event's type, `noun.what`, as it stands in subject and payload."""
    tag = event.__struct_config__.tag
    assert isinstance(tag, str)
    return tag


def about(event: Event) -> int:
    """The id of the region or store that the event is about, as it stands in the subject."""
    match event:
        case LeaderChanged() | RegionSplit() | ReplicaLost() | SnapshotInstalled() | SplitSkipped():
            return event.region
        case MergePrepared() | PeersChanged() | RegionMerged() | MergeAborted() | MergeRolledBack():
            return event.region
        case StoreStarted() | StoreStopped() | StoreUp() | StoreDisconnected() | StoreDown():
            return event.store


def encode_event(event: Event) -> bytes:
    """The event as JSON."""
    return _encoder.encode(event)


def decode_event(payload: bytes) -> Event:
    """The event in `payload`; raises `msgspec.DecodeError`, so look at `ce-type` first."""
    event: Event = _decoder.decode(payload)
    return event


def cloud_headers(event: Event, cluster: str, publisher: str) -> dict[str, str]:
    """The CloudEvents 1.0 attributes of `event` as NATS headers (binary mode).

    `Nats-Msg-Id` makes JetStream drop a second copy within its window.
    """
    fields: dict[str, Any] = msgspec.structs.asdict(event)
    kind = kind_of(event)
    return {
        "Nats-Msg-Id": f"{cluster}.{fields['id']}",
        "ce-specversion": "1.0",
        "ce-id": fields["id"],
        "ce-source": f"/flaredb/{cluster}/{publisher}",
        "ce-type": f"io.flaredb.{kind}.v1",
        "ce-subject": f"{kind.split('.')[0]}/{about(event)}",
        "ce-datacontenttype": "application/json",
    }
