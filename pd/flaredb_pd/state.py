"""What PD believes: a fold of its journal, and nothing else.

`evolve` is the only way to a new state, in the reign that writes a record and in every replay of
it. What heartbeats say is kept apart, in `heard`.
"""

from collections.abc import Mapping
from typing import Final, assert_never

import msgspec
from msgspec import Struct

from flaredb_pd.operators import Operators
from flaredb_pd.store_records import Drain, RemovedStore, StoreRecord
from flaredb_pd.told_idle import Told, after_idle, after_start
from flaredb_schemas.ids import (
    BootCounter,
    ClusterId,
    Generation,
    JournalSequence,
    PdEpoch,
    PdIncarnation,
    RegionId,
    StoreId,
    StoreUuid,
)
from flaredb_schemas.journal import (
    Bootstrapped,
    Gap,
    GenerationsReached,
    IdsGranted,
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
)
from flaredb_schemas.operators import NothingToDo, OperatorEnded, OperatorStarted, OperatorStepped
from flaredb_schemas.records import JournalFact, bootstrapped_region
from flaredb_schemas.regions import Region

MOST_REIGNS: Final = 1_000
"""How many past reigns are known by name. A store that slept through more is believed."""


class OpenedReign(Struct, frozen=True):
    """A reign: its epoch, who opened it (empty: not known), and with which record."""

    epoch: PdEpoch
    incarnation: PdIncarnation
    sequence: JournalSequence


class State(Struct, frozen=True, kw_only=True):
    """All that the journal says up to `sequence`.

    `stores` are the members, `removed` those that were and never will be again.
    `regions` are those of the bootstrap, as they were then; `registered` all that were ever told.
    `reign_sequence` and `bootstrap_sequence` are the records on which orders rest. `highest_epoch`
    is the highest that any record names, skipped ones included. `reigns` are those since the last
    rebuild, the newest last. `lost_epoch` and `lost_sequence` are what the last rebuild has
    accounted for; up to `lost_id`, above which ids went on, any id may have been granted in what
    was lost. `incomplete` says that records before `sequence` are missing, so that nothing may
    rest on this before a rebuild. `decided_epoch` and `decided_sequence` are those of the last
    record about which stores are drained or removed, and how many replicas are wanted; `awaited`
    are stores that were drained before a loss, and some of which have not been heard of since.
    """

    sequence: JournalSequence = JournalSequence(0)
    epoch: PdEpoch = PdEpoch(0)
    n: int = 0
    pd: str = ""
    reign_sequence: JournalSequence = JournalSequence(0)
    highest_epoch: PdEpoch = PdEpoch(0)
    highest_id: int = 0
    stores: Mapping[StoreId, StoreRecord] = {}
    removed: Mapping[StoreId, RemovedStore] = {}
    cluster: ClusterId = ClusterId("")
    regions: tuple[Region, ...] = ()
    registered: frozenset[RegionId] = frozenset()
    replicas: int = 0
    bootstrapped_at: int = 0
    bootstrap_sequence: JournalSequence = JournalSequence(0)
    leaders_ms: int | None = None
    operators: Operators = Operators()
    idle: Told = {}
    reigns: tuple[OpenedReign, ...] = ()
    rebuilding: bool = False
    lost_epoch: PdEpoch = PdEpoch(0)
    lost_sequence: JournalSequence = JournalSequence(0)
    lost_id: int = 0
    incomplete: bool = False
    decided_epoch: PdEpoch = PdEpoch(0)
    decided_sequence: JournalSequence = JournalSequence(0)
    awaited: frozenset[StoreId] = frozenset()

    @property
    def exists(self) -> bool:
        """Whether the journal knows of a cluster."""
        return bool(self.cluster)

    @property
    def is_blank(self) -> bool:
        """Whether the journal says nothing of any cluster, and lacks nothing."""
        return not (self.exists or self.stores or self.incomplete)

    def accepted(self, store: StoreId) -> StoreRecord | None:
        """A member as it was accepted last; None if it was not, or as far as only regions tell."""
        known = self.stores.get(store)
        return None if known is None or known.is_known_by_name else known

    def serves(self, store: StoreId) -> bool:
        """Whether a store is a member that may be given something: it is to stay."""
        known = self.stores.get(store)
        return known is not None and known.drain is None

    def leaves(self, store: StoreId) -> bool:
        """Whether a store is being emptied, or was removed."""
        known = self.stores.get(store)
        return store in self.removed or (known is not None and known.drain is not None)

    @property
    def incarnation(self) -> PdIncarnation:
        """Who opened the reign of `epoch`."""
        return self.reigns[-1].incarnation if self.reigns else PdIncarnation("")


