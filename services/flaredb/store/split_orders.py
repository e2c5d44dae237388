"""From the wish for a split to the entry in the log: weigh the rows, ask PD for ids, propose.

The rows are counted beside the loop, so that the new regions know how large they are and so that a
cut in the middle can be found. Whoever wished is told what came of it; of a split whose leader lost
its leadership after it was proposed nobody knows for certain.
"""

import enum
from collections import OrderedDict
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Final

from msgspec import Struct

from flaredb.disk.disk import JobResult
from flaredb.store.applying import propose_command
from flaredb.store.context import Context
from flaredb.store.guarding import Guard
from flaredb.store.jobs import Jobs
from flaredb.store.records import ReplicaState
from flaredb.store.replica import Replica
from flaredb.store.sleeping import Sleeping
from flaredb.store.weighing import WEIGH_SECONDS, Weights, read_weights, weigh_job
from flaredb_schemas.commands import MAX_CHILDREN, NewRegion, Size, Split
from flaredb_schemas.envelope import Codec
from flaredb_schemas.ids import PeerId, RegionId
from flaredb_schemas.regions import Region
from flaredb_schemas.splits import IN_DOUBT, AskIds, GrantIds, OrderSplit, SplitEnded
from flaredb_schemas.subjects import Subjects

ASK_IDS: Final[Codec[AskIds]] = Codec(AskIds)
SPLIT_ENDED: Final[Codec[SplitEnded]] = Codec(SplitEnded)

ANSWER_SECONDS: Final = 10.0
"""How long a split may take once its rows are weighed."""

REPEAT_SECONDS: Final = 0.5
"""A question for ids that has not been answered for so long is asked again."""

OWN_NONCES: Final = 1 << 62
"""Nonces of splits that a store wants by itself lie above all of PD's; the boot counter is in."""

KEPT_ENDS: Final = 64
"""How many ends are kept, to be told again where PD repeats its order."""


class Vain(enum.Enum):
    """Why nothing came of a split."""

    UNCUTTABLE = enum.auto()
    """Rows were counted, and there are no two between which to cut."""
    SMALL = enum.auto()
    """Rows were counted, and are fewer than was thought."""
    FAILED = enum.auto()
    """Something stood in the way; another time it may not."""


class Wish(Struct, frozen=True):
    """A split that this store wants by itself, and why and since when (in milliseconds since 1970).

    At `keys`, or where there are none into equal `pieces`. Nothing is cut unless so much is counted
    as `at_least` says, in bytes or in keys: the region's own figures may be off.
    """

    trigger: str
    triggered: int
    keys: tuple[bytes, ...] = ()
    pieces: int = 2
    at_least: Size | None = None


class Task(Struct):
    """A split under way of `region`, as it was then; `first_child` is set once it is proposed.

    `on_end` hears of the end of one that this store wants by itself: why nothing came of it, if so,
    and in words.
    """

    replica: Replica
    region: Region
    body: OrderSplit
    deadline: float
    pieces: int = 2
    at_least: Size | None = None
    on_end: Callable[["Task", "Vain | None", str], None] | None = None
    ask_at: float = 0.0
    weights: Weights | None = None
    fault: str = ""
    """Why there are no weights, if so."""
    first_child: RegionId = RegionId(0)


