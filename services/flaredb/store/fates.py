"""What became of a replica here that nobody speaks to any more: PD is asked.

A replica that has heard of no leader for a minute, or stands in the way of another, may be one
whose region went on without it: all its peers were replaced, or it became a part of another region,
while this store was away, and nobody is left to tell. PD's word counts only where it names a later
epoch that omits the peer, or a region into which the asked one was merged. Who is to absorb it here
by its own log, and has not come to that yet, is waited for.
"""

from collections.abc import Callable
from typing import Final

from msgspec import Struct

from flaredb.store.absorptions import settled
from flaredb.store.context import Context
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
    """Since when a replica object has been doubted; `seen` when that was last so."""

    incarnation: int
    since: float
    seen: float


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
                self._removing.remove_parts(record)
        elif mine.id in settled(self._context.registry, record):
            self._removing.remove_parts(record)
