"""One line of text for what PD writes, sends and is told: sorted, without ids of this very run."""

from typing import assert_never

from flaredb_pd.effects import Note
from flaredb_schemas.journal import (
    Bootstrapped,
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
)
from flaredb_schemas.keys import show_key
from flaredb_schemas.membership import ForgetPeers, OrderPeers, TellFate
from flaredb_schemas.merges import OrderMerge
from flaredb_schemas.operators import (
    NothingToDo,
    OperatorEnded,
    OperatorStarted,
    OperatorStepped,
)
from flaredb_schemas.placement import (
    CreateRegions,
    Joined,
    JoinLater,
    JoinRefused,
    Order,
    PeerReport,
    Report,
    TransferLeader,
)
from flaredb_schemas.records import JournalFact, initial_region
from flaredb_schemas.regions import Region, Route
from flaredb_schemas.reported import report_peers
from flaredb_schemas.splits import GrantIds, OrderSplit


def describe_fact(fact: JournalFact) -> str:
    """A journal record."""
    head = f"{fact.id} {type(fact).__struct_config__.tag}"
    match fact:
        case TookOver():
            return f"{head} pd={fact.pd} after={fact.after}"
        case StoreJoined():
            recovered = " recovered" if fact.recovered else ""
            start = f"store={fact.store} uuid={fact.uuid[:4]} boot={fact.boot}"
            return f"{head} {start} highest_id={fact.highest_id}{recovered}"
        case StoreDraining():
            held = f"replicas={fact.replicas} leaders={fact.leaders} bytes={fact.bytes}"
            return f"{head} store={fact.store} {held} {fact.trigger}"
        case StoreServing():
            return f"{head} store={fact.store} {fact.trigger}"
        case StoreRemoved():
            return f"{head} store={fact.store} uuid={fact.uuid[:4]} {fact.trigger}"
        case GenerationsReached():
            reached = " ".join(f"{store}:{to}" for store, to in sorted(fact.reached.items()))
            return f"{head} {reached}"
        case Bootstrapped():
            lines = [f"{head} cluster={fact.cluster[:4]} highest_id={fact.highest_id}"]
            return "\n".join([*lines, *(f"  {_initial(region)}" for region in fact.regions)])
        case SplitOrdered():
            where = f"region={fact.region} version={fact.version} leader={fact.leader}@{fact.store}"
            at = " ".join(map(show_key, fact.keys)) or "the middle"
            return f"{head} {where} at {at}"
        case MergeOrdered():
            source = f"region={fact.region} version={fact.version}"
            target = f"target={fact.target} version={fact.target_version}"
            return f"{head} {source} {target} {fact.trigger}"
        case OperatorStarted() | OperatorStepped() | OperatorEnded():
            return f"{head} {_of_operator(fact)}"
        case NothingToDo():
            return f"{head} {fact.policy}: {fact.reason}"
        case IdsGranted():
            ids = f"{fact.first}+{fact.count} highest_id={fact.highest_id}"
            return f"{head} store={fact.store} region={fact.region} {ids}"
        case RegionRegistered():
            return f"{head} {_initial(fact.region)}"
        case LeadersElected():
            return f"{head} regions={fact.regions} ms={fact.ms}"
        case RebuildStarted():
            lost = f"lost={fact.lost_epoch}/{fact.lost_sequence}/{fact.lost_id}"
            text = f"{head} cluster={fact.cluster[:4]} {lost} highest_id={fact.highest_id}"
            draining = f" draining={fact.draining}" if fact.draining else ""
            removed = f" removed={sorted(fact.removed)}" if fact.removed else ""
            return f"{text}{draining}{removed}\n  because {fact.reason}"
        case RebuildFinished():
            return f"{head} regions={fact.regions} covered={fact.covered} ms={fact.ms}"
        case Gap():
            return f"{head} {fact.first}-{fact.last}: {fact.reason}"
        case _:
            assert_never(fact)


