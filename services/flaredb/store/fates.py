"""What became of a replica here that nobody speaks to any more: PD is asked.

A replica that has heard of no leader for a minute, or stands in the way of another, may be one
whose region went on without it: all its peers were replaced, or it became a part of another region,
while this store was away, and nobody is left to tell. PD's word counts only where it names a later
epoch that omits the peer, or a region of a later version that holds its keys. Who may be the one
that is to absorb it, and hears of nobody either, is waited for.
"""

from collections.abc import Callable
from typing import Final

from msgspec import Struct

from flaredb.store.context import Context
from flaredb.store.records import ReplicaState
from flaredb.store.removing import Removing
from flaredb.store.replica import Replica
from flaredb_schemas.envelope import Codec
from flaredb_schemas.ids import NO_PEER, RegionId
from flaredb_schemas.membership import AskFate, TellFate
from flaredb_schemas.subjects import Subjects

ASK_FATE: Final[Codec[AskFate]] = Codec(AskFate)

LOOK_SECONDS: Final = 10.0
"""How often the replicas are looked at; also how often one is asked for."""

PATIENCE_SECONDS: Final = 60.0
"""How long a replica may be without a leader, or in the way, before its fate is asked for."""


class Doubt(Struct):
    """Since when a replica object has been doubted; `seen` when that was last so.

    `is_part` if PD has said that its region is a part of another one by now.
    """

    incarnation: int
    since: float
    seen: float
    is_part: bool = False


class Fates:
    """Asks for the fate of replicas.

    Invariant: `_doubts` holds replicas that were without a leader, or in the way, when last looked
    at, or since then.
    """

    __slots__ = ("_context", "_doubts", "_look_at", "_removing", "_send", "_subjects")

    def __init__(
        self,
        context: Context,
        removing: Removing,
        subjects: Subjects,
        send: Callable[[str, bytes], bool],
    ) -> None:
        self._context = context
        self._removing = removing
        self._subjects = subjects
        self._send = send
        self._doubts: dict[RegionId, Doubt] = {}
        self._look_at = context.now + LOOK_SECONDS

    def blocks(self, region: RegionId) -> None:
        """The replica of `region` here stands in the way of another region's."""
        replica = self._context.registry.get(region)
        if replica is not None:
            self._doubt(replica)

    def _doubt(self, replica: Replica) -> None:
        now = self._context.now
        known = self._doubts.get(replica.id)
        if known is None or known.incarnation != replica.incarnation:
            self._doubts[replica.id] = Doubt(replica.incarnation, now, now)
        else:
            known.seen = now

    def tick(self) -> None:
        """Once per tick: now and then look for those without a leader, and ask."""
        now = self._context.now
        if now < self._look_at:
            return
        self._look_at = now + LOOK_SECONDS
        for replica in self._context.registry:
            if not replica.asleep and replica.node.leader == NO_PEER:
                self._doubt(replica)
        for region, doubt in list(self._doubts.items()):
            doubted = self._context.registry.get(region)
            if doubted is None or now - doubt.seen > LOOK_SECONDS:
                del self._doubts[region]
            elif now - doubt.since >= PATIENCE_SECONDS:
                self._ask(doubted)

    def _ask(self, replica: Replica) -> None:
        me, region = self._context.me, replica.region
        start = region.keys.start
        ask = AskFate(me.store, me.boot, me.cluster, region.id, replica.peer, region.epoch, start)
        self._send(self._subjects.pd_request(me.store, "fate"), ASK_FATE.encode(ask))

    def told(self, body: TellFate) -> None:
        """PD knows better."""
        replica = self._context.registry.get(body.region)
        doubted = body.region in self._doubts
        if replica is None or replica.peer != body.peer or not doubted or replica.leads:
            return
        record, mine = body.record, replica.region
        if record.id == mine.id:
            if record.epoch.conf_ver > mine.epoch.conf_ver and record.peer(body.peer) is None:
                self._removing.left(replica)
        elif record.epoch.version > mine.epoch.version and record.keys.contains(mine.keys.start):
            self._doubts[body.region].is_part = True
            self._absorbed(replica, record.id)

    def _absorbed(self, replica: Replica, absorbed_by: RegionId) -> None:
        """Unless a replica here has still to absorb it by its own log."""
        merging = replica.machine.state.merging
        targets = [absorbed_by] if merging is None else [absorbed_by, merging.target]
        here = [self._context.registry.get(target) for target in targets]
        if merging is None:  # it may have agreed, and not know that yet: to whom is not known
            here += [one for one in self._beside(replica) if self._is_forlorn(one)]
        if not any(
            target is not None and target.state is not ReplicaState.DAMAGED for target in here
        ):
            self._removing.absorbed(replica, absorbed_by)

    def _beside(self, replica: Replica) -> list[Replica]:
        """The replicas here that hold the keys before and behind this one's."""
        mine = replica.region.keys
        return [
            one
            for one in self._context.registry
            if (mine.end and one.region.keys.start == mine.end)
            or (mine.start and one.region.keys.end == mine.start)
        ]

    def _is_forlorn(self, replica: Replica) -> bool:
        """Whether nobody may have told it yet what its region has become, nor has PD.

        Of two that PD knows to be parts of others none waits for the other.
        """
        doubt = self._doubts.get(replica.id)
        if doubt is not None and doubt.incarnation == replica.incarnation:
            return not doubt.is_part
        return replica.node.leader == NO_PEER
