"""What PD decides: a command and the state in, facts out; nothing else changes PD.

A command whose effect is in the state already yields nothing, so a command that is repeated after a
takeover does no harm. Facts come out without number and time; the journal fills those in.
"""

from typing import assert_never

from msgspec import Struct

from flaredb_pd.bootstrap import bootstrap_facts, joined_fact
from flaredb_pd.config import Config
from flaredb_pd.decided import decided_of, newest
from flaredb_pd.fresh_ids import floor_after_loss, grant
from flaredb_pd.generations import NoteGenerations, news
from flaredb_pd.idle_facts import TellIdle, told_idle
from flaredb_pd.joins import Admission, find_removed, judge
from flaredb_pd.named_stores import NameStores, named
from flaredb_pd.operator_facts import (
    EndOperator,
    NoteStep,
    StartOperator,
    ended,
    started,
    stepped,
)
from flaredb_pd.recovery import Claim, Loss
from flaredb_pd.state import State
from flaredb_pd.store_facts import DrainStore, KeepStore, RemoveStore, drained, kept, removed
from flaredb_schemas.ids import JournalSequence, PdEpoch, StoreId
from flaredb_schemas.journal import (
    Gap,
    GenerationsReached,
    IdsGranted,
    LeadersElected,
    MergeOrdered,
    RebuildFinished,
    RebuildStarted,
    RegionRegistered,
    SplitOrdered,
    StoreJoined,
    TookOver,
)
from flaredb_schemas.merges import OrderMerge
from flaredb_schemas.placement import Join
from flaredb_schemas.records import JournalFact, initial_region
from flaredb_schemas.regions import Region
from flaredb_schemas.splits import AskIds, OrderSplit


class TakeOver(Struct, frozen=True):
    """Open a reign above every epoch in the journal and above `heard_epoch`."""

    heard_epoch: PdEpoch


class Bootstrap(Struct, frozen=True):
    """Make the cluster exist, on the stores that wait."""

    joins: tuple[Join, ...]


class Admit(Struct, frozen=True):
    """Accept a store that asks, if it may be."""

    join: Join


class OrderCut(Struct, frozen=True):
    """Have the leader on `store` cut its region."""

    body: OrderSplit
    store: StoreId


class OrderMerging(Struct, frozen=True):
    """Have a region become a part of its neighbour."""

    body: OrderMerge


class GrantFresh(Struct, frozen=True):
    """Grant a leader the ids that it asks for."""

    ask: AskIds


class Register(Struct, frozen=True):
    """Note these regions, of which their leaders have told."""

    regions: tuple[Region, ...]


class Rebuild(Struct, frozen=True):
    """Begin anew above what was lost."""

    loss: Loss


class Recover(Struct, frozen=True):
    """Take a member that the journal does not know back into it."""

    claim: Claim


class FinishRebuild(Struct, frozen=True):
    """The key space is covered, or it has been waited for long enough."""

    regions: int
    covered: bool
    ms: int


class NoteLeaders(Struct, frozen=True):
    """Every initial region has had a leader, at this time of the wall clock."""

    regions: int
    at: int


class NoteGap(Struct, frozen=True):
    """Records were skipped."""

    first: JournalSequence
    last: JournalSequence
    reason: str


Command = (
    TakeOver
    | Bootstrap
    | Admit
    | OrderCut
    | OrderMerging
    | StartOperator
    | NoteStep
    | EndOperator
    | TellIdle
    | DrainStore
    | KeepStore
    | RemoveStore
    | GrantFresh
    | Register
    | Rebuild
    | Recover
    | NameStores
    | FinishRebuild
    | NoteLeaders
    | NoteGenerations
    | NoteGap
)


def decide(state: State, command: Command, config: Config) -> tuple[JournalFact, ...]:
    """The facts that `command` brings about under `state`; none if there is nothing to do."""
    match command:
        case TakeOver():
            return (_take_over(state, command, config),)
        case Bootstrap():
            ready = not state.exists and len(command.joins) >= config.stores
            known = {store.uuid: store.id for store in state.stores.values()}
            return bootstrap_facts(command.joins, config, state.highest_id, known) if ready else ()
        case Admit():
            return _admit(state, command.join)
        case OrderCut():
            return (_split_ordered(command),) if state.exists else ()
        case OrderMerging():
            return (_merge_ordered(command.body),) if state.exists else ()
        case StartOperator():
            return started(state, command)
        case NoteStep():
            return stepped(state, command)
        case EndOperator():
            return ended(state, command)
        case TellIdle():
            return told_idle(state, command)
        case DrainStore():
            return drained(state, command)
        case KeepStore():
            return kept(state, command)
        case RemoveStore():
            return removed(state, command)
        case GrantFresh():
            return _granted(state, command.ask)
        case Register():
            return _registered(state, command.regions) if state.exists else ()
        case Rebuild():
            return _rebuild(state, command.loss, config)
        case Recover():
            return _recover(state, command.claim)
        case NameStores():
            return named(state, command)
        case FinishRebuild():
            if not state.rebuilding:
                return ()
            return (
                RebuildFinished(regions=command.regions, covered=command.covered, ms=command.ms),
            )
        case NoteLeaders():
            if not state.exists or state.leaders_ms is not None:
                return ()
            ms = max(0, command.at - state.bootstrapped_at)
            return (LeadersElected(regions=command.regions, ms=ms),)
        case NoteGenerations():
            reached = news(state, command.reached)
            return (GenerationsReached(reached=reached),) if reached else ()
        case NoteGap():
            return (Gap(first=command.first, last=command.last, reason=command.reason),)
        case _:
            assert_never(command)


