"""Which facts start an operator, note its steps and end it."""

from typing import Final

from msgspec import Struct

from flaredb_pd.fresh_ids import grant
from flaredb_pd.operators import Operator
from flaredb_pd.state import State
from flaredb_schemas.decisions import Decision, Outcome
from flaredb_schemas.ids import NO_PEER, NO_STORE, OperatorId, PeerId, RegionId, StoreId
from flaredb_schemas.operators import (
    OperatorEnded,
    OperatorKind,
    OperatorOutcome,
    OperatorStarted,
    OperatorStep,
    OperatorStepped,
)
from flaredb_schemas.placement import PeerReport
from flaredb_schemas.records import JournalFact, initial_region
from flaredb_schemas.regions import Peer, Region
from flaredb_schemas.reported import report_peers

OUTRANKED: Final = "an operator of a higher priority has taken its place"


class Plan(Struct, frozen=True):
    """What is to be done to the replicas of `region`, which `leader` leads.

    `add` is the store that gets a replica, `remove` the peer that goes, `to` who is to lead: zero
    and None where nobody does. A higher `priority` takes a lower one's place. At most `seconds`.
    `decision` is why.
    """

    kind: OperatorKind
    region: Region
    leader: PeerId
    seconds: int
    priority: int
    trigger: str
    reason: str
    add: StoreId = NO_STORE
    remove: Peer | None = None
    to: PeerId = NO_PEER
    decision: Decision = Decision()


class StartOperator(Struct, frozen=True):
    """Undertake this, unless something no less important is under way there. `now` is the wall's"""

    plan: Plan
    now: int


class NoteStep(Struct, frozen=True):
    """A step of an operator has been seen to be done."""

    operator: OperatorId
    region: RegionId
    step: OperatorStep
    conf_ver: int
    leader: PeerId
    now: int


class EndOperator(Struct, frozen=True):
    """An operator is over, if it still runs; `peers`, `store` and `bytes` as last told, and what
    came of what was foretold."""

    operator: OperatorId
    region: RegionId
    outcome: OperatorOutcome
    reason: str
    now: int
    peers: tuple[PeerReport, ...] = ()
    store: StoreId = NO_STORE
    bytes: int = 0
    outcomes: tuple[Outcome, ...] = ()


def started(state: State, command: StartOperator) -> tuple[JournalFact, ...]:
    """The operator's record; before it the end of the one whose place it takes."""
    plan, known = command.plan, state.operators.running.get(command.plan.region.id)
    if not state.exists or (known is not None and known.started.priority >= plan.priority):
        return ()
    if plan.add and state.leaves(plan.add):
        return ()  # decided a moment ago
    before = () if known is None else (_ended(known, "replaced", OUTRANKED, command.now),)
    return (*before, _started(state.highest_id, plan))


def _started(highest_id: int, plan: Plan) -> OperatorStarted:
    ids = grant(highest_id, 2 if plan.add else 1)
    add = Peer(PeerId(ids[-1]), plan.add) if plan.add else None
    stay = [peer for peer in plan.region.peers if peer != plan.remove]
    return OperatorStarted(
        operator=OperatorId(ids[0]),
        kind=plan.kind,
        region=plan.region.id,
        add=_report(add),
        remove=_report(plan.remove),
        leader=plan.leader,
        to=plan.to,
        priority=plan.priority,
        trigger=plan.trigger,
        reason=plan.reason,
        seconds=plan.seconds,
        before=initial_region(plan.region),
        expected=report_peers((*stay, *([add] if add else []))),
        highest_id=ids[-1],
        decision=plan.decision,
    )


def stepped(state: State, command: NoteStep) -> tuple[JournalFact, ...]:
    """The step's record, once."""
    known = _running(state, command.region, command.operator)
    if known is None or command.step in known.steps:
        return ()
    return (
        OperatorStepped(
            operator=command.operator,
            region=command.region,
            step=command.step,
            conf_ver=command.conf_ver,
            leader=command.leader,
            ms=max(0, command.now - known.started.at),
        ),
    )


def ended(state: State, command: EndOperator) -> tuple[JournalFact, ...]:
    """The operator's last record, once."""
    known = _running(state, command.region, command.operator)
    if known is None:
        return ()
    told = command.peers, command.store, command.bytes, command.outcomes
    return (_ended(known, command.outcome, command.reason, command.now, *told),)


def _ended(
    known: Operator,
    outcome: OperatorOutcome,
    reason: str,
    now: int,
    peers: tuple[PeerReport, ...] = (),
    store: StoreId = NO_STORE,
    size: int = 0,
    outcomes: tuple[Outcome, ...] = (),
) -> OperatorEnded:
    return OperatorEnded(
        operator=known.id,
        kind=known.started.kind,
        region=known.region,
        outcome=outcome,
        reason=reason,
        ms=max(0, now - known.started.at),
        peers=peers,
        store=store,
        bytes=size,
        predicted_ms=known.started.decision.ms,
        predicted_bytes=known.started.decision.bytes,
        outcomes=outcomes,
    )


def _running(state: State, region: RegionId, number: OperatorId) -> Operator | None:
    known = state.operators.running.get(region)
    return known if known is not None and known.id == number else None


def _report(peer: Peer | None) -> PeerReport | None:
    return None if peer is None else report_peers((peer,))[0]
