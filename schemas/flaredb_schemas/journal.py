"""PD's facts: the records of its journal, which are its published decisions at the same time.

One write is both. A record is JSON that people can read, named `pd.epoch.n`; `n` counts the records
of one reign from 1, so a reader sees that nothing is missing. Every record that grants ids says how
far ids are granted after it. Records stand in FLAREDB_PD in the order in which they took effect.
A plain subscriber also hears what JetStream refused, because its place was taken: only what stands
in the stream counts. How they are written and read stands in `records`, the facts about operators
in `operators`.
"""

from msgspec import Struct

from flaredb_schemas.ids import (
    BootCounter,
    ClusterId,
    Generation,
    JournalSequence,
    PdEpoch,
    PdIncarnation,
    PeerId,
    RegionId,
    StoreId,
    StoreUuid,
)
from flaredb_schemas.placement import PeerReport
from flaredb_schemas.regions import Count


class Fact(Struct, frozen=True, kw_only=True):
    """What every record says of itself; the journal fills it in when it writes the record.

    `at` is milliseconds since 1970 by PD's clock. `epoch` is the reign, `n` the record's number
    in it. Who published it stands in the subject and in the headers.
    """

    id: str = ""
    at: int = 0
    epoch: PdEpoch = PdEpoch(0)
    n: Count = 0


class TookOver(Fact, frozen=True, kw_only=True, tag_field="type", tag="pd.took_over"):
    """A PD opened a reign; nothing of an earlier reign can be appended after this.

    `incarnation` is drawn at each start of a PD and tells two of the same name, or of the same
    epoch, apart. `after` is the last journal sequence that this PD had read.
    """

    pd: str
    incarnation: PdIncarnation
    after: JournalSequence


class StoreJoined(Fact, frozen=True, kw_only=True, tag_field="type", tag="pd.store_joined"):
    """A store was accepted under this (id, uuid, boot). `capacity` is bytes; `generation` is what
    its folder had reached at least.

    `recovered`: the journal did not know the store, which proved to be a member when the journal
    was rebuilt; without a uuid, and with boot 0, if only regions tell of it.
    """

    store: StoreId
    uuid: StoreUuid
    boot: BootCounter
    nonce: str
    labels: dict[str, str]
    capacity: Count
    version: str
    highest_id: Count
    recovered: bool = False
    generation: Generation = Generation(0)


class GenerationsReached(
    Fact, frozen=True, kw_only=True, tag_field="type", tag="pd.generations_reached"
):
    """These stores' data folders have got so far: who claims less has an old copy of one.

    Written when a store is down, and of all stores now and then.
    """

    reached: dict[StoreId, Generation]


class StoreDraining(Fact, frozen=True, kw_only=True, tag_field="type", tag="pd.store_draining"):
    """A store is to be emptied: nothing comes to it any more, and all that it holds goes elsewhere.

    `replicas`, `leaders` and `bytes` are what it held then, as last told; `trigger`: who wants it.
    """

    store: StoreId
    replicas: Count
    leaders: Count
    bytes: Count
    trigger: str


class StoreServing(Fact, frozen=True, kw_only=True, tag_field="type", tag="pd.store_serving"):
    """A store that was being drained is not any more: it may be given replicas again."""

    store: StoreId
    trigger: str


class StoreRemoved(Fact, frozen=True, kw_only=True, tag_field="type", tag="pd.store_removed"):
    """A store that no region names as a member's is no part of the cluster any more, for ever.

    `uuid` is its data folder's: neither that nor the id is accepted again.
    """

    store: StoreId
    uuid: StoreUuid
    trigger: str


class InitialRegion(Struct, frozen=True):
    """A region as records name it; `start` and `end` are base64, their twins are for people."""

    id: RegionId
    start: bytes
    end: bytes
    start_text: str
    end_text: str
    version: Count
    conf_ver: Count
    peers: tuple[PeerReport, ...]


class Bootstrapped(Fact, frozen=True, kw_only=True, tag_field="type", tag="pd.bootstrapped"):
    """The cluster exists: its id, and all regions that it starts with."""

    cluster: ClusterId
    replicas: Count
    regions: tuple[InitialRegion, ...]
    highest_id: Count


class SplitOrdered(Fact, frozen=True, kw_only=True, tag_field="type", tag="operator.split_ordered"):
    """Somebody asked PD to have a region cut: at `keys` (base64), or in the middle if none.

    `nonce` names the wish, `triggered` is when it was made.
    """

    region: RegionId
    version: Count
    conf_ver: Count
    leader: PeerId
    store: StoreId
    nonce: Count
    keys: tuple[bytes, ...]
    trigger: str
    triggered: Count


class MergeOrdered(Fact, frozen=True, kw_only=True, tag_field="type", tag="operator.merge_ordered"):
    """A region is to become a part of its neighbour `target`: because somebody asked for it, or
    because both are small (`trigger`). Versions are those that the merge is for.

    `nonce` names the wish, `triggered` is when it was made.
    """

    region: RegionId
    version: Count
    conf_ver: Count
    target: RegionId
    target_version: Count
    target_conf_ver: Count
    nonce: Count
    trigger: str
    triggered: Count


class IdsGranted(Fact, frozen=True, kw_only=True, tag_field="type", tag="pd.ids_granted"):
    """`count` ids from `first` on belong to this store, to split this region."""

    store: StoreId
    region: RegionId
    nonce: Count
    first: Count
    count: Count
    highest_id: Count


class RegionRegistered(
    Fact, frozen=True, kw_only=True, tag_field="type", tag="pd.region_registered"
):
    """PD has heard of a region that the journal did not know, from its leader."""

    region: InitialRegion


class LeadersElected(Fact, frozen=True, kw_only=True, tag_field="type", tag="pd.leaders_elected"):
    """Every initial region has had a leader, `ms` milliseconds after the bootstrap (SC-001)."""

    regions: Count
    ms: Count


class RebuildStarted(Fact, frozen=True, kw_only=True, tag_field="type", tag="pd.rebuild_started"):
    """The journal was lost or is behind what stores have seen: PD begins anew above all of it.

    Opens a reign of the PD whose `incarnation` it names (empty: a record of an earlier version).
    `lost_*` are the highest that any store has told of; ids go on above `highest_id`. No order is
    given until this is finished. `replicas`, `draining` and `removed` (with the uuids of their
    folders) are what was decided about stores, as the newest of all memories has it; 0 replicas:
    nobody remembered anything.
    """

    reason: str
    cluster: ClusterId
    lost_epoch: PdEpoch
    lost_sequence: JournalSequence
    lost_id: Count
    highest_id: Count
    incarnation: PdIncarnation = PdIncarnation("")
    replicas: Count = 0
    draining: tuple[StoreId, ...] = ()
    removed: dict[StoreId, StoreUuid] = {}


class RebuildFinished(Fact, frozen=True, kw_only=True, tag_field="type", tag="pd.rebuild_finished"):
    """Heartbeats cover the key space again (`covered`), or two periods have passed without."""

    regions: Count
    covered: bool
    ms: Count


class Gap(Fact, frozen=True, kw_only=True, tag_field="type", tag="pd.gap"):
    """Records `first` to `last` of the stream are not this journal's, or are gone: skipped."""

    first: JournalSequence
    last: JournalSequence
    reason: str


class Unreadable(Struct, frozen=True):
    """A record that this version cannot read, and why; `epoch` is what it names, else 0."""

    reason: str
    epoch: PdEpoch = PdEpoch(0)
