"""How replicas come to be on this store, and how they are found again after a restart.

A replica is born in four ways: from PD's initial regions, once per store, in the batch that sets
the store's `bootstrapped` mark; by a split that is applied here; by a snapshot that lists this
store's peer; and empty, to vote for a leader that can send one. None is born where its peer has
been buried, and none beside another that holds keys of its range. One whose records are not what
was written is not found again: that costs this replica, and no other.
"""

import logging
from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from flaredb.disk.disk import View
from flaredb.disk.layout import (
    BOOTSTRAPPED_KEY,
    HARD_STATE,
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
from flaredb.store.tombstones import is_buried
from flaredb_schemas.envelope import Malformed
from flaredb_schemas.ids import Index, PeerId, RegionId, Term
from flaredb_schemas.keys import RangeFault, find_fault, show_range
from flaredb_schemas.raft import HardState
from flaredb_schemas.regions import FIRST_INDEX, FIRST_TERM, Region
from flaredb_schemas.sessions import LANES, LaneState

log: Final = logging.getLogger(__name__)

MAX_INFLIGHT_BYTES: Final = 2 * 1024 * 1024
"""Of entries on their way to a peer that lags. So much is read from the log in one turn, small
entries at 3 µs each, so it bounds for how long other regions wait."""


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
        """Create this store's replicas of the cluster's initial regions, all in one batch.

        One that cannot stand here as it was at first has changed meanwhile, and comes by snapshot.
        """
        fault = find_fault(region.keys for region in regions)
        if fault is not None:
            return RegionsRefused(fault)
        batch, registry = self._context.saver.batch, self._context.registry
        for region in regions:
            peer = region.peer_on(self._context.me.store)
            here = region.id in registry.damaged or registry.get(region.id) is not None
            if peer is not None and not here and self.obstacle(region) is None:
                self._create(region, peer.id)
        batch.put(BOOTSTRAPPED_KEY, seal(BOOTSTRAPPED_KEY, b"1"))
        return None

    def obstacle(self, region: Region) -> str | None:
        """Why no replica of `region`, which is not here, may be born here; None if one may.

        Of several reasons the lasting ones are told first.
        """
        peer = region.peer_on(self._context.me.store)
        if peer is None:
            return "the region has no peer on this store"
        if is_buried(self._context, region.id, peer.id):
            return "its peer has been buried here"
        if region.id in self._context.registry.damaged:
            return "the region is damaged here"
        if region.id in self._context.registry.buried:
            return "an earlier peer of it is being buried here"  # and its log is still on the disk
        overlapped = self._context.registry.overlapping(region.keys)
        return None if overlapped is None else f"region {overlapped} holds keys of its range here"

    def split_off(self, machine: Machine) -> Replica:
        """The replica of a region that a split has made here; its log is as empty as all others'.

        It is saved with the applied rows, which show the split.
        """
        region = machine.region
        # Nothing is born within a range that is hosted, and whoever has left is left out.
        obstacle = self.obstacle(region)
        assert obstacle is None, f"region {region.id} cannot be split off: {obstacle}"
        peer = region.peer_on(self._context.me.store)
        assert peer is not None
        start = LogStart(FIRST_INDEX, FIRST_TERM)
        hard_state = HardState(FIRST_TERM, PeerId(0), FIRST_INDEX)
        record = ReplicaRecord(region, peer.id)
        replica = self._make(record, hard_state, machine.state, start, machine)
        self._host(replica)
        self._context.saver.born(replica)
        log.info("region %s split off: %s", region.id, show_range(region.keys))
        return replica

    def empty(self, region: Region, state: ReplicaState) -> Replica:
        """A replica without any data, which may vote and nothing else until a snapshot has come."""
        assert self.obstacle(region) is None, f"region {region.id} cannot be born here"
        peer = region.peer_on(self._context.me.store)
        assert peer is not None
        record = ReplicaRecord(region, peer.id, state)
        applied = AppliedState(Index(0), Term(0))
        start = LogStart(Index(0), Term(0))
        self._save(record, HardState(), applied, start)
        replica = self._make(record, HardState(), applied, start)
        replica.state = state
        replica.node.allow_campaigns(False)
        self._host(replica)
        log.info("region %s born empty: %s", region.id, show_range(region.keys))
        return replica

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
        self._find_lost(view)

    def _find_lost(self, view: View) -> None:
        """Whose record is gone has a vote still, and must not be born anew as if it had none."""
        for key, _ in list(view.scan(*kind_rows(HARD_STATE))):
            region, registry = region_of(key), self._context.registry
            if registry.get(region) is None and region not in registry.damaged:
                self._give_up(region, None, "its record is missing")

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
        record = ReplicaRecord(region, peer)
        applied = AppliedState()
        start = LogStart(FIRST_INDEX, FIRST_TERM)
        # The log's start is committed by definition: it is where all replicas begin.
        hard_state = HardState(FIRST_TERM, PeerId(0), FIRST_INDEX)
        self._save(record, hard_state, applied, start)
        self._host(self._make(record, hard_state, applied, start))
        log.info("region %s created: %s", region.id, show_range(region.keys))

    def _save(
        self, record: ReplicaRecord, hard_state: HardState, applied: AppliedState, start: LogStart
    ) -> None:
        batch, region = self._context.saver.batch, record.region.id
        save(batch, region_key(region), record)
        save(batch, applied_key(region), applied)
        save(batch, log_start_key(region), start)
        save(batch, hard_state_key(region), hard_state)

    def _make(
        self,
        record: ReplicaRecord,
        hard_state: HardState,
        applied: AppliedState,
        start: LogStart,
        machine: Machine | None = None,
    ) -> Replica:
        """The replica with these records; `machine` where it is not to be loaded from the disk."""
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
            max_inflight_bytes=MAX_INFLIGHT_BYTES,
            full_checks=context.full_checks,
        )
        node = RaftNode(config, store_log, context.jitter)
        if machine is None:
            rows = context.disk.view.scan(*region_rows(SESSION, region.id))
            machine = Machine(region, applied, load_sessions(rows))
        return Replica(
            peer=record.peer,
            incarnation=context.registry.next_incarnation(),
            node=node,
            log=store_log,
            machine=machine,
            outbox=Outbox(),
            tick=context.wheel.now,
            now=context.now,
        )

    def _host(self, replica: Replica) -> None:
        self._context.registry.add(replica)
        saver = self._context.saver
        saver.named.note_region(saver.batch, replica.region)
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
