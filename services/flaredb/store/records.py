"""What a store keeps about itself and its replicas, as records on its disk.

Every record is sealed with a checksum over its key and its bytes; what does not match raises
`CorruptRecordError`, and the replica concerned never votes, acknowledges or campaigns again.
"""

import enum
from typing import Any, Final, TypeVar

import msgspec
from msgspec import Struct

from flaredb.disk.disk import Batch, View
from flaredb.disk.layout import Corrupt, seal, unseal
from flaredb.kv.machine import AppliedState
from flaredb_schemas.decided import UNDECIDED, Decided
from flaredb_schemas.frames import SnapshotHeader
from flaredb_schemas.ids import (
    BootCounter,
    ClusterId,
    Generation,
    Index,
    JournalSequence,
    PdEpoch,
    PdIncarnation,
    PeerId,
    RegionId,
    StoreId,
    StoreUuid,
    Term,
)
from flaredb_schemas.keys import KeyRange
from flaredb_schemas.raft import HardState
from flaredb_schemas.regions import Count, Region

T = TypeVar("T")


class CorruptRecordError(Exception):
    """A record on this disk is not what was written."""


class ReplicaState(enum.IntEnum):
    """What a replica on this store may do."""

    LIVE = 0
    INSTALLING = 1
    """A snapshot is replacing its rows: it keeps term, vote and old log, and serves nothing."""
    DAMAGED = 2
    """A record of it failed its checksum: it takes part in nothing until it is replaced."""
    EMPTY = 3
    """It has voted, and has no data yet: it serves, acknowledges and stands for nothing."""
    GONE = 4
    """It has left its region, or that is a part of another one. Never saved: nothing of it is."""


class ReplicaRecord(Struct, frozen=True, array_like=True):
    """One replica here: the region as last applied, and which of its peers this is."""

    region: Region
    peer: PeerId
    state: ReplicaState = ReplicaState.LIVE
    snapshot: SnapshotHeader | None = None
    """While installing: what is being installed."""
    file: str = ""
    """While installing: the verified file that holds its rows."""


class Tombstone(Struct, frozen=True, array_like=True):
    """A peer that is gone for good: it has left its region, or that is a part of `absorbed_by`.

    The rows in `cleaning` are still to be removed.
    """

    absorbed_by: RegionId
    cleaning: tuple[KeyRange, ...] = ()


class LogStart(Struct, frozen=True, array_like=True):
    """Behind which entry a replica's log starts, and that entry's term."""

    index: Index
    term: Term


class Identity(Struct, frozen=True, array_like=True):
    """Who this data folder is. `store` is 0 and `cluster` empty until PD has accepted it."""

    uuid: StoreUuid
    store: StoreId
    cluster: ClusterId


class PdSeen(Struct, frozen=True, array_like=True):
    """The reign of PD in which this store believes, and what it saw of PD.

    A reign is an epoch and the incarnation that opened it (empty: not known). `sequence` is the
    last journal record of it that this store has heard of, `highest_id` the highest id ever,
    `decided` the newest that was ever told of what was decided about stores.
    """

    pd_epoch: PdEpoch = PdEpoch(0)
    sequence: JournalSequence = JournalSequence(0)
    highest_id: Count = 0
    incarnation: PdIncarnation = PdIncarnation("")
    decided: Decided = UNDECIDED

    def refuses(self, epoch: PdEpoch, incarnation: PdIncarnation) -> bool:
        """Whether that reign is neither this one nor a later one.

        Two may have opened one epoch where the journal was lost: the first to be heard stands.
        """
        other = bool(self.incarnation and incarnation) and self.incarnation != incarnation
        return epoch < self.pd_epoch or (epoch == self.pd_epoch and other)

    def after(
        self,
        epoch: PdEpoch,
        incarnation: PdIncarnation,
        sequence: JournalSequence,
        highest_id: int,
    ) -> "PdSeen":
        """What is seen after that reign, which is this one or a later one, was heard."""
        assert not self.refuses(epoch, incarnation), f"reign {epoch} after {self.pd_epoch}"
        highest = max(self.highest_id, highest_id)
        if epoch > self.pd_epoch:
            # Records of a lost journal and of the one in its place are not counted together.
            return PdSeen(epoch, sequence, highest, incarnation, self.decided)
        known = self.incarnation or incarnation
        return PdSeen(epoch, max(self.sequence, sequence), highest, known, self.decided)

    def knowing(self, decided: Decided) -> "PdSeen":
        """The same with what was told of stores, if that is news."""
        newest = max(self.decided, decided, key=lambda one: one.age)
        return msgspec.structs.replace(self, decided=newest)


class Boot(Struct, frozen=True, array_like=True):
    """How often this folder has been started.

    `starts` are the nonces of its starts from the last one on that PD accepted, whose counter is
    `accepted` (0: none was).
    """

    counter: BootCounter
    starts: tuple[str, ...] = ()
    accepted: BootCounter = BootCounter(0)


class Age(Struct, frozen=True, array_like=True):
    """Which generation of itself this folder is; it rises as things are saved."""

    generation: Generation


class NamedId(Struct, frozen=True, array_like=True):
    """The highest id of a region or a peer that anything saved here has named."""

    id: Count


_encoder: Final = msgspec.msgpack.Encoder()
_decoders: Final[dict[Any, msgspec.msgpack.Decoder[Any]]] = {
    kind: msgspec.msgpack.Decoder(kind)
    for kind in (
        ReplicaRecord,
        Tombstone,
        LogStart,
        Identity,
        PdSeen,
        Boot,
        Age,
        NamedId,
        HardState,
        AppliedState,
    )
}


def save(batch: Batch, key: bytes, record: Struct) -> None:
    """Have `record` saved under `key` with the batch."""
    batch.put(key, seal(key, _encoder.encode(record)))


def encode(record: Struct) -> bytes:
    """The bytes of a record, unsealed, as they travel in a snapshot."""
    return _encoder.encode(record)


def decode(kind: type[T], payload: bytes) -> T:
    """The record in `payload`. Raises `CorruptRecordError`."""
    try:
        value: T = _decoders[kind].decode(payload)
    except msgspec.MsgspecError as fault:
        raise CorruptRecordError(f"{kind.__name__}: {fault}") from fault
    return value


def load(view: View, key: bytes, kind: type[T]) -> T | None:
    """The record under `key`, or None. Raises `CorruptRecordError`."""
    stored = view.get(key)
    return None if stored is None else decode(kind, open_sealed(key, stored))


def open_sealed(key: bytes, record: bytes) -> bytes:
    """The payload that was sealed for `key`. Raises `CorruptRecordError`."""
    payload = unseal(key, record)
    if isinstance(payload, Corrupt):
        raise CorruptRecordError(str(payload))
    return payload
