"""Figures that a split has made estimates of become exact again: the leader counts the rows.

Counted beside the loop, one region of the store at a time, and told by an entry of the log, so that
every replica corrects its figures at the same place. Nothing is read or kept per write.
"""

from typing import Final

from flaredb.disk.disk import JobResult
from flaredb.store.applying import propose_command
from flaredb.store.context import Context
from flaredb.store.guarding import Guard
from flaredb.store.jobs import Jobs
from flaredb.store.records import ReplicaState
from flaredb.store.replica import Replica
from flaredb.store.sleeping import Sleeping
from flaredb.store.weighing import read_weights, weigh_job
from flaredb_schemas.commands import Recount
from flaredb_schemas.ids import RegionId, Term
from flaredb_schemas.regions import Region

RETRY_SECONDS: Final = 10.0
"""How long to wait after a count that came to nothing."""

Told = tuple[int, Term]
"""The version of a region, and the term in which its count was proposed."""


class Recounting:
    """The regions whose figures are estimates, as long as they are led here.

    Invariants: one count is under way at most; a count is proposed once per version and term.
    """

    __slots__ = (
        "_context",
        "_counting",
        "_guard",
        "_jobs",
        "_not_before",
        "_sleeping",
        "_told",
        "_waiting",
    )

    def __init__(self, context: Context, jobs: Jobs, guard: Guard, sleeping: Sleeping) -> None:
        self._context = context
        self._jobs = jobs
        self._guard = guard
        self._sleeping = sleeping
        self._waiting: dict[RegionId, None] = {}
        self._told: dict[RegionId, Told] = {}
        self._counting = False
        self._not_before = 0.0

    def note(self, replica: Replica) -> None:
        """What the replica has applied was saved: see to its figures if they are estimates.

        A region that is being merged takes no count; if it goes on by itself, it is told one then.
        """
        if replica.machine.state.merging is not None:
            self._told.pop(replica.id, None)
            return
        if not replica.machine.state.estimated:
            if self._told:
                self._told.pop(replica.id, None)
            return
        now = replica.region.epoch.version, replica.node.term
        if replica.leads and self._told.get(replica.id) != now:
            self._waiting[replica.id] = None

    def tick(self) -> None:
        """Once per tick: count the next one, if none is being counted."""
        if self._waiting and not self._counting and self._context.now >= self._not_before:
            region = next(iter(self._waiting))
            del self._waiting[region]
            replica = self._context.registry.get(region)
            if replica is not None and _is_due(replica):
                self._counting = True
                counted = replica.region
                job = weigh_job(self._jobs.next_number(), counted, ())
                self._jobs.start(job, lambda result: self._ended(replica, (counted, result)))

    def _ended(self, replica: Replica, ended: tuple[Region, JobResult]) -> None:
        self._counting = False
        self.tick()
        if self._context.registry.current(replica) and _is_due(replica):
            self._guard(replica, self._tell, ended)

    def _tell(self, replica: Replica, ended: tuple[Region, JobResult]) -> None:
        """Have it entered into the log. Raises `CorruptRecordError` where a record is damaged."""
        counted, result = ended
        weights = read_weights(counted, result)
        if isinstance(weights, str):
            self._later(replica)
            return
        command = Recount(self._context.clock.wall(), counted.epoch.version, weights.missing)
        refusal = propose_command(replica, command)
        self._sleeping.stir(replica)
        self._context.touch(replica.id)
        if refusal is None:
            hosted = self._context.registry.get
            self._told = {one: told for one, told in self._told.items() if hosted(one)}
            self._told[replica.id] = counted.epoch.version, replica.node.term
        else:
            self._later(replica)

    def _later(self, replica: Replica) -> None:
        self._waiting[replica.id] = None
        self._not_before = self._context.now + RETRY_SECONDS


def _is_due(replica: Replica) -> bool:
    live = replica.state is ReplicaState.LIVE and replica.leads
    state = replica.machine.state
    return live and state.estimated and state.merging is None