class SplitOrders:
    """The splits that this store was ordered to make, and those that it wants by itself.

    Invariants: one task per region; each task ends in one report, which is kept for a while where
    it was ordered; no two tasks have one nonce.
    """

    __slots__ = (
        "_context",
        "_ended",
        "_guard",
        "_jobs",
        "_send",
        "_sleeping",
        "_subjects",
        "_tasks",
        "_wishes",
    )

    def __init__(
        self,
        context: Context,
        jobs: Jobs,
        guard: Guard,
        sleeping: Sleeping,
        subjects: Subjects,
        send: Callable[[str, bytes], bool],
    ) -> None:
        self._context = context
        self._jobs = jobs
        self._guard = guard
        self._sleeping = sleeping
        self._subjects = subjects
        self._send = send
        self._tasks: dict[RegionId, Task] = {}
        self._ended: OrderedDict[int, SplitEnded] = OrderedDict()
        self._wishes = 0

    def ordered(self, body: OrderSplit) -> None:
        """PD wants a region cut."""
        if body.nonce in self._ended:
            self._tell(self._ended[body.nonce])
            return
        task = self._tasks.get(body.region)
        if task is not None and task.body.nonce == body.nonce:
            return
        replica = self._context.registry.get(body.region)
        refused = _refusal(replica, body)
        if task is not None and not refused:
            refused = f"another split of region {body.region} is under way"
        if refused:
            self._report(body, (), refused)
            return
        assert replica is not None
        self._begin(Task(replica, replica.region, body, self._latest()))

    def want(
        self,
        replica: Replica,
        wish: Wish,
        on_end: Callable[[Task, Vain | None, str], None],
    ) -> bool:
        """Cut a region that is led here. False if it is being cut already."""
        if replica.id in self._tasks:
            return False
        self._wishes += 1
        nonce = OWN_NONCES + (self._context.me.boot << 24) + self._wishes
        region = replica.region
        body = OrderSplit(
            region.id, region.epoch, replica.peer, nonce, wish.keys, wish.trigger, wish.triggered
        )
        pieces, at_least = wish.pieces, wish.at_least
        self._begin(Task(replica, region, body, self._latest(), pieces, at_least, on_end))
        return True

    def _latest(self) -> float:
        return self._context.now + WEIGH_SECONDS + ANSWER_SECONDS

    def _begin(self, task: Task) -> None:
        self._tasks[task.body.region] = task
        job = weigh_job(self._jobs.next_number(), task.region, task.body.keys, task.pieces)
        self._jobs.start(job, lambda result: self._weighed(task, result))

    def granted(self, grant: GrantIds) -> None:
        """PD grants ids."""
        task = self._tasks.get(grant.region)
        if (
            task is not None
            and task.weights is not None
            and task.body.nonce == grant.nonce
            and not task.first_child
            and grant.count == _ids_needed(task)
        ):
            self._propose(task, task.weights, iter(range(grant.first, grant.first + grant.count)))

    def applied(self, replica: Replica, children: tuple[Replica, ...]) -> None:
        """A split of `replica` was applied, perhaps one of these; `children` are those born here.

        None is where their peers have been buried here before.
        """
        task = self._tasks.get(replica.id)
        if task is None or task.replica is not replica:
            return
        if any(child.id == task.first_child for child in children):
            regions = (replica.region, *(child.region for child in children))
            self._end(task, "", None, tuple(regions))

    def tick(self) -> None:
        """Once per tick: ask again; give up what can come to nothing."""
        now = self._context.now
        for task in list(self._tasks.values()):
            refused = _refusal(self._context.registry.get(task.body.region), task.body)
            if not refused and now >= task.deadline:
                refused = "the split took too long"
            if refused and task.first_child:
                refused = f"{refused}; {IN_DOUBT}"
            if refused:
                self._end(task, refused)
            elif task.weights is not None and not task.first_child and now >= task.ask_at:
                self._ask(task)

    def _weighed(self, task: Task, result: JobResult) -> None:
        if self._tasks.get(task.body.region) is not task:
            return
        self._guard(task.replica, _note_weights, (task, result))
        if task.weights is None:
            self._end(task, task.fault or "the replica is damaged here")
        elif not _is_enough(task.weights.whole, task.at_least):
            self._end(
                task, f"region {task.body.region} is smaller than it was taken for", Vain.SMALL
            )
        elif not task.weights.cuts:
            text = f"region {task.body.region} holds no two rows between which to cut"
            self._end(task, text, Vain.UNCUTTABLE)
        else:
            task.deadline = self._context.now + ANSWER_SECONDS
            self._ask(task)

    def _ask(self, task: Task) -> None:
        me, body = self._context.me, task.body
        task.ask_at = self._context.now + REPEAT_SECONDS
        count = _ids_needed(task)
        ask = AskIds(me.store, me.boot, me.cluster, body.region, body.nonce, count)
        self._send(self._subjects.pd_request(me.store, "ids"), ASK_IDS.encode(ask))

    def _propose(self, task: Task, weights: Weights, ids: Iterator[int]) -> None:
        replica, body = task.replica, task.body
        refused = _refusal(self._context.registry.get(body.region), body)
        if refused:
            self._end(task, refused)
            return
        peers = len(replica.region.peers)
        children = tuple(
            NewRegion(RegionId(next(ids)), cut, tuple(map(PeerId, islice(ids, peers))))
            for cut in weights.cuts
        )
        command = Split(
            self._context.clock.wall(),
            body.epoch.conf_ver,
            body.epoch.version,
            children,
            body.trigger,
            body.triggered,
            weights.sizes,
        )
        refusal = propose_command(replica, command)
        self._sleeping.wake(replica)
        self._context.touch(replica.id)
        if refusal is not None:
            self._end(task, f"the leader takes no entry now: {refusal.code}")
        else:
            task.first_child = children[0].id

    def _end(
        self,
        task: Task,
        refused: str,
        vain: Vain | None = Vain.FAILED,
        regions: tuple[Region, ...] = (),
    ) -> None:
        del self._tasks[task.body.region]
        if task.on_end is None:
            self._report(task.body, regions, refused)
        else:
            task.on_end(task, vain, refused)

    def _report(self, body: OrderSplit, regions: tuple[Region, ...], refused: str) -> None:
        me = self._context.me
        ended = SplitEnded(me.store, me.boot, me.cluster, body.region, body.nonce, regions, refused)
        self._ended[body.nonce] = ended
        while len(self._ended) > KEPT_ENDS:
            self._ended.popitem(last=False)
        self._tell(ended)

    def _tell(self, ended: SplitEnded) -> None:
        subject = self._subjects.pd_request(ended.store, "split")
        self._send(subject, SPLIT_ENDED.encode(ended))


def _refusal(replica: Replica | None, body: OrderSplit) -> str:
    """Why the region cannot be cut from here at this epoch; empty if it can."""
    if replica is None or replica.state is not ReplicaState.LIVE or not replica.leads:
        return f"this store does not lead region {body.region}"
    region = replica.region
    if replica.peer != body.leader or region.epoch != body.epoch:
        return f"region {body.region} is not what it was any more"
    if replica.machine.state.merging is not None:
        return f"region {body.region} is being merged into another"
    if len(body.keys) > MAX_CHILDREN:
        return f"more than {MAX_CHILDREN} cuts at once"
    inside = [key for key in body.keys if key > region.keys.start and region.keys.contains(key)]
    rising = sorted(set(inside)) == list(body.keys)
    return "" if rising else "the keys do not rise inside the region"


def _note_weights(replica: Replica, ended: tuple[Task, JobResult]) -> None:
    """What was counted. Raises `CorruptRecordError` where a record is damaged."""
    task, result = ended
    weights = read_weights(task.region, result)
    if isinstance(weights, Weights):
        task.weights = weights
    else:
        task.fault = weights


def _is_enough(whole: Size, at_least: Size | None) -> bool:
    return at_least is None or whole.keys >= at_least.keys or whole.bytes >= at_least.bytes


def _ids_needed(task: Task) -> int:
    assert task.weights is not None
    return len(task.weights.cuts) * (1 + len(task.replica.region.peers))
