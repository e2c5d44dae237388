"""What stores and PD say to each other: joining, heartbeats, orders, announcements.

Stores ask on `pd.req.<store>.<what>`, PD orders on `pd.order.<store>`; both are binary frames.
Heartbeats are JSON, one per store and period, chunked by regions, published plainly: PD hears them
even when JetStream is down, and FLAREDB_HB records them.
"""

from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from flaredb_schemas.decided import UNDECIDED, Decided
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
    Term,
)
from flaredb_schemas.keys import MAX_KEY_BYTES
from flaredb_schemas.membership import ForgetPeers, OrderPeers, TellFate
from flaredb_schemas.merges import OrderMerge
from flaredb_schemas.regions import Count, Epoch, PeerRole, Region, Route
from flaredb_schemas.splits import GrantIds, OrderSplit

MAX_REGIONS_PER_HEARTBEAT = 1_000
"""How many regions one heartbeat message lists; more are sent in further chunks."""


class Join(Struct, frozen=True, array_like=True):
    """A starting store presents itself (`pd.req.<store or 0>.join`).

    `store` is 0 and `cluster` empty for a data folder that has never been accepted.
    `pd_epoch` and `incarnation` are the last reign of PD in which it has believed, `sequence` the
    last journal record of which it has heard in that, `highest_id` the highest id ever; they are
    saved together. `nonce` is drawn anew by each start of the process and stays the same when it
    asks again: it tells a repeated question from a copy of the disk that claims the same boot.
    `starts` are the nonces of this folder's earlier starts, from the last accepted one
    on, whose boot counter is `accepted` (0: none): they tell the folder from an old state of it,
    which has never heard of the start that PD accepted last. `generation` is the one that the
    folder has reached: it tells the folder from a state of it that was copied during that start.
    """

    uuid: StoreUuid
    boot: BootCounter
    store: StoreId
    cluster: ClusterId
    pd_epoch: PdEpoch
    sequence: JournalSequence
    highest_id: Count
    bootstrapped: bool
    capacity: Count
    labels: dict[str, str] = {}
    version: str = ""
    nonce: str = ""
    starts: tuple[str, ...] = ()
    accepted: BootCounter = BootCounter(0)
    incarnation: PdIncarnation = PdIncarnation("")
    generation: Generation = Generation(0)
    decided: Decided = UNDECIDED


class Joined(Struct, frozen=True, array_like=True, tag=1):
    """PD has journaled this (id, uuid, boot): the store may subscribe and serve.

    A new store is told so only once the cluster exists, so a data folder with a cluster id proves
    that there was a bootstrap.
    """

    cluster: ClusterId
    store: StoreId
    pd_epoch: PdEpoch
    sequence: JournalSequence
    highest_id: Count
    incarnation: PdIncarnation = PdIncarnation("")


class JoinRefused(Struct, frozen=True, array_like=True, tag=2):
    """PD will not have this store; `hint` says what to do. Final: the store exits."""

    reason: str
    hint: str


class JoinLater(Struct, frozen=True, array_like=True, tag=3):
    """PD cannot decide yet; ask again after `retry_ms` milliseconds."""

    reason: str
    retry_ms: int = 500


JoinAnswer = Joined | JoinRefused | JoinLater


class CreateRegions(Struct, frozen=True, array_like=True, tag=1):
    """The initial regions of the cluster, all of them; the store creates its own replicas once."""

    cluster: ClusterId
    regions: tuple[Region, ...]


class TransferLeader(Struct, frozen=True, array_like=True, tag=2):
    """Hand the leadership of `region` to the peer `to`."""

    region: RegionId
    epoch: Epoch
    leader: PeerId
    to: PeerId


class Report(Struct, frozen=True, array_like=True, tag=3):
    """Send a full heartbeat now."""


OrderBody = (
    CreateRegions
    | TransferLeader
    | Report
    | OrderSplit
    | GrantIds
    | OrderMerge
    | OrderPeers
    | TellFate
    | ForgetPeers
)


class Order(Struct, frozen=True, array_like=True):
    """An order and the authority behind it: PD's reign and the journal record it rests on.

    A store obeys it only if that very reign is the one in which it believes.
    """

    pd_epoch: PdEpoch
    sequence: JournalSequence
    body: OrderBody
    incarnation: PdIncarnation = PdIncarnation("")


class Alive(Struct, frozen=True, array_like=True):
    """PD's keep-alive, each second; the first of an epoch is its announcement.

    `cluster` is empty as long as this PD knows of no bootstrap: its journal may be new, or lost.
    `settled` is the highest sequence of a lost journal that a rebuild has accounted for. A store
    that has seen a record above both `sequence` and `settled` knows of a loss that PD does not; so
    does one that has seen this epoch opened by another `incarnation`.
    """

    pd: str
    pd_epoch: PdEpoch
    sequence: JournalSequence
    cluster: ClusterId
    settled: JournalSequence = JournalSequence(0)
    incarnation: PdIncarnation = PdIncarnation("")
    decided: Decided = UNDECIDED