def opens_reign(fact: JournalFact) -> bool:
    """Whether this kind of record begins a reign."""
    return isinstance(fact, TookOver | RebuildStarted)


def follows(state: State, fact: JournalFact) -> bool:
    """Whether `fact` is the next of its reign, or opens a later one."""
    if fact.epoch > state.epoch:
        return fact.n == 1 and opens_reign(fact)
    return fact.epoch == state.epoch and fact.n == state.n + 1 and not opens_reign(fact)


def numbered(state: State, fact: JournalFact, wall: int) -> JournalFact:
    """`fact` as the next record after `state`; one that opens a reign names its epoch already."""
    assert bool(fact.epoch) == opens_reign(fact), "only what opens a reign names an epoch"
    epoch, n = (fact.epoch, 1) if fact.epoch else (state.epoch, state.n + 1)
    return msgspec.structs.replace(fact, id=f"pd.{epoch}.{n}", at=wall, epoch=epoch, n=n)


def evolve(state: State, fact: JournalFact, sequence: JournalSequence) -> State:
    """The state after `fact`, which stands in the journal at `sequence`."""
    assert follows(state, fact), f"{fact.id} does not follow pd.{state.epoch}.{state.n}"
    assert sequence == state.sequence + 1, f"record {sequence} came after {state.sequence}"
    changed = msgspec.structs.replace(
        _changed_by(state, fact, sequence),
        sequence=sequence,
        epoch=fact.epoch,
        n=fact.n,
        highest_epoch=max(state.highest_epoch, fact.epoch),
    )
    assert changed.highest_id >= state.highest_id, f"{fact.id} takes granted ids back"
    if _decides(fact):
        decided = {"decided_epoch": fact.epoch, "decided_sequence": sequence}
        changed = msgspec.structs.replace(changed, **decided)
    return changed


def _decides(fact: JournalFact) -> bool:
    """Whether the record says something that no region will tell."""
    known = isinstance(fact, RebuildStarted) and fact.replicas > 0
    return known or isinstance(fact, Bootstrapped | StoreDraining | StoreServing | StoreRemoved)


def _changed_by(state: State, fact: JournalFact, sequence: JournalSequence) -> State:
    change = msgspec.structs.replace
    match fact:
        case TookOver():
            opened = OpenedReign(fact.epoch, fact.incarnation, sequence)
            reigns = (*state.reigns, opened)[-MOST_REIGNS:]
            return change(state, pd=fact.pd, reign_sequence=sequence, reigns=reigns)
        case StoreJoined():
            stores = {**state.stores, fact.store: _store_record(state, fact)}
            return change(state, stores=stores, highest_id=fact.highest_id)
        case StoreDraining():
            drain = Drain(fact.at, fact.replicas, fact.leaders, fact.bytes)
            return change(state, stores=_with_drain(state, fact.store, drain))
        case StoreServing():
            return change(state, stores=_with_drain(state, fact.store, None))
        case StoreRemoved():
            return _without(state, fact.store, sequence)
        case GenerationsReached():
            return change(state, stores=_aged(state.stores, fact.reached))
        case Bootstrapped():
            return change(
                state,
                cluster=fact.cluster,
                regions=tuple(bootstrapped_region(region) for region in fact.regions),
                registered=frozenset(region.id for region in fact.regions),
                replicas=fact.replicas,
                highest_id=fact.highest_id,
                bootstrapped_at=fact.at,
                bootstrap_sequence=sequence,
            )
        case IdsGranted():
            return change(state, highest_id=fact.highest_id)
        case RegionRegistered():
            return change(state, registered=state.registered | {fact.region.id})
        case OperatorStarted():
            operators = state.operators.with_started(fact, sequence)
            idle = after_start(state.idle, fact)
            return change(state, operators=operators, idle=idle, highest_id=fact.highest_id)
        case OperatorStepped():
            return change(state, operators=state.operators.with_step(fact))
        case OperatorEnded():
            return change(state, operators=state.operators.with_ended(fact))
        case NothingToDo():
            return change(state, idle=after_idle(state.idle, fact))
        case LeadersElected():
            return change(state, leaders_ms=fact.ms)
        case RebuildStarted():
            return _rebuilt(state, fact, sequence)
        case RebuildFinished():
            return change(state, rebuilding=False)
        case SplitOrdered() | MergeOrdered() | Gap():
            return state
        case _:
            assert_never(fact)


