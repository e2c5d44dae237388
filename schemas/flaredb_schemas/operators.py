"""Operators: what PD has undertaken to do to the replicas of a region, from start to end.

An operator is a thing of the journal. It is started by one record, which grants the ids that it
needs, and ended by one; in between each step is recorded when heartbeats show that it is done.
Orders rest on the first of these records, and everything else on what heartbeats say. The first one
also tells why, and the last one what came of it; that nothing is wanted is a record, too.
"""

from typing import Literal

from flaredb_schemas.decisions import Decision, Outcome
from flaredb_schemas.ids import NO_PEER, NO_STORE, OperatorId, PeerId, RegionId, StoreId
from flaredb_schemas.journal import Fact, InitialRegion
from flaredb_schemas.placement import PeerReport
from flaredb_schemas.regions import Count

OperatorKind = Literal["add", "move", "remove", "replace", "transfer"]
"""`move` takes a replica from one store to another, `replace` does so where the one is lost; `add`
and `remove` do half of it; `transfer` has another replica lead."""

OperatorOutcome = Literal["done", "cancelled", "expired", "replaced", "refused"]
"""How an operator ends. `expired`: its time was over; `replaced`: by one of a higher priority;
`refused`: the region is not any more what the operator was meant for."""

OperatorStep = Literal["learner_added", "leader_moved", "voters_changed"]
"""A step that is done. The last one of an operator is its end."""


class OperatorStarted(Fact, frozen=True, kw_only=True, tag_field="type", tag="operator.started"):
    """PD undertakes to change the replicas of a region, or who leads it.

    `add` is the new peer, `remove` the one that goes; `leader` led when this was decided, `to` is
    whom a transfer has lead. `reason` and `trigger` (`manual`, or what asked for it) tell why. It
    may take `seconds`. `before` is the region as PD knew it; `expected` are its peers after it.
    `decision` is what it was chosen from; a person's wish was chosen from nothing.
    """

    operator: OperatorId
    kind: OperatorKind
    region: RegionId
    add: PeerReport | None = None
    remove: PeerReport | None = None
    leader: PeerId
    to: PeerId = NO_PEER
    priority: Count
    trigger: str
    reason: str
    seconds: Count
    before: InitialRegion
    expected: tuple[PeerReport, ...]
    highest_id: Count
    decision: Decision = Decision()


class OperatorStepped(Fact, frozen=True, kw_only=True, tag_field="type", tag="operator.stepped"):
    """A step of an operator is done, `ms` milliseconds after its start, as its region tells."""

    operator: OperatorId
    region: RegionId
    step: OperatorStep
    conf_ver: Count
    leader: PeerId
    ms: Count


class OperatorEnded(Fact, frozen=True, kw_only=True, tag_field="type", tag="operator.ended"):
    """An operator is over, `ms` milliseconds after its start; nothing is ordered for it any more.

    `reason` says why, where it is not `done`. `peers`, `store` (which leads) and `bytes` are of the
    region as last told; nobody and nothing where it is not known. `outcomes` are the figures that
    its start foretold; `predicted_ms` and `predicted_bytes` are from there, too.
    """

    operator: OperatorId
    kind: OperatorKind
    region: RegionId
    outcome: OperatorOutcome
    reason: str
    ms: Count
    peers: tuple[PeerReport, ...] = ()
    store: StoreId = NO_STORE
    bytes: Count = 0
    predicted_ms: Count = 0
    predicted_bytes: Count = 0
    outcomes: tuple[Outcome, ...] = ()


class NothingToDo(Fact, frozen=True, kw_only=True, tag_field="type", tag="balance.nothing_to_do"):
    """A balancer, a repair or a drain finds nothing to do, or can do nothing, and why.

    Told when the reason is another one than before, or the same again after `policy` has started
    something; once it has stood for some seconds, and at most once a minute.
    """

    policy: str
    reason: str
    decision: Decision = Decision()
