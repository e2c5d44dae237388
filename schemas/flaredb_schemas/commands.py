"""What may stand in a log entry: batches of writes, and the marks a leader leaves in the log.

The client encodes a `Batch` once; the leader wraps the bytes untouched in a `Write`, and those
bytes are what every replica stores. A retry keeps client, lane, sequence and op numbers (RIFL, Lee
et al., SOSP 2015), and may carry fewer ops of the same batch, never other ones.
The numbers of a batch's ops rise.

What is executed must be understood in full: unlike all other messages, these accept no fields that
are unknown here, because two replicas that understood an entry differently would no longer agree.
"""

from typing import Annotated, Final

from msgspec import Meta, Struct

from flaredb_schemas.envelope import Codec
from flaredb_schemas.ids import Index, PeerId, RegionId, StoreId, Term
from flaredb_schemas.keys import MAX_KEY_BYTES, MAX_VALUE_BYTES
from flaredb_schemas.regions import Count

Key = Annotated[bytes, Meta(max_length=MAX_KEY_BYTES)]
Value = Annotated[bytes, Meta(max_length=MAX_VALUE_BYTES)]

MAX_BATCH_BYTES = 640 * 1024
"""The limit of an encoded batch: one entry and its frame stay below the bus's limit."""

MAX_BATCH_OPS = 4096
"""How many writes one batch may carry, those inside groups counted one by one."""

OpNumber = Annotated[int, Meta(ge=0, lt=MAX_BATCH_OPS)]
"""Names an op within its batch; a retry keeps it. That of a write inside a group names nothing."""

MAX_BATCH_RANGES = 64
"""How many of them may be a `DeleteRange`."""

MAX_DELETED_PER_ENTRY = 1_000
"""How many keys the `DeleteRange`s of one entry remove before they say where to resume."""

MAX_DELETED_BYTES = 4 * 1024 * 1024
"""How many bytes of keys and values they remove (and have to read for it); always one row."""


class Put(Struct, frozen=True, array_like=True, gc=False, tag=1, forbid_unknown_fields=True):
    """Store `value` under `key`."""

    op: OpNumber
    key: Key
    value: Value


class Delete(Struct, frozen=True, array_like=True, gc=False, tag=2, forbid_unknown_fields=True):
    """Remove `key`; removing what is absent is fine."""

    op: OpNumber
    key: Key


class CompareAndSwap(
    Struct, frozen=True, array_like=True, gc=False, tag=3, forbid_unknown_fields=True
):
    """Store `value` (None: remove) if the key holds `expected` (None: is absent)."""

    op: OpNumber
    key: Key
    expected: Value | None
    value: Value | None


class DeleteRange(
    Struct, frozen=True, array_like=True, gc=False, tag=4, forbid_unknown_fields=True
):
    """Remove the keys of `[start, end)` (`end` empty: no end), as many as one entry may."""

    op: OpNumber
    start: Key
    end: Key


class Group(Struct, frozen=True, array_like=True, gc=False, tag=5, forbid_unknown_fields=True):
    """Several writes that take effect together or not at all, within one region."""

    op: OpNumber
    writes: Annotated[tuple[Put | Delete, ...], Meta(max_length=MAX_BATCH_OPS)]


Op = Put | Delete | CompareAndSwap | DeleteRange | Group


class Lane(Struct, frozen=True, array_like=True, gc=False, order=True, forbid_unknown_fields=True):
    """One stream of batches of a client, as it saw one region.

    `opened` is the region's time in milliseconds when the client opened the lane; `number` tells
    lanes apart that a client opened at the same time.
    """

    client: Count
    opened: Count
    number: Count


