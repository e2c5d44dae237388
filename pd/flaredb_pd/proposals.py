"""The one door for whatever wants a region's replicas changed, and the hard rules of it.

Whoever proposes, a person, a repair or a policy, comes through here, and no rule has an exception:
one operator per region, none where PD has ordered a split or a merge, no two replicas of a region
on one store, also not beside what has been removed and may still be on its disk; what votes after
the change has a majority on stores that are up; and not more at a time than stores can bear, of
what is no less important.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from flaredb_pd.availability import IsUp, can_decide, has_majority
from flaredb_pd.config import Config
from flaredb_pd.foresight import Change, Figures
from flaredb_pd.ledger import Weighed, bounded, decision
from flaredb_pd.operator_facts import Plan
from flaredb_pd.operator_steps import JOINT
from flaredb_pd.region_map import RegionMap, Sighting
from flaredb_pd.state import State
from flaredb_schemas.decisions import Decision
from flaredb_schemas.ids import NO_PEER, NO_STORE, RegionId, StoreId
from flaredb_schemas.operators import OperatorKind
from flaredb_schemas.pd_answers import PdFailure
from flaredb_schemas.placement import RegionReport
from flaredb_schemas.regions import Peer, PeerRole

MANUAL: Final = 1
"""The priority of what a person wishes; what balances stands below, at 0."""
DRAIN: Final = MANUAL
"""What empties a store is a person's wish, too: above what balances, below what keeps data safe."""
APART: Final = MANUAL
"""What has replicas stand further apart: nothing is lost yet, so what is goes before."""
REPAIR: Final = 2
"""The priority of what keeps data safe."""

MIB: Final = 2**20
SLOW_SECONDS: Final = 600
SLOW_SECONDS_PER_MIB: Final = 6.0
FAST_SECONDS: Final = 60
FAST_SECONDS_PER_MIB: Final = 0.6
"""How long an operator may take: slow is what brings a replica's rows to another store. As TiKV."""

LIMIT: Final = "limit"
"""The code of what is refused because enough is under way."""

_SEE: Final = "see `flaredb region list` and `flaredb store list`"
_SEE_OPERATORS: Final = "try again when one has ended: `flaredb operator list`"


BY_HAND: Final = "manual"
"""The policy of what a person wishes: it compares nothing."""


class Proposal(Struct, frozen=True):
    """What somebody wants: `add` and `remove` a replica on these stores, `to` have one lead.

    `policy` is who chose this, `weighed` what it was chosen from.
    """

    kind: OperatorKind
    region: RegionId
    trigger: str
    reason: str
    priority: int
    add: StoreId = NO_STORE
    remove: StoreId = NO_STORE
    to: StoreId = NO_STORE
    policy: str = BY_HAND
    weighed: Weighed = Weighed()


class View(Struct, frozen=True):
    """What a proposal is judged by.

    `waiting` are the plans whose records are not written yet; `why_changing` tells in words which
    split or merge of a region PD has ordered, or nothing. By `figures` it is told what a proposal
    is expected to change.
    """

    state: State
    regions: RegionMap
    is_up: IsUp
    waiting: Mapping[RegionId, Plan]
    why_changing: Callable[[RegionId], str]
    figures: Figures


def judge(proposal: Proposal, view: View, config: Config) -> Plan | PdFailure:
    """What is to be undertaken, or the first hard rule that forbids it."""
    sighting = view.regions.get(proposal.region)
    if sighting is None:
        return unknown_region(proposal.region)
    if sighting.store == NO_STORE or sighting.report is None:
        text = f"region {proposal.region} has no leader"
        return PdFailure("no_leader", text, "see `flaredb status`, and try again")
    refused = (
        _unknown_store(proposal, view.state)
        or _leaving(proposal, view.state)
        or _busy(proposal, sighting, view)
        or _misplaced(proposal, sighting, view.is_up)
        or _endangered(proposal, sighting, view.is_up)
        or _too_many(proposal, view, config)
    )
    return refused or _plan(proposal, sighting, sighting.report, view.figures)