def _rebuilt(state: State, fact: RebuildStarted, sequence: JournalSequence) -> State:
    ours = _as_decided(state if state.cluster == fact.cluster else State(), fact, sequence)
    return msgspec.structs.replace(
        state,
        cluster=fact.cluster,
        # A bootstrap that was under way when another cluster spoke up: nobody was told of it.
        stores=ours.stores,
        regions=ours.regions,
        registered=ours.registered,
        replicas=ours.replicas,
        bootstrapped_at=ours.bootstrapped_at,
        bootstrap_sequence=ours.bootstrap_sequence,
        leaders_ms=ours.leaders_ms,
        removed=ours.removed,
        awaited=ours.awaited,
        operators=ours.operators.with_all_lost(fact.at),
        highest_id=fact.highest_id,
        reigns=(OpenedReign(fact.epoch, fact.incarnation, sequence),),
        lost_epoch=fact.lost_epoch,
        lost_sequence=fact.lost_sequence,
        lost_id=fact.highest_id,
        rebuilding=True,
        incomplete=False,
        reign_sequence=sequence,
    )


def _as_decided(ours: State, fact: RebuildStarted, sequence: JournalSequence) -> State:
    """What was decided about stores, as far as anybody remembers it."""
    if not fact.replicas:
        return ours
    gone = {
        store: ours.removed.get(store) or RemovedStore(_known_by_name(store, uuid), sequence)
        for store, uuid in fact.removed.items()
    }
    unknown = Drain(fact.at, 0, 0, 0)
    stores: dict[StoreId, StoreRecord] = {}
    for store, known in ours.stores.items():
        if store not in gone:
            drain = (known.drain or unknown) if store in fact.draining else None
            stores[store] = msgspec.structs.replace(known, drain=drain)
    return msgspec.structs.replace(
        ours,
        stores=stores,
        removed={**ours.removed, **gone},
        replicas=fact.replicas,
        awaited=frozenset(fact.draining),
    )


def _known_by_name(store: StoreId, uuid: StoreUuid) -> StoreRecord:
    return StoreRecord(store, uuid, BootCounter(0), "", {}, 0, "")


def _store_record(state: State, fact: StoreJoined) -> StoreRecord:
    known = state.stores.get(fact.store)
    drain = known.drain if known is not None else None
    if known is None and fact.store in state.awaited:
        drain = Drain(fact.at, 0, 0, 0)
    return StoreRecord(
        fact.store,
        fact.uuid,
        fact.boot,
        fact.nonce,
        fact.labels,
        fact.capacity,
        fact.version,
        max(fact.generation, known.generation if known is not None else Generation(0)),
        drain,
    )


def _with_drain(state: State, store: StoreId, drain: Drain | None) -> dict[StoreId, StoreRecord]:
    known = state.stores[store]
    return {**state.stores, store: msgspec.structs.replace(known, drain=drain)}


def _without(state: State, store: StoreId, sequence: JournalSequence) -> State:
    stores = {one: known for one, known in state.stores.items() if one != store}
    gone = RemovedStore(state.stores[store], sequence)
    return msgspec.structs.replace(state, stores=stores, removed={**state.removed, store: gone})


def _aged(
    stores: Mapping[StoreId, StoreRecord], reached: Mapping[StoreId, Generation]
) -> dict[StoreId, StoreRecord]:
    return {
        store: msgspec.structs.replace(
            known, generation=max(known.generation, reached.get(store, known.generation))
        )
        for store, known in stores.items()
    }
