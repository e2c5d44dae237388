"""Writes on their way: calls become batches, batches are retried under the numbers they have.

What surely had no effect may be sent again in any company and under new numbers. What may have had
one keeps its numbers, alone or with fewer ops, until its outcome is known or its time is over; then
the caller is told that it is undetermined.
"""

from typing import ClassVar

from flaredb.client.checks import MAX_OPS_BYTES
from flaredb.client.courier import Courier
from flaredb.client.directory import Directory
from flaredb.client.errands import Errand
from flaredb.client.errors import (
    FlareDBError,
    SeveralRegionsError,
    UndeterminedError,
)
from flaredb.client.gathering import Gatherer, just
from flaredb.client.lanes import OpenLane
from flaredb.client.link import REQUEST_OVERHEAD
from flaredb.client.retry import surely_failed
from flaredb.client.routes import RouteTable
from flaredb.client.verdicts import disk_full
from flaredb.client.write_calls import WriteCall
from flaredb_schemas.commands import BATCHES, MAX_BATCH_OPS, Batch, Lane
from flaredb_schemas.failures import DiskFull, Refusal, SessionExpired
from flaredb_schemas.ids import NO_REGION, RegionId
from flaredb_schemas.keys import KeyRange
from flaredb_schemas.regions import Region, Route
from flaredb_schemas.requests import Answer, Request, WriteAnswer, WriteRequest


class Writes(Gatherer[WriteCall, OpenLane]):
    """The writes of one client, each in a lane of its own per version of a region."""

    max_weight: ClassVar[int] = MAX_BATCH_OPS
    max_bytes: ClassVar[int] = MAX_OPS_BYTES

    def __init__(
        self, courier: Courier, routes: RouteTable, directory: Directory, client: int
    ) -> None:
        super().__init__(courier, routes, directory)
        self._client = client
        self._lanes = 0

    def make_pile(self, region: Region) -> OpenLane:
        self._lanes += 1
        name = Lane(self._client, self._routes.time_of(region.id), self._lanes)
        return OpenLane(region, name)

    def send(self, pile: OpenLane, calls: list[WriteCall], region: Region) -> None:
        calls = _admitted(calls, region)
        for number, call in enumerate(calls):
            call.op = call.make(number)
        if calls:
            self._courier.carry(WriteErrand(self, pile, pile.begin(), calls, region))
        else:
            self.done(pile)

    def settle(self, errand: "WriteErrand", parts: int = 0) -> None:
        """The errand is over, or goes on as so many parts of its batch."""
        if errand.lane.divide(errand.sequence, parts):
            self.done(errand.lane)

    def heard(self, errand: "WriteErrand", time: int) -> None:
        """The region told its time."""
        self._routes.note_time(errand.region, time)

    def renew(self, errand: "WriteErrand") -> None:
        """What surely had no effect goes on under new numbers."""
        assert not errand.in_doubt, "what may have had an effect keeps its numbers"
        self.settle(errand)
        for call in errand.waiting():
            self.add(call)

    def divide(self, errand: "WriteErrand") -> None:
        """What is in doubt goes on under its numbers, with the regions that now hold its keys."""
        groups: dict[tuple[RegionId, WriteCall | None], list[WriteCall]] = {}
        for call in errand.waiting():
            route = self._routes.find(call.key)
            region = route.region if route else None
            # What no region can take whole may have been executed before: by itself it may ask.
            fits = region is None or call.enter(region)
            call.op = call.make(call.op.op)
            place = (region.id if region else NO_REGION, None if fits else call)
            groups.setdefault(place, []).append(call)
        self.settle(errand, len(groups))
        for (region_id, _), calls in groups.items():
            route = self._routes.by_id(region_id)
            region = route.region if route else None
            part = WriteErrand(self, errand.lane, errand.sequence, calls, region)
            part.inherit(errand)
            self._courier.carry(part)


