"""How replicas come to be on this store, and how they are found again after a restart.

A replica is born from PD's initial regions, once per store, in the batch that sets the store's
`bootstrapped` mark. One whose records are not what was written is not found again: that costs this
replica, and no other.
"""

import logging
from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from flaredb.disk.disk import View
from flaredb.disk.layout import (
    BOOTSTRAPPED_KEY,
    OUTBOX,
    REGION,
    SESSION,
    applied_key,
    hard_state_key,
    kind_rows,
    log_start_key,
    outbox_position,
    region_key,
    region_of,
    region_rows,
    seal,
)
from flaredb.kv.machine import AppliedState, Machine
from flaredb.kv.sessions import Sessions
from flaredb.raft.config import Config
from flaredb.raft.node import RaftNode
from flaredb.store.context import Context
from flaredb.store.log import ReplicaLog
from flaredb.store.outbox import Outbox
from flaredb.store.records import (
    CorruptRecordError,
    LogStart,
    ReplicaRecord,
    ReplicaState,
    decode,
    load,
    open_sealed,
    save,
)
from flaredb.store.registry import DamagedReplica, unknown_region
from flaredb.store.replica import Replica, configuration_of
from flaredb_schemas.envelope import Malformed
from flaredb_schemas.ids import Index, PeerId, RegionId
from flaredb_schemas.keys import RangeFault, find_fault, show_range
from flaredb_schemas.raft import HardState
from flaredb_schemas.regions import FIRST_INDEX, FIRST_TERM, Region
from flaredb_schemas.sessions import LANES, LaneState

log: Final = logging.getLogger(__name__)


class RegionsRefused(Struct, frozen=True):
    """Initial regions that do not cover the key space exactly once; the store must not start."""

    fault: RangeFault

    def __str__(self) -> str:
        return (
            f"the initial regions do not cover the key space exactly once: {self.fault}; "
            "nothing was created. Correct PD's initial regions and start again"
        )


def is_bootstrapped(view: View) -> bool:
    """Whether the initial regions were created here once."""
    return view.get(BOOTSTRAPPED_KEY) is not None


class Births:
    """Creates and finds replicas.

    Invariants: initial regions are created once per data folder; a replica overlaps no other; one
    that was found damaged is so for good.
    """

    __slots__ = ("_context",)

    def __init__(self, context: Context) -> None:
        self._context = context

    def create_initial(self, regions: tuple[Region, ...]) -> RegionsRefused | None:
        """Create this store's replicas of the cluster's initial regions, all in one batch."""
        fault = find_fault(region.keys for region in regions)
        if fault is not None:
            return RegionsRefused(fault)
        batch = self._context.saver.batch
        for region in regions:
            peer = region.peer_on(self._context.me.store)
            if peer is not None:
                self._create(region, peer.id)
        batch.put(BOOTSTRAPPED_KEY, seal(BOOTSTRAPPED_KEY, b"1"))
        return None

    def find_all(self) -> None:
        """Take up every replica that is on disk, and give up those that are damaged."""
        view = self._context.disk.view
        for key, stored in list(view.scan(*kind_rows(REGION))):
            record: ReplicaRecord | None = None
            try:
                record = decode(ReplicaRecord, open_sealed(key, stored))
                self._find(view, record)
            except CorruptRecordError as fault:
                self._give_up(region_of(key), record, str(fault))

    def _give_up(self, region: RegionId, record: ReplicaRecord | None, reason: str) -> None:
        """The replica takes part in nothing from here on; nor after the next start."""
        if record is None:
            # The row stays as it is: it is what an expert may want to see.
            damaged = DamagedReplica(unknown_region(region), reason)
        else:
            damaged = DamagedReplica(record.region, reason, record.peer)
            mark = ReplicaRecord(record.region, record.peer, ReplicaState.DAMAGED)
            save(self._context.saver.batch, region_key(region), mark)
        self._context.registry.give_up(damaged)

    def _find(self, view: View, record: ReplicaRecord) -> None:
        if record.state is ReplicaState.DAMAGED:
            raise CorruptRecordError("it was found damaged before this start")
        region = record.region
        hard_state = load(view, hard_state_key(region.id), HardState)
        applied = load(view, applied_key(region.id), AppliedState)
        start = load(view, log_start_key(region.id), LogStart)
        if hard_state is None or applied is None or start is None:
            raise CorruptRecordError("what it must never forget is missing")
        replica = self._make(record, hard_state, applied, start)
        _load_outbox(view, replica)
        replica.state = record.state
        if record.state is not ReplicaState.LIVE:
            replica.node.allow_campaigns(False)
        if record.state is ReplicaState.INSTALLING and record.snapshot is not None:
            replica.installing = (record.snapshot, record.file)
        self._host(replica)

    def _create(self, region: Region, peer: PeerId) -> None:
        batch = self._context.saver.batch
        record = ReplicaRecord(region, peer)
        applied = AppliedState()
        start = LogStart(FIRST_INDEX, FIRST_TERM)
        # The log's start is committed by definition: it is where all replicas begin.
        hard_state = HardState(FIRST_TERM, PeerId(0), FIRST_INDEX)
        save(batch, region_key(region.id), record)
        save(batch, applied_key(region.id), applied)
        save(batch, log_start_key(region.id), start)
        save(batch, hard_state_key(region.id), hard_state)
        self._host(self._make(record, hard_state, applied, start))
        log.info("region %s created: %s", region.id, show_range(region.keys))

    def _make(
        self, record: ReplicaRecord, hard_state: HardState, applied: AppliedState, start: LogStart
    ) -> Replica:
        context, region = self._context, record.region
        store_log = ReplicaLog(
            context.disk,
            region.id,
            (hard_state, configuration_of(region)),
            start,
        )
        if store_log.last < max(hard_state.commit, applied.index):
            raise CorruptRecordError(f"its log ends at {store_log.last}: what is committed is gone")
        settings = context.settings
        config = Config(
            peer=record.peer,
            applied=applied.index,
            election_ticks=settings.election_ticks,
            heartbeat_ticks=settings.heartbeat_ticks,
            max_uncommitted_bytes=settings.max_uncommitted_bytes,
            full_checks=context.full_checks,
        )
        node = RaftNode(config, store_log, context.jitter)
        sessions = load_sessions(
            (key, stored)
            for key, stored in context.disk.view.scan(*region_rows(SESSION, region.id))
        )
        return Replica(
            peer=record.peer,
            incarnation=context.registry.next_incarnation(),
            node=node,
            log=store_log,
            machine=Machine(region, applied, sessions),
            outbox=Outbox(),
            tick=context.wheel.now,
            now=context.now,
        )

    def _host(self, replica: Replica) -> None:
        self._context.registry.add(replica)
        self._context.touch(replica.id)


def load_sessions(rows: Iterable[tuple[bytes, bytes]]) -> Sessions:
    """The session table whose rows these are."""
    lanes: list[LaneState] = []
    for key, stored in rows:
        state = LANES.decode(open_sealed(key, stored))
        if isinstance(state, Malformed):
            raise CorruptRecordError(f"{key!r}: {state.reason}")
        lanes.append(state)
    return Sessions(None, lanes)


def _load_outbox(view: View, replica: Replica) -> None:
    for key, stored in view.scan(*region_rows(OUTBOX, replica.id)):
        index, number = outbox_position(key)
        replica.outbox.load(Index(index), number, open_sealed(key, stored))
