"""What PD answers to people and the command line: JSON on `pd.get.<what>`, one object each.

Keys are escaped text for reading and base64 under `_b64`. An empty payload asks with the defaults.
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from flaredb_schemas.decisions import Decision, Outcome
from flaredb_schemas.ids import BootCounter, OperatorId, PeerId, RegionId, StoreId, StoreUuid
from flaredb_schemas.keys import MAX_KEY_BYTES
from flaredb_schemas.operators import OperatorKind, OperatorOutcome
from flaredb_schemas.placement import PeerReport
from flaredb_schemas.regions import Count

RegionState = Literal["available", "degraded", "unavailable"]


class RegionsQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """`pd.get.regions`: from the region that holds the key `start_b64`, at most `limit`."""

    start_b64: bytes = b""
    limit: Annotated[int, Meta(ge=1, le=1_000)] = 1_000


class RegionRow(Struct, frozen=True):
    """A region as PD knows it; `leader` and `leader_store` are 0 where no leader is known.

    `state` is `available`, `degraded` where some of its stores are not up, and `unavailable` where
    no majority of them is: it serves nothing until enough are back. `removed` are replicas that do
    not belong to it any more, and whose stores have not confirmed that they are gone.
    """

    id: RegionId
    state: RegionState
    start: str
    end: str
    start_b64: bytes
    end_b64: bytes
    leader: PeerId
    leader_store: StoreId
    peers: tuple[PeerReport, ...]
    version: Count
    conf_ver: Count
    term: Count
    keys: Count
    bytes: Count
    asleep: bool
    down_peers: tuple[PeerId, ...]
    pending_peers: tuple[PeerId, ...]
    removed: tuple[PeerReport, ...] = ()


class RegionsPage(Struct, frozen=True):
    """Regions in key order; `next_b64` continues, None after the last. `total` counts them all."""

    regions: tuple[RegionRow, ...]
    next_b64: bytes | None
    total: Count


Health = Literal["up", "disconnected", "down"]
"""Whether PD hears a store: by how long it is silent."""

Life = Literal["serving", "draining", "removed"]
"""What was decided about a store: it takes part, is being emptied, or is out of the cluster."""


class DrainBlock(Struct, frozen=True):
    """Why `regions` regions cannot leave a store now; `examples` are the first of them."""

    reason: str
    regions: Count
    examples: tuple[RegionId, ...]


class DrainProgress(Struct, frozen=True):
    """How far a store is emptied.

    Left are `replicas`, of which it leads `leaders`, of `bytes` bytes; `cleaning` more have left
    their regions, and it has not confirmed yet that nothing of them is left. `moving` are under
    way. `began_with` is how many replicas there were at `started_at` (milliseconds since 1970),
    0 where that was lost with PD's journal;
    `seconds_left` goes by the rate since then, None as long as there is none. `is_stuck` says that
    nothing is under way, and that nothing will be before something changes; `is_empty`, that the
    store can be removed.
    """

    started_at: int
    began_with: Count
    replicas: Count
    leaders: Count
    bytes: Count
    cleaning: Count
    moving: Count
    seconds_left: float | None
    is_stuck: bool
    is_empty: bool
    blocked: tuple[DrainBlock, ...] = ()


class StoreRow(Struct, frozen=True):
    """A store as PD knows it; `state` is the life, or the health of one that serves.

    `drain` is there while the store is being emptied. Figures are 0 and `last_seen_ms`
    (milliseconds since 1970) None where this reign has not heard of it yet. `capacity`, `used` and
    `free` are bytes, `cpu` a share of one core. `damaged` counts replicas that are out of service
    there, because a record of theirs is not what was written. No `uuid`, and boot 0: the store has
    not been heard since PD's journal was lost, and only regions tell of it.
    """

    id: StoreId
    uuid: StoreUuid
    state: str
    boot: BootCounter
    regions: Count
    leaders: Count
    capacity: Count
    used: Count
    free: Count
    cpu: float
    last_seen_ms: int | None
    labels: dict[str, str]
    version: str
    frames_refused: Count
    damaged: Count = 0
    health: Health = "disconnected"
    life: Life = "serving"
    drain: DrainProgress | None = None


class StoresAnswer(Struct, frozen=True):
    """Every store that has ever joined, by id; those that were removed, too."""

    stores: tuple[StoreRow, ...]


class PdStatus(Struct, frozen=True):
    """The leading PD and its cluster.

    `cluster` is empty before the bootstrap. `bootstrapped_at` is milliseconds since 1970, 0 where
    it is not known; `leaders_elected_s` the seconds from there to the last first leader of the
    initial regions, None until then. `doing` says in words what PD waits for, empty when `ready`:
    that is PD alone. `stores_up` of `stores` are heard; `regions_unavailable` counts the regions
    without a majority of their stores, `leaders` the others whose leader's store is up.
    `damaged` counts the replicas that stores have said to be out of service for good.
    """

    cluster: str
    pd: str
    pd_epoch: Count
    sequence: Count
    ready: bool
    doing: str
    stores: Count
    stores_up: Count
    regions: Count
    regions_unavailable: Count
    leaders: Count
    bootstrapped_at: int
    leaders_elected_s: float | None
    stale_reports: Count
    highest_id: Count
    damaged: Count = 0


class SplitQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """`pd.admin.split`: cut this region at `key_b64`, or in the middle by bytes without it."""

    region: RegionId
    key_b64: Annotated[bytes, Meta(max_length=MAX_KEY_BYTES)] | None = None


class SplitDone(Struct, frozen=True):
    """The region was cut: the regions after it in key order, the first of which is itself."""

    regions: tuple[RegionId, ...]


class MergeQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """`pd.admin.merge`: make this region a part of its neighbour `into`; without it, of the smaller
    one."""

    region: RegionId
    into: RegionId | None = None


class MergesQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """`pd.get.merges`: this merge, or without it all of which the leading PD still knows."""

    merge: Count | None = None


class MergeRow(Struct, frozen=True):
    """A merge of regions on different stores: PD has `source` stand where `target` does first.

    `doing` says what is going on, or what stands in the way, and once it is `refused` why; `hint`
    what to do about that. `operator` is the last one that moves, or has moved, a replica for it, 0
    before the first. `merge` is a number of this PD's reign: another PD knows nothing of it.
    """

    merge: Count
    source: RegionId
    target: RegionId
    state: Literal["running", "done", "refused"]
    operator: OperatorId
    doing: str
    hint: str = ""


class MergesAnswer(Struct, frozen=True):
    """Merges by number: all that run, and those that have ended of late."""

    merges: tuple[MergeRow, ...]


class MergeDone(Struct, frozen=True, omit_defaults=True):
    """The region is a part of `region` now; or, with `begun`, will be when replicas were moved."""

    region: RegionId
    begun: MergeRow | None = None


class MoveQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """`pd.admin.move`: take this region's replica from one store to another."""

    region: RegionId
    source: StoreId = field(name="from")
    target: StoreId = field(name="to")


class TransferQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """`pd.admin.transfer`: have the replica on `store` lead this region."""

    region: RegionId
    store: StoreId


class DrainQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """`pd.admin.drain`: empty this store, or with `cancel` do so no more."""

    store: StoreId
    cancel: bool = False


class RemoveQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """`pd.admin.remove`: take this store, which no region needs, out of the cluster for ever."""

    store: StoreId


class CancelQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """`pd.admin.cancel`: give this operator up."""

    operator: OperatorId


class OperatorsQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """`pd.get.operators`: this one, or without it all of which PD still knows."""

    operator: OperatorId | None = None


class StepDone(Struct, frozen=True):
    """A step that was done, `ms` milliseconds after the operator's start."""

    step: str
    ms: Count


class OperatorLedger(Struct, frozen=True):
    """Why an operator was started, what was done, and what came of it.

    `outcomes` are there once it has ended and its region was known then; `bytes` are the region's
    at the end, `ms` how long it took: 0 while it runs.
    """

    decision: Decision
    done: tuple[StepDone, ...]
    ms: Count = 0
    bytes: Count = 0
    outcomes: tuple[Outcome, ...] = ()


class OperatorRow(Struct, frozen=True, omit_defaults=True):
    """What PD does, or has done, to the replicas of a region.

    `state` is `running`, or how it ended. A replica goes from `from_store` to `to_store`, either of
    which is 0 where none goes or comes; a transfer has `to_store` lead. `steps` are done; `doing`
    says what is waited for, or why it ended. Times are milliseconds since 1970, `seconds` is how
    long it has taken so far, `within_seconds` how long it may take. `ledger` is told of an operator
    that was asked for by its number.
    """

    id: OperatorId
    kind: OperatorKind
    region: RegionId
    state: OperatorOutcome | Literal["running"]
    from_store: StoreId
    to_store: StoreId
    steps: tuple[str, ...]
    doing: str
    trigger: str
    reason: str
    started_at: int
    ended_at: int | None
    seconds: float
    within_seconds: Count
    ledger: OperatorLedger | None = None


class OperatorsAnswer(Struct, frozen=True):
    """Operators by id: all that run, and those that have ended of late."""

    operators: tuple[OperatorRow, ...]


class PdFailure(Struct, frozen=True):
    """A request that PD cannot answer: a stable code, what is wrong, what to do."""

    code: str
    message: str
    hint: str
