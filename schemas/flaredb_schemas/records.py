"""How PD's facts are written and read: JSON, with headers in the manner of CloudEvents.

Headers carry no `Nats-Msg-Id`: the expected last sequence already makes an append happen once, and
a stream that was purged would swallow the first records of the next reign as duplicates.
"""

from typing import Final

import msgspec

from flaredb_schemas.ids import PdEpoch
from flaredb_schemas.journal import (
    Bootstrapped,
    Fact,
    Gap,
    GenerationsReached,
    IdsGranted,
    InitialRegion,
    LeadersElected,
    MergeOrdered,
    RebuildFinished,
    RebuildStarted,
    RegionRegistered,
    SplitOrdered,
    StoreDraining,
    StoreJoined,
    StoreRemoved,
    StoreServing,
    TookOver,
    Unreadable,
)
from flaredb_schemas.keys import KeyRange, show_key
from flaredb_schemas.operators import (
    NothingToDo,
    OperatorEnded,
    OperatorStarted,
    OperatorStepped,
)
from flaredb_schemas.regions import Epoch, Region
from flaredb_schemas.reported import report_peers, reported_peers

JournalFact = (
    TookOver
    | StoreJoined
    | GenerationsReached
    | StoreDraining
    | StoreServing
    | StoreRemoved
    | Bootstrapped
    | SplitOrdered
    | MergeOrdered
    | OperatorStarted
    | OperatorStepped
    | OperatorEnded
    | NothingToDo
    | IdsGranted
    | RegionRegistered
    | LeadersElected
    | RebuildStarted
    | RebuildFinished
    | Gap
)

JOURNAL_TYPES: Final[tuple[type[JournalFact], ...]] = (
    TookOver,
    StoreJoined,
    GenerationsReached,
    StoreDraining,
    StoreServing,
    StoreRemoved,
    Bootstrapped,
    SplitOrdered,
    MergeOrdered,
    OperatorStarted,
    OperatorStepped,
    OperatorEnded,
    NothingToDo,
    IdsGranted,
    RegionRegistered,
    LeadersElected,
    RebuildStarted,
    RebuildFinished,
    Gap,
)


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(JournalFact)
_head_decoder = msgspec.json.Decoder(Fact)


def kind_of_fact(fact: JournalFact) -> str:
    """The record's type, `noun.what`, as it stands in subject and payload."""
    tag = fact.__struct_config__.tag
    assert isinstance(tag, str)
    return tag


def about_fact(fact: JournalFact) -> int | str:
    """What the record is about, as it stands in the subject: a store, a region, an operator, a
    policy, else the reign."""
    match fact:
        case StoreJoined() | StoreDraining() | StoreServing() | StoreRemoved():
            return fact.store
        case SplitOrdered() | MergeOrdered() | IdsGranted():
            return fact.region
        case RegionRegistered():
            return fact.region.id
        case OperatorStarted() | OperatorStepped() | OperatorEnded():
            return fact.operator
        case NothingToDo():
            return fact.policy
        case _:
            return fact.epoch


def encode_fact(fact: JournalFact) -> bytes:
    """The record as JSON; it must have been numbered."""
    assert fact.epoch > 0 and fact.n > 0, "a record without epoch or number was to be written"
    return _encoder.encode(fact)


def decode_fact(payload: bytes) -> JournalFact | Unreadable:
    """The record in `payload`; never raises, since anybody may have written it."""
    try:
        fact: JournalFact = _decoder.decode(payload)
    except (msgspec.DecodeError, ValueError, RecursionError) as fault:
        return Unreadable(f"{type(fault).__name__}: {fault}", _epoch_of(payload))
    if fact.epoch <= 0 or fact.n <= 0:
        return Unreadable("a record without epoch or number")
    return fact


def _epoch_of(payload: bytes) -> PdEpoch:
    try:
        return _head_decoder.decode(payload).epoch
    except (msgspec.DecodeError, ValueError, RecursionError):
        return PdEpoch(0)


def fact_headers(fact: JournalFact, cluster: str, publisher: str) -> dict[str, str]:
    """The CloudEvents 1.0 attributes of a record as NATS headers (binary mode).

    `cluster` is empty before the bootstrap.
    """
    kind = kind_of_fact(fact)
    return {
        "ce-specversion": "1.0",
        "ce-id": fact.id,
        "ce-source": f"/flaredb/{cluster or '-'}/pd/{publisher}",
        "ce-type": f"io.flaredb.{kind}.v1",
        "ce-subject": f"{_noun_of(fact)}/{about_fact(fact)}",
        "ce-datacontenttype": "application/json",
    }


def _noun_of(fact: JournalFact) -> str:
    match fact:
        case StoreJoined() | StoreDraining() | StoreServing() | StoreRemoved():
            return "store"
        case SplitOrdered() | MergeOrdered() | IdsGranted() | RegionRegistered():
            return "region"
        case OperatorStarted() | OperatorStepped() | OperatorEnded():
            return "operator"
        case NothingToDo():
            return "balance"
        case _:
            return "pd"


def initial_region(region: Region) -> InitialRegion:
    """A region as the bootstrap record names it."""
    return InitialRegion(
        id=region.id,
        start=region.keys.start,
        end=region.keys.end,
        start_text=show_key(region.keys.start),
        end_text=show_key(region.keys.end),
        version=region.epoch.version,
        conf_ver=region.epoch.conf_ver,
        peers=report_peers(region.peers),
    )


def bootstrapped_region(record: InitialRegion) -> Region:
    """The region that the bootstrap record names."""
    return Region(
        record.id,
        KeyRange(record.start, record.end),
        Epoch(record.conf_ver, record.version),
        reported_peers(record.peers),
    )
