"""Requests of clients: find the region, check the bounds, propose or read, answer.

Every refusal is typed and carries what the asker needs to ask better. What is checked on arrival is
checked again where it counts: writes when they are applied, reads after their round.
"""

import logging
from typing import Final, assert_never

from flaredb.kv.epoch import version_refusal
from flaredb.kv.merge import merging_refusal
from flaredb.kv.queries import get_many, scan_page
from flaredb.store.applying import propose_command, with_leader
from flaredb.store.checks import Checks
from flaredb.store.context import Context
from flaredb.store.records import ReplicaState
from flaredb.store.replica import Asker, Replica
from flaredb.store.room import Room
from flaredb.store.sleeping import Sleeping
from flaredb.store.status import store_status
from flaredb.store.tombstones import find_absorber
from flaredb_schemas.commands import BATCHES, Batch, CheckReplicas, Delete, DeleteRange, Write
from flaredb_schemas.envelope import Codec, Malformed
from flaredb_schemas.failures import (
    Busy,
    EpochMismatch,
    InvalidRequest,
    NotLeader,
    NotReady,
    Refusal,
    RegionNotFound,
    Undetermined,
)
from flaredb_schemas.ids import RegionId
from flaredb_schemas.requests import (
    CheckRequest,
    GetAnswer,
    GetRequest,
    HashRequest,
    Request,
    RequestFrame,
    ScanAnswer,
    ScanRequest,
    StoreStatusRequest,
    WriteRequest,
)

log: Final = logging.getLogger(__name__)

REQUESTS: Final[Codec[RequestFrame]] = Codec(RequestFrame)

MAX_READS_WAITING: Final = 16_384
"""Reads that may wait in one region; beyond it the answer is `Busy`."""

MAX_PROPOSALS_WAITING: Final = 4_096

LOGGED_SECONDS: Final = 1.0
"""How often a line about requests for regions that are not here is logged at most."""


class Service:
    """What clients may ask of this store.

    Invariants: every request of a frame that can be read is answered exactly once, now or when its
    proposal is applied, its round is confirmed, or leadership is lost; nothing outside a region's
    range is ever read or proposed under it (FR-003).
    """

    __slots__ = ("_checks", "_context", "_log_from", "_room", "_sleeping", "_unlogged")

    def __init__(self, context: Context, checks: Checks, sleeping: Sleeping, room: Room) -> None:
        self._context = context
        self._checks = checks
        self._sleeping = sleeping
        self._room = room
        self._log_from = context.now
        self._unlogged = 0
        """Requests for regions that are not here since the last line about such."""

    def handle(self, payload: bytes, reply: str) -> None:
        """One frame of requests. Garbage is counted and not answered: nobody knows to whom."""
        frame = REQUESTS.decode(payload)
        if isinstance(frame, Malformed):
            self._context.counters.frames_malformed += 1
            return
        for request in frame.requests:
            self._context.counters.requests += 1
            asker = Asker(reply, request.number)
            refusal = self._serve(request, asker)
            if refusal is not None:
                self._context.counters.requests_refused += 1
                self._context.answers.refuse(asker, refusal)

    def turn_away(self, payload: bytes, reply: str) -> None:
        """Too much waits: refuse a frame of requests without looking into them."""
        frame = REQUESTS.decode(payload)
        if isinstance(frame, Malformed):
            self._context.counters.frames_malformed += 1
            return
        for request in frame.requests:
            self._context.counters.requests_refused += 1
            busy = Busy("too many requests wait in this store", retry_ms=200)
            self._context.answers.refuse(Asker(reply, request.number), busy)

    def _serve(self, request: Request, asker: Asker) -> Refusal | None:
        match request:
            case WriteRequest():
                return self._write(request, asker)
            case GetRequest() | ScanRequest():
                return self._read(request, asker)
            case CheckRequest():
                return self._check(request, asker)
            case HashRequest():
                return self._checks.ask(request, asker)
            case StoreStatusRequest():
                status = store_status(self._context, request)
                self._context.answers.add(asker.reply, status)
                return None
            case _:
                assert_never(request)

    def _write(self, request: WriteRequest, asker: Asker) -> Refusal | None:
        replica = self._leader(request.region)
        if not isinstance(replica, Replica):
            return replica
        batch = BATCHES.decode(request.batch)
        if isinstance(batch, Malformed):
            return InvalidRequest(f"batch: {batch.reason}")
        refusal = self._write_refusal(replica, request.version, batch)
        if refusal is not None:
            return refusal
        command = Write(self._context.clock.wall(), request.version, request.batch)
        refusal = propose_command(replica, command, batch, asker)
        self._busy_now(replica)
        return refusal

    def _write_refusal(self, replica: Replica, version: int, batch: Batch) -> Refusal | None:
        if len(replica.proposals) >= MAX_PROPOSALS_WAITING:
            return Busy("too many batches wait in this region")
        full = self._room.refusal(replica.region)
        if full is not None and any(not isinstance(op, Delete | DeleteRange) for op in batch.ops):
            return full
        refusal = replica.machine.refusal(version, batch)
        return None if refusal is None else with_leader(self._context, replica, refusal)

    def _read(self, request: GetRequest | ScanRequest, asker: Asker) -> Refusal | None:
        replica = self._leader(request.region)
        if not isinstance(replica, Replica):
            return replica
        if len(replica.reads) >= MAX_READS_WAITING:
            return Busy("too many reads wait in this region")
        replica.reads.add((request, asker))
        self._busy_now(replica)
        return None

    def _check(self, request: CheckRequest, asker: Asker) -> Refusal | None:
        replica = self._leader(request.region)
        if not isinstance(replica, Replica):
            return replica
        command = CheckReplicas(self._context.clock.wall(), request.nonce)
        refusal = propose_command(replica, command, None, asker)
        self._busy_now(replica)
        return refusal

    def _leader(self, region: RegionId) -> Replica | Refusal:
        """The leading replica of `region` here, or why there is none."""
        replica = self._context.registry.get(region)
        if replica is None:
            context = self._context
            absorber = find_absorber(context.registry, context.disk.view, region)
            if absorber is not None:
                return with_leader(context, absorber, EpochMismatch((absorber.route(),)))
            self._not_hosted(region)
            return RegionNotFound(region, context.me.store)
        if replica.state is not ReplicaState.LIVE:
            return NotReady("a snapshot is being installed here, or the replica is damaged")
        if not replica.leads:
            self._sleeping.missed(replica)
            return NotLeader(replica.route())
        return replica

    def _not_hosted(self, region: RegionId) -> None:
        """Counted and logged (FR-002); one line stands for all of a second."""
        context = self._context
        context.counters.frames_refused += 1
        self._unlogged += 1
        if context.now >= self._log_from:
            what = "region %s is not hosted here; a client asked (%s requests since the last line)"
            log.info(what, region, self._unlogged)
            self._unlogged, self._log_from = 0, context.now + LOGGED_SECONDS

    def _busy_now(self, replica: Replica) -> None:
        self._sleeping.wake(replica)
        self._context.touch(replica.id)