def _of_operator(fact: OperatorStarted | OperatorStepped | OperatorEnded) -> str:
    match fact:
        case OperatorStarted():
            add = f" add {_peers(fact.add)}" if fact.add else ""
            remove = f" remove {_peers(fact.remove)}" if fact.remove else ""
            to = f" to {fact.to}" if fact.to else ""
            what = f"{fact.operator} {fact.kind} region={fact.region}{add}{remove}{to}"
            before = f"{fact.before.version}/{fact.before.conf_ver} of {fact.leader}"
            why = f"{fact.trigger}: {fact.reason}"
            return f"{what} at {before}, {fact.seconds} s, {why}, highest_id={fact.highest_id}"
        case OperatorStepped():
            told = f"conf_ver={fact.conf_ver} leader={fact.leader} ms={fact.ms}"
            return f"{fact.operator} region={fact.region} {fact.step} {told}"
        case OperatorEnded():
            why = f" ({fact.reason})" if fact.reason else ""
            told = f"{_peers(*fact.peers)} of store {fact.store}" if fact.peers else "not known"
            return f"{fact.operator} region={fact.region} {fact.outcome}{why} ms={fact.ms}: {told}"
        case _:
            assert_never(fact)


def _peers(*peers: PeerReport) -> str:
    short = {"voter": "", "incoming_voter": ":incoming", "demoting_voter": ":demoting"}
    return " ".join(f"{one.id}@{one.store}{short.get(one.role, f':{one.role}')}" for one in peers)


def _initial(region: InitialRegion) -> str:
    peers = " ".join(f"{peer.id}@{peer.store}" for peer in region.peers)
    return f"region {region.id} [{region.start_text}..{region.end_text}) {peers}"


def describe_answer(answer: Joined | JoinRefused | JoinLater) -> str:
    """What a store that asked to join is told."""
    match answer:
        case Joined():
            place = f"epoch={answer.pd_epoch} sequence={answer.sequence}"
            return f"joined store={answer.store} {place} highest_id={answer.highest_id}"
        case JoinRefused():
            return f"refused: {answer.reason}\n  hint: {answer.hint}"
        case JoinLater():
            return f"later: {answer.reason}"
        case _:
            assert_never(answer)


def describe_order(store: str, order: Order) -> str:
    """An order and whom it goes to."""
    match order.body:
        case CreateRegions():
            what = f"create {len(order.body.regions)} regions"
        case TransferLeader():
            what = f"transfer region {order.body.region} to {order.body.to}"
        case Report():
            what = "report"
        case OrderSplit(region, epoch, leader, nonce, keys):
            at = " ".join(map(show_key, keys)) or "the middle"
            what = f"split region {region} v{epoch.version} of {leader} at {at}, nonce {nonce}"
        case GrantIds(region, nonce, first, count):
            what = f"grant {first}+{count} for region {region}, nonce {nonce}"
        case OrderMerge(region, epoch, leader, target, target_epoch, nonce):
            into = f"{target} v{target_epoch.version}"
            what = f"merge region {region} v{epoch.version} of {leader} into {into}, nonce {nonce}"
        case OrderPeers(region, epoch, leader, peers, operator, reason):
            wanted = _peers(*report_peers(peers))
            at = f"{epoch.version}/{epoch.conf_ver} of {leader}"
            what = f"peers of region {region} {at}: {wanted}, operator {operator}, {reason}"
        case ForgetPeers(region, epoch, leader, forgotten):
            at = f"{epoch.version}/{epoch.conf_ver} of {leader}"
            gone = " ".join(map(str, forgotten))
            what = f"region {region} {at} forgets peers {gone}"
        case TellFate(region, peer, record):
            what = f"peer {peer} of region {region} is a member no more, by region {record.id}"
        case _:
            assert_never(order.body)
    return f"order to {store}: {what} (epoch={order.pd_epoch} sequence={order.sequence})"


def describe_route(route: Route) -> str:
    """Where a region is."""
    region = route.region
    keys = f"[{show_key(region.keys.start)}..{show_key(region.keys.end)})"
    leader = f"leader={route.leader}@{route.store} term={route.term}"
    return f"region {region.id} {keys} {region.epoch.version}/{region.epoch.conf_ver} {leader}"


def describe_region(region: Region) -> str:
    """A region and its peers."""
    return _initial(initial_region(region))


def describe_note(note: Note) -> str:
    """A line for the log."""
    return f"{note.level}: {note.text}"