def _take_over(state: State, command: TakeOver, config: Config) -> TookOver:
    return TookOver(
        epoch=PdEpoch(max(state.highest_epoch, command.heard_epoch) + 1),
        pd=config.name,
        incarnation=config.incarnation,
        after=state.sequence,
    )


def _admit(state: State, join: Join) -> tuple[JournalFact, ...]:
    judgement = judge(state, join)
    if not isinstance(judgement, Admission):
        return ()
    return (joined_fact(join, judgement.store, judgement.highest_id, judgement.recovered),)


def _split_ordered(command: OrderCut) -> SplitOrdered:
    body = command.body
    return SplitOrdered(
        region=body.region,
        version=body.epoch.version,
        conf_ver=body.epoch.conf_ver,
        leader=body.leader,
        store=command.store,
        nonce=body.nonce,
        keys=body.keys,
        trigger=body.trigger,
        triggered=body.triggered,
    )


def _merge_ordered(body: OrderMerge) -> MergeOrdered:
    return MergeOrdered(
        region=body.region,
        version=body.epoch.version,
        conf_ver=body.epoch.conf_ver,
        target=body.target,
        target_version=body.target_epoch.version,
        target_conf_ver=body.target_epoch.conf_ver,
        nonce=body.nonce,
        trigger=body.trigger,
        triggered=body.triggered,
    )


def _registered(state: State, regions: tuple[Region, ...]) -> tuple[JournalFact, ...]:
    fresh = {region.id: region for region in regions if region.id not in state.registered}
    return tuple(RegionRegistered(region=initial_region(region)) for region in fresh.values())


def _granted(state: State, ask: AskIds) -> tuple[JournalFact, ...]:
    if not state.exists or ask.store not in state.stores:
        return ()
    ids = grant(state.highest_id, ask.count)
    return (
        IdsGranted(
            store=ask.store,
            region=ask.region,
            nonce=ask.nonce,
            first=ids[0],
            count=ask.count,
            highest_id=ids[-1],
        ),
    )


def _rebuild(state: State, loss: Loss, config: Config) -> tuple[JournalFact, ...]:
    ours = state if state.cluster == loss.cluster else State()
    decided = newest(loss.decided, decided_of(ours))  # one may have been written since
    started = RebuildStarted(
        epoch=PdEpoch(max(state.highest_epoch, loss.epoch) + 1),
        reason=loss.reason,
        cluster=loss.cluster,
        lost_epoch=loss.epoch,
        lost_sequence=loss.sequence,
        lost_id=loss.highest_id,
        highest_id=floor_after_loss(max(state.highest_id, loss.highest_id)),
        incarnation=config.incarnation,
        replicas=decided.replicas,
        draining=decided.draining,
        removed=decided.removed,
    )
    gone = decided.removed
    unknown: dict[StoreId, Claim] = {}
    for claim in loss.members:
        removed = claim.store in gone or claim.uuid in gone.values()
        known = removed or ours.accepted(claim.store) or find_removed(state, claim)
        if not known:
            unknown.setdefault(claim.store, claim)
    return (started, *(_recovered(claim, started.highest_id) for claim in unknown.values()))


def _recover(state: State, claim: Claim) -> tuple[JournalFact, ...]:
    lost = state.exists and claim.member and claim.cluster == state.cluster
    taken = any(known.uuid == claim.uuid for known in state.stores.values())
    taken = taken or bool(find_removed(state, claim))
    if not lost or taken or state.accepted(claim.store) or claim.store > state.lost_id:
        return ()
    return (_recovered(claim, state.highest_id),)


def _recovered(claim: Claim, highest_id: int) -> StoreJoined:
    return StoreJoined(
        store=claim.store,
        uuid=claim.uuid,
        boot=claim.boot,
        nonce=claim.nonce,
        labels={},
        capacity=0,
        version="",
        highest_id=highest_id,
        recovered=True,
        generation=claim.generation,
    )