def serve_reads(context: Context, replica: Replica) -> None:
    """Answer the reads whose round is confirmed and whose index is applied.

    Leadership, epoch, range and what stands in the way are checked now, against the applied record:
    they may have changed since the read came.
    """
    for request, asker in replica.reads.served_at(replica.machine.state.index):
        if not replica.leads:
            context.answers.refuse(asker, NotLeader(replica.route()))
            continue
        answer = _read_now(context, replica, request)
        if isinstance(answer, GetAnswer | ScanAnswer):
            _count_read(context, replica, request, answer)
            context.answers.add(asker.reply, answer)
        else:
            context.answers.refuse(asker, with_leader(context, replica, answer))


def refuse_all(context: Context, replica: Replica) -> None:
    """Leadership is lost: reads may go elsewhere, and of writes nobody here knows the outcome."""
    route = replica.route()
    for _, asker in replica.reads.drop():
        context.answers.refuse(asker, NotLeader(route))
    proposals, replica.proposals = replica.proposals, {}
    for proposal in proposals.values():
        if proposal.asker is not None:
            context.answers.refuse(proposal.asker, Undetermined(route))


def _read_now(
    context: Context, replica: Replica, request: GetRequest | ScanRequest
) -> GetAnswer | ScanAnswer | Refusal:
    region, time = replica.region, replica.machine.state.time
    merging = merging_refusal(replica.machine.state)
    refusal = merging or version_refusal(region, request.version, time)
    if refusal is not None:
        return refusal
    if isinstance(request, GetRequest):
        return get_many(request, region, time, context.overlay)
    return scan_page(request, region, time, context.overlay)


def _count_read(
    context: Context,
    replica: Replica,
    request: GetRequest | ScanRequest,
    answer: GetAnswer | ScanAnswer,
) -> None:
    if isinstance(answer, GetAnswer):
        keys = len(answer.values)
        size = sum(len(value) for value in answer.values if value is not None)
    else:
        keys = len(answer.rows)
        size = sum(len(key) + len(value) for key, value in answer.rows)
    replica.traffic.read_keys += keys
    replica.traffic.read_bytes += size
    samples = context.load.count(replica.id, keys, size) if keys else None
    if samples is not None:
        samples.take(keys, size, lambda at: _span(request, answer, at))


def _span(
    request: GetRequest | ScanRequest, answer: GetAnswer | ScanAnswer, at: int
) -> tuple[bytes, bytes]:
    """What the read of the key of this number touched; of a page, all of it."""
    if isinstance(answer, ScanAnswer):
        first, last = answer.rows[0][0], answer.rows[-1][0]
        return (first, last) if first <= last else (last, first)
    assert isinstance(request, GetRequest)
    return request.keys[at], request.keys[at]