def unknown_region(region: RegionId) -> PdFailure:
    """The refusal of what is about no region that PD knows."""
    return PdFailure("unknown_region", f"there is no region {region}", "see `flaredb region list`")


def _plan(proposal: Proposal, sighting: Sighting, report: RegionReport, figures: Figures) -> Plan:
    region = sighting.region
    target = region.peer_on(proposal.to) if proposal.to else None
    return Plan(
        kind=proposal.kind,
        region=region,
        leader=sighting.leader,
        seconds=_seconds(bool(proposal.add), report.bytes),
        priority=proposal.priority,
        trigger=proposal.trigger,
        reason=proposal.reason,
        add=proposal.add,
        remove=region.peer_on(proposal.remove) if proposal.remove else None,
        to=target.id if target is not None else NO_PEER,
        decision=_decision(proposal, sighting, figures),
    )


def _decision(proposal: Proposal, sighting: Sighting, figures: Figures) -> Decision:
    named = [one for each in proposal.weighed.candidates for one in (each.source, each.target)]
    seen = figures.seen(sighting, [proposal.remove, proposal.add, proposal.to, *named])
    size = sighting.bytes if proposal.add else 0
    change = Change(proposal.add, proposal.remove, proposal.to)
    return bounded(
        replace(
            decision(proposal.policy, proposal.weighed, seen),
            bytes=size,
            ms=figures.expected_ms(bool(proposal.add), size),
            effects=figures.effects(change, sighting),
        )
    )


def _seconds(slow: bool, size: int) -> int:
    if slow:
        return max(SLOW_SECONDS, round(SLOW_SECONDS_PER_MIB * size / MIB))
    return max(FAST_SECONDS, round(FAST_SECONDS_PER_MIB * size / MIB))


def _unknown_store(proposal: Proposal, state: State) -> PdFailure | None:
    for store in (proposal.remove, proposal.add, proposal.to):
        # What may still come to light of a removed store must go.
        known = store in state.stores or (store == proposal.remove and store in state.removed)
        if store != NO_STORE and not known:
            text = f"there is no store {store}"
            return PdFailure("unknown_store", text, "see `flaredb store list`")
    return None


def _leaving(proposal: Proposal, state: State) -> PdFailure | None:
    for store in (proposal.add, proposal.to):
        if store != NO_STORE and state.leaves(store):
            text = f"store {store} is being drained: nothing is given to it"
            hint = f"name another store, or end the drain: `flaredb store drain {store} --cancel`"
            return PdFailure("draining", text, hint)
    return None


def _busy(proposal: Proposal, sighting: Sighting, view: View) -> PdFailure | None:
    region = proposal.region
    running, waiting = view.state.operators.running.get(region), view.waiting.get(region)
    if running is not None and running.started.priority >= proposal.priority:
        text = f"operator {running.id} ({running.started.kind}) is under way on region {region}"
        hint = f"wait until it has ended, or end it: `flaredb operator cancel {running.id}`"
        return PdFailure("busy", text, hint)
    if waiting is not None:
        text = f"an operator is about to start on region {region}"
        return PdFailure("busy", text, "try again when it has ended: `flaredb operator list`")
    changing = view.why_changing(region)
    if changing:
        return PdFailure("busy", changing, "try again when that is over")
    if any(peer.role in JOINT for peer in sighting.region.peers):
        text = f"the peers of region {region} are just being changed"
        return PdFailure("busy", text, "try again in a few seconds")
    return None


def _misplaced(proposal: Proposal, sighting: Sighting, is_up: IsUp) -> PdFailure | None:
    region = sighting.region
    if proposal.remove and region.peer_on(proposal.remove) is None:
        text = f"store {proposal.remove} has no replica of region {region.id}"
        return PdFailure("no_replica", text, f"stores {_named(region.stores)} have one")
    if proposal.to:
        return _cannot_lead(proposal.to, sighting, is_up)
    if not proposal.add:
        return None
    if region.peer_on(proposal.add) is not None:
        text = f"store {proposal.add} has a replica of region {region.id} already"
        return PdFailure("has_replica", text, "name a store that has none: `flaredb store list`")
    if any(peer.store == proposal.add for peer in region.removed):
        text = f"store {proposal.add} has not cleaned up its former replica of region {region.id}"
        return PdFailure("removing", text, "try again when it has; it must be up for that")
    return None if is_up(proposal.add) else _store_away(proposal.add)