class Batch(Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    """The unit of writing: some ops of one client for one region, executed as one log entry.

    Every sequence of the lane below `done_below` is settled for the client and may be forgotten.
    """

    lane: Lane
    sequence: Count
    done_below: Count
    ops: Annotated[tuple[Op, ...], Meta(max_length=MAX_BATCH_OPS)]


class Write(Struct, frozen=True, array_like=True, gc=False, tag=1, forbid_unknown_fields=True):
    """A client's batch, as its bytes came, under the epoch version at which it was accepted.

    `time` is the leader's clock in milliseconds; the region's time is the largest one applied.
    """

    time: Count
    version: Count
    batch: bytes


class LeaderStarted(
    Struct, frozen=True, array_like=True, gc=False, tag=2, forbid_unknown_fields=True
):
    """The first proposal of a new leader: who leads from here on."""

    time: Count
    peer: PeerId
    store: StoreId
    previous: PeerId


class CheckReplicas(
    Struct, frozen=True, array_like=True, gc=False, tag=3, forbid_unknown_fields=True
):
    """Every replica hashes its state at this very index and keeps the hash under `nonce`."""

    time: Count
    nonce: Count


MAX_REASON = 200
"""How many characters may say why something was done."""

MAX_CHILDREN = 16
"""How many new regions one split may make."""


class NewRegion(Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    """A region that a split makes, from `start` on; `peers` in the order of the parent's peers."""

    id: RegionId
    start: Key
    peers: tuple[PeerId, ...]


class Size(Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    """So many rows, and the bytes of their keys and values."""

    keys: Count
    bytes: Count


class Split(Struct, frozen=True, array_like=True, gc=False, tag=4, forbid_unknown_fields=True):
    """Cut the region at the starts of `children`, which rise; the region itself keeps what is left
    of the first. Takes effect only at this very epoch.

    All that is told of the split stands here: `triggered` is when and `trigger` why it was wanted.
    `sizes` are those of the region and its children, in key order, as they were counted some time
    before.
    """

    time: Count
    conf_ver: Count
    version: Count
    children: Annotated[tuple[NewRegion, ...], Meta(max_length=MAX_CHILDREN)]
    trigger: Annotated[str, Meta(max_length=32)]
    triggered: Count
    sizes: Annotated[tuple[Size, ...], Meta(max_length=MAX_CHILDREN + 1)]


class Difference(Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    """A difference in keys and in bytes: may be below zero."""

    keys: int
    bytes: int


class Recount(Struct, frozen=True, array_like=True, gc=False, tag=5, forbid_unknown_fields=True):
    """The region's own figures are too low by `missing`, as its rows were counted.

    Takes effect only at this version and only on figures that are estimated, and makes them exact:
    what was written since the count is in them already.
    """

    time: Count
    version: Count
    missing: Difference


class PrepareMerge(
    Struct, frozen=True, array_like=True, gc=False, tag=6, forbid_unknown_fields=True
):
    """The region is to become a part of its neighbour `target`, as that is at this very epoch.

    Takes effect only at the region's own epoch. From then on it takes and gives nothing until the
    target has absorbed it, or can do so no more. `triggered` is when and `trigger` why it was
    wanted.
    """

    time: Count
    conf_ver: Count
    version: Count
    target: RegionId
    target_conf_ver: Count
    target_version: Count
    trigger: Annotated[str, Meta(max_length=32)]
    triggered: Count


class CommitMerge(
    Struct, frozen=True, array_like=True, gc=False, tag=7, forbid_unknown_fields=True
):
    """The region absorbs its neighbour `source`, whose log has the `PrepareMerge` at `index`.

    Takes effect only at this epoch of the region, which is the one that was named there. Proposed
    only when every peer of the source has acknowledged that entry: whoever applies this finds it
    in the log of the source's replica on the same store.
    """

    time: Count
    conf_ver: Count
    version: Count
    source: RegionId
    index: Index
    term: Term
    trigger: Annotated[str, Meta(max_length=32)]
    triggered: Count


class AbortMerge(Struct, frozen=True, array_like=True, gc=False, tag=8, forbid_unknown_fields=True):
    """The region will not absorb `source`: its version rises, so that no `CommitMerge` that names
    the one before takes effect any more. Takes effect only at this very epoch. `reason` is told."""

    time: Count
    conf_ver: Count
    version: Count
    source: RegionId
    reason: Annotated[str, Meta(max_length=MAX_REASON)] = ""


class RollBackMerge(
    Struct, frozen=True, array_like=True, gc=False, tag=9, forbid_unknown_fields=True
):
    """The region's own `PrepareMerge` at `index` is void: its target cannot absorb it any more."""

    time: Count
    index: Index


class ForgetRemoved(
    Struct, frozen=True, array_like=True, gc=False, tag=10, forbid_unknown_fields=True
):
    """These peers have left the region, and their stores have confirmed that they are gone."""

    time: Count
    peers: Annotated[tuple[PeerId, ...], Meta(min_length=1, max_length=64)]


Merge = PrepareMerge | CommitMerge | AbortMerge | RollBackMerge
"""The steps of a merge, in the logs of the two regions."""

Command = Write | LeaderStarted | CheckReplicas | Split | Recount | Merge | ForgetRemoved
"""The union of all that a normal log entry may hold. (An empty entry is a leader's own mark.)"""

BATCHES: Final[Codec[Batch]] = Codec(Batch, MAX_BATCH_BYTES)
"""The codec of what stands in `Write.batch` and in a client's write request."""

COMMANDS: Final[Codec[Command]] = Codec(Command)
"""The codec of the data of a normal log entry that is not empty."""

_COMMIT_MERGE_HEAD: Final = COMMANDS.encode(
    CommitMerge(0, 0, 0, RegionId(0), Index(0), Term(0), "", 0)
)[:3]
"""Version, length of the array, tag."""

_SPLIT_HEAD: Final = COMMANDS.encode(Split(0, 0, 0, (), "", 0, ()))[:3]


def holds_split(data: bytes) -> bool:
    """Whether the data of a normal log entry is a `Split`; cheap."""
    return data.startswith(_SPLIT_HEAD)


def holds_commit_merge(data: bytes) -> bool:
    """Whether the data of a normal log entry is a `CommitMerge`; cheap."""
    return data.startswith(_COMMIT_MERGE_HEAD)


class Done(Struct, frozen=True, array_like=True, gc=False, tag=1):
    """A put, a delete or a group took effect."""


class Swapped(Struct, frozen=True, array_like=True, gc=False, tag=2):
    """A compare-and-swap took effect: the key held what was expected."""


class RangeDeleted(Struct, frozen=True, array_like=True, gc=False, tag=3):
    """So many keys went; `resume` is the first key not looked at yet, or None when finished."""

    deleted: Count
    resume: bytes | None


class NotSwapped(Struct, frozen=True, array_like=True, gc=False, tag=4):
    """A compare-and-swap was executed and changed nothing: the key held `actual` (None: absent)."""

    actual: bytes | None


class NotSwappedUntold(Struct, frozen=True, array_like=True, gc=False, tag=5):
    """As `NotSwapped`, but what the key held cannot be told.

    It was too large: to be kept for this retry, or to be told beside the batch's other outcomes.
    """


Outcome = Done | Swapped | RangeDeleted | NotSwapped | NotSwappedUntold

MAX_TOLD_BYTES = 640 * 1024
"""How many bytes of `actual` values the outcomes of one batch hold; one value alone always fits."""
