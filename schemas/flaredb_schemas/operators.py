"""Operators: what PD has undertaken to do to the replicas of a region, from start to end.

An operator is a thing of the journal. It is started by one record, which grants the ids that it
needs, and ended by one; in between each step is recorded when heartbeats show that it is done.
Orders rest on the first of these records, and everything else on what heartbeats say.
"""

from typing import Literal

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
    region as last told; nobody and nothing where it is not known.
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