def _cannot_lead(store: StoreId, sighting: Sighting, is_up: IsUp) -> PdFailure | None:
    region, report = sighting.region, sighting.report
    peer = region.peer_on(store)
    if peer is None:
        text = f"store {store} has no replica of region {region.id}"
        return PdFailure("no_replica", text, f"stores {_named(region.stores)} have one")
    if peer.id == sighting.leader:
        text = f"store {store} leads region {region.id} already"
        return PdFailure("leads", text, "nothing is left to do")
    if peer.role is not PeerRole.VOTER:
        text = f"the replica of region {region.id} on store {store} does not vote"
        return PdFailure("no_voter", text, "name a store whose replica votes")
    if not is_up(store):
        return _store_away(store)
    return None if report is None else _cannot_catch_up(peer, report)


def _cannot_catch_up(peer: Peer, report: RegionReport) -> PdFailure | None:
    """Why nobody can hand over to this peer now, as far as its leader tells."""
    its = f"the replica of region {report.id} on store {peer.store}"
    if peer.id in report.lost:
        return PdFailure("lost", f"{its} is lost", "name another store; PD replaces what is lost")
    if any(one.peer == peer.id for one in report.down):
        return PdFailure("silent", f"{its} is not heard by its leader", "name another store")
    if any(one.peer == peer.id for one in report.pending):
        return PdFailure("lagging", f"{its} is behind", "try again when it has caught up")
    return None


def _store_away(store: StoreId) -> PdFailure:
    text = f"store {store} is not up"
    return PdFailure("store_away", text, "start it again, or name another: `flaredb store list`")


def _endangered(proposal: Proposal, sighting: Sighting, is_up: IsUp) -> PdFailure | None:
    region = sighting.region
    voters = [peer for peer in region.peers if peer.role is PeerRole.VOTER]
    after = [peer for peer in voters if peer.store != proposal.remove]
    if proposal.add:
        after.append(Peer(NO_PEER, proposal.add))
    if not after:
        text = f"region {region.id} would be left without a replica that votes"
        return PdFailure("quorum", text, "have another store get a replica first")
    if can_decide(region, is_up) and has_majority(after, is_up):
        return None
    away = [peer.store for peer in (*voters, *after) if not is_up(peer.store)]
    text = f"no majority of region {region.id} would be up: not up are {_named(sorted({*away}))}"
    return PdFailure("quorum", text, f"start these stores again first; {_SEE}")


def _too_many(proposal: Proposal, view: View, config: Config) -> PdFailure | None:
    """What is less important counts for nothing: so it never takes the last place."""
    running = {region: one.started for region, one in view.state.operators.running.items()}
    least, adds = proposal.priority, dict[RegionId, StoreId]()
    for region, started in running.items():
        if started.priority >= least:
            adds[region] = started.add.store if started.add is not None else NO_STORE
    adds.update((region, one.add) for region, one in view.waiting.items() if one.priority >= least)
    adds.pop(proposal.region, None)
    if len(adds) >= config.operators_at_once:
        text = f"{len(adds)} operators are under way, the limit is {config.operators_at_once}"
        return PdFailure(LIMIT, text, _SEE_OPERATORS)
    coming = list(adds.values())
    if proposal.add and coming.count(proposal.add) >= config.adds_per_store:
        count = coming.count(proposal.add)
        text = f"store {proposal.add} gets {count} replicas now, which is as many as it may"
        return PdFailure(LIMIT, text, _SEE_OPERATORS)
    return None


def _named(stores: Iterable[StoreId]) -> str:
    return ", ".join(map(str, stores))