class Witness(Struct, frozen=True, array_like=True):
    """A store's answer to an announcement (`pd.req.<store>.witness`), repeated until `Witnessed`.

    It names the reign, journal sequence and highest id it had seen *before* this announcement, so
    that a PD whose journal was lost or is behind finds out. A higher epoch is saved before this is
    sent, and a full heartbeat follows. An announcement of a lower epoch, of the same epoch by
    another incarnation, or one whose sequence and `settled` are both below the saved one, is
    answered as well, but not obeyed: that is how a lost journal shows.
    """

    store: StoreId
    uuid: StoreUuid
    boot: BootCounter
    cluster: ClusterId
    pd_epoch: PdEpoch
    sequence: JournalSequence
    highest_id: Count
    incarnation: PdIncarnation = PdIncarnation("")
    decided: Decided = UNDECIDED


class Witnessed(Struct, frozen=True, array_like=True):
    """The PD of this reign has heard the witness.

    `refused` says why the store must end at once: its id belongs to another data folder.
    """

    pd_epoch: PdEpoch
    refused: str = ""
    incarnation: PdIncarnation = PdIncarnation("")


class Here(Struct, frozen=True, array_like=True):
    """A store's answer to PD's keep-alive (`pd.req.<store>.here`): it lives. No stream keeps it."""

    store: StoreId
    boot: BootCounter
    cluster: ClusterId


class PendingPeer(Struct, frozen=True):
    """A peer that lags: `behind` entries after the leader's last."""

    peer: PeerId
    behind: Count


class DownPeer(Struct, frozen=True):
    """A peer that has not been heard of for `seconds`."""

    peer: PeerId
    seconds: Count


RoleName = Literal["voter", "learner", "incoming_voter", "demoting_voter"]

ROLE_NAMES: Final[dict[PeerRole, RoleName]] = {
    PeerRole.VOTER: "voter",
    PeerRole.LEARNER: "learner",
    PeerRole.INCOMING_VOTER: "incoming_voter",
    PeerRole.DEMOTING_VOTER: "demoting_voter",
}


class PeerReport(Struct, frozen=True):
    """A peer as JSON names it."""

    id: PeerId
    store: StoreId
    role: RoleName


class RegionReport(Struct, frozen=True):
    """One region as its leader knows it.

    `start` and `end` are base64, the `_text` twins are for people. Reads and writes count since the
    last report of this region; `bytes` are keys and values, without overhead. `removed` are peers
    that have left and whose stores have not confirmed yet that nothing of them is left; `lost` are
    those that will never take part again. `absorbed` are the regions that it came of by merges,
    `absorbers` those into which each of them was merged.
    """

    id: RegionId
    start: Annotated[bytes, Meta(max_length=MAX_KEY_BYTES)]
    end: Annotated[bytes, Meta(max_length=MAX_KEY_BYTES)]
    start_text: str
    end_text: str
    version: Count
    conf_ver: Count
    peers: tuple[PeerReport, ...]
    leader: PeerId
    term: Term
    time: Count
    bytes: Count
    keys: Count
    read_keys: Count
    read_bytes: Count
    written_keys: Count
    written_bytes: Count
    pending: tuple[PendingPeer, ...] = ()
    down: tuple[DownPeer, ...] = ()
    asleep: bool = False
    removed: tuple[PeerReport, ...] = ()
    lost: tuple[PeerId, ...] = ()
    absorbed: tuple[RegionId, ...] = ()
    absorbers: tuple[RegionId, ...] = ()


class StoreReport(Struct, frozen=True):
    """What a store says of itself. Disk figures are bytes; `cpu` is a share of one core.

    `regions` counts replicas, `leaders` those that lead; `bootstrapped` says that the initial
    regions have been created here once; `damaged` counts replicas that are out of service for good,
    because a record of theirs is not what was written. `generation` is the one that the data folder
    has reached: it is saved, rises as things are saved, and never falls.
    """

    store: StoreId
    boot: BootCounter
    regions: Count
    leaders: Count
    capacity: Count
    used: Count
    free: Count
    cpu: float
    frames_refused: Count
    """Frames for regions that are not hosted here (FR-002), since start."""
    labels: dict[str, str] = {}
    bootstrapped: bool = False
    damaged: Count = 0
    generation: Generation = Generation(0)


class Heartbeat(Struct, frozen=True, tag_field="type", tag="store.heartbeat"):
    """One heartbeat message: the store, and some of the regions it leads.

    `id` is `store.boot.n`; `chunk` of `chunks` (from 0) when the regions need several messages;
    `full` when the chunks together list every region that the store leads.
    """

    id: str
    at: int
    cluster: ClusterId
    store: StoreReport
    regions: tuple[RegionReport, ...]
    full: bool
    chunk: Count = 0
    chunks: Annotated[int, Meta(ge=1)] = 1


class RoutesQuery(Struct, frozen=True, array_like=True):
    """`pd.get.routes`: the regions from the one that holds `start`, at most `limit` of them."""

    start: bytes = b""
    limit: Annotated[int, Meta(ge=1, le=1_000)] = 128


class RoutesAnswer(Struct, frozen=True, array_like=True):
    """Routes in key order; `next` continues, None when the key space is covered.

    `ready` is false as long as PD does not know the whole key space (no bootstrap yet, rebuilding).
    """

    cluster: ClusterId
    routes: tuple[Route, ...]
    next: bytes | None
    ready: bool