class WriteErrand(Errand):
    """A batch, or the part of one that goes to one region (none: not known which)."""

    __slots__ = ("_calls", "_writes", "lane", "sequence")

    def __init__(
        self,
        writes: Writes,
        lane: OpenLane,
        sequence: int,
        calls: list[WriteCall],
        region: Region | None,
    ) -> None:
        deadline = min(call.deadline for call in calls)
        super().__init__(writes.carrier, region, deadline)
        self._writes = writes
        self._calls = calls
        self.lane = lane
        self.sequence = sequence

    def waiting(self) -> list[WriteCall]:
        """The calls that are neither settled nor given up."""
        return [call for call in self._calls if not call.outcome.done()]

    @property
    def keys(self) -> KeyRange:
        return just(self._calls[0].key)

    @property
    def is_whole(self) -> bool:
        return not any(call.outcome.done() for call in self._calls)

    @property
    def in_doubt(self) -> bool:
        """Whether an attempt that has ended may have had an effect that is not known."""
        return self.doubtful and self._could_execute

    @property
    def _could_execute(self) -> bool:
        """Whether a region may execute the batch at all.

        None does in a lane that was opened before its region had told a time: a region executes
        only what was opened after the newest opening time that it has forgotten, which is never
        below 0 (`Sessions.find`).
        """
        return self.lane.name.opened > 0

    def find(self, routes: RouteTable) -> Route | None:
        return routes.find(self._calls[0].key)

    def build(self, number: int, route: Route) -> tuple[Request, int]:
        lane = self.lane
        ops = tuple([call.op for call in self._calls])
        batch = BATCHES.encode(Batch(lane.name, self.sequence, lane.done_below, ops))
        request = WriteRequest(number, route.region.id, route.region.epoch.version, batch)
        return request, len(batch) + REQUEST_OVERHEAD

    def complete(self, answer: Answer) -> bool:
        if not isinstance(answer, WriteAnswer) or len(answer.outcomes) != len(self._calls):
            return False
        for call, outcome in zip(self._calls, answer.outcomes, strict=True):
            if not call.outcome.done():
                call.outcome.set_result(outcome)
        self._writes.heard(self, answer.time)
        self._writes.settle(self)
        return True

    def regroup(self) -> None:
        if self.in_doubt:
            self._writes.divide(self)
        else:
            self._writes.renew(self)

    def expire(self, now: float) -> bool:
        in_doubt = (self.doubtful or bool(self.number)) and self._could_execute
        for call in self.waiting():
            if call.deadline <= now:
                sure = surely_failed(self.trouble, waiting_for_answer=False)
                call.fail(undetermined(self) if in_doubt else sure)
        left = [call.deadline for call in self.waiting()]
        if left:
            self.deadline = min(left)
            return False
        self._writes.settle(self)
        return True

    def fail(self, error: FlareDBError) -> None:
        for call in self.waiting():
            call.fail(undetermined(self) if self.in_doubt else error)
        self._writes.settle(self)

    def refused(self, refusal: Refusal) -> bool:
        match refusal:
            case SessionExpired(time) if not self.in_doubt:
                self._writes.heard(self, time)
                self._writes.retire(self.lane)
                self._writes.renew(self)
            case SessionExpired():
                self.fail(undetermined(self))
            case DiskFull() if not self.in_doubt:
                full = disk_full(refusal)
                for call in self.waiting():
                    if call.needs_space:
                        call.fail(full)
                self._writes.renew(self)
            case _:
                return False
        return True


def undetermined(errand: WriteErrand) -> UndeterminedError:
    """Nobody knows whether the errand's batch took, or will take, effect."""
    detail = errand.trouble.detail if errand.trouble else "no answer in time"
    return UndeterminedError(
        f"the write may or may not take effect: {detail}",
        hint="read the key before you write it again",
        region_id=errand.region,
    )


def _admitted(calls: list[WriteCall], region: Region) -> list[WriteCall]:
    """The calls that `region` can take whole; the others fail, surely without effect."""
    admitted = [call for call in calls if call.enter(region)]
    if len(admitted) != len(calls):
        for call in calls:
            if not call.enter(region):
                call.fail(
                    SeveralRegionsError(
                        "the keys of the batch lie in several regions",
                        hint="a batch is atomic within one region only: make one per region",
                        region_id=region.id,
                    )
                )
    return admitted
