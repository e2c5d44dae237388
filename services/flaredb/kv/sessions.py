"""Each op of a client takes effect once, however often its batch arrives.

An op is named by (client, lane, sequence, op). What was executed is remembered per lane until the
client has settled it; a retry gets the remembered outcome, and only ops that were not executed yet
are executed (RIFL, Lee et al., SOSP 2015). A lane that was dropped is never mistaken for a new one:
its name says when it was opened, and nothing opened at or before `forgotten` is executed unless the
lane is known.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise, takewhile
from typing import Final, assert_never

from msgspec import Struct

from flaredb_schemas.commands import (
    Batch,
    CompareAndSwap,
    DeleteRange,
    Done,
    Lane,
    NotSwapped,
    NotSwappedUntold,
    Op,
    Outcome,
    RangeDeleted,
    Swapped,
)
from flaredb_schemas.failures import Busy, InvalidRequest, SessionExpired
from flaredb_schemas.sessions import ExecutedBatch, LaneState

BUSY_RETRY_MS: Final = 50

MOST_UNITED: Final = 3
"""How many times `lane_bytes` a lane may take after merges. One region's takes less than twice."""


class Limits(Struct, frozen=True):
    """The bounds of a session table. All replicas of a region must have the same ones."""

    lanes: int = 4_096
    """Lanes of a region; one more drops the one that was used longest ago."""
    open_batches: int = 64
    """Executed batches of a lane that the client has not settled; one more is `Busy`."""
    lane_bytes: int = 64 * 1024
    """A batch gets `Busy` if the outcomes of the lane's other ones take this much already."""
    told_bytes: int = 16 * 1024
    """Values of `NotSwapped` are kept only while the lane's outcomes take no more than this."""
    idle_ms: int = 10 * 60 * 1000
    """A lane that was not used for so long, in the region's time, is dropped."""


class Attempt(Struct, frozen=True):
    """A batch seen against the table: what is known of it, and the ops still to be executed."""

    pending: tuple[Op, ...]
    known: Mapping[int, Outcome] = {}


class Recorded(Struct, frozen=True):
    """What recording an attempt changed: lanes (None: dropped), and the newest opening dropped."""

    lanes: list[tuple[Lane, LaneState | None]]
    forgotten: int


class Sessions:
    """The session table of one region.

    Invariants: lanes are in the order of `seen`; no lane has two batches of one sequence, nor one
    below its `done_below`; at most `limits.lanes` lanes, each with at most `limits.open_batches`,
    but for what a merge has brought together: none of that may be forgotten.
    """

    __slots__ = ("_lanes", "_limits")

    def __init__(self, limits: Limits | None = None, lanes: Iterable[LaneState] = ()) -> None:
        """The table with these lanes, as they were saved, in any order."""
        self._limits = limits or Limits()
        ordered = sorted(lanes, key=lambda state: state.seen)
        self._lanes: dict[Lane, LaneState] = {state.lane: state for state in ordered}
        assert len(self._lanes) == len(ordered), "each lane is loaded once"

    def copy(self) -> "Sessions":
        """The same table once more, on its own from here on."""
        return Sessions(self._limits, self._lanes.values())

    def __len__(self) -> int:
        """How many lanes there are."""
        return len(self._lanes)

    @property
    def lanes(self) -> Iterable[LaneState]:
        """All lanes, those used longest ago first."""
        return self._lanes.values()

    def find(
        self, batch: Batch, forgotten: int, time: int
    ) -> Attempt | SessionExpired | InvalidRequest:
        """What is known of the batch. `forgotten` and `time` are the region's."""
        state = self._lanes.get(batch.lane)
        if state is None:
            expired = batch.lane.opened <= forgotten
            return SessionExpired(time) if expired else Attempt(batch.ops)
        if batch.sequence < state.done_below:
            return SessionExpired(time)
        executed = _executed(state, batch.sequence)
        return Attempt(batch.ops) if executed is None else _compare(executed, batch.ops)

    def room_refusal(self, batch: Batch) -> Busy | None:
        """Why nothing more of this lane can be executed for now, if so."""
        state = self._lanes.get(batch.lane)
        if state is None:
            return None
        kept = _unsettled(state, batch.done_below)
        if _executed(state, batch.sequence) is None and len(kept) >= self._limits.open_batches:
            return Busy("too many batches of the lane are not settled", BUSY_RETRY_MS)
        others = [executed for executed in kept if executed.sequence != batch.sequence]
        if sum(map(_weight, others)) >= self._limits.lane_bytes:
            return Busy("the lane's outcomes that are not settled take too much", BUSY_RETRY_MS)
        return None

    def record(
        self, batch: Batch, ops: Sequence[Op], outcomes: Sequence[Outcome], time: int
    ) -> Recorded:
        """Remember the outcomes of `ops`, and that the lane was used at the region's `time`.

        Lanes that have been idle for too long, or for which there is no room, are dropped.
        """
        state = self._lanes.pop(batch.lane, None) or LaneState(batch.lane, time)
        dropped = self._make_room(time)
        done_below = max(state.done_below, batch.done_below)
        batches_before = batches = _unsettled(state, done_below)
        if ops:
            room = self._limits.told_bytes - sum(map(_weight, batches))
            batches = _with(batches, batch.sequence, ops, outcomes, room)
        state = LaneState(batch.lane, time, done_below, batches)
        self._lanes[batch.lane] = state
        self._check(state, len(batches_before))
        return Recorded(
            [*((lane, None) for lane in dropped), (batch.lane, state)],
            max((lane.opened for lane in dropped), default=0),
        )

    def unite(self, other: "Sessions", forgotten: int, its_forgotten: int) -> Recorded:
        """Take in the table of a region that is absorbed.

        `forgotten` and `its_forgotten` are the marks of the two regions. A lane that only one of
        them knows, and that the other may have forgotten, is dropped: what it executed there would
        be executed once more. So is one that has grown too large by many merges, as only a client
        can bring about that uses its lane in many regions: it must fit into its row.
        """
        before, its = self._lanes, other._lanes
        known: list[LaneState] = []
        for lane in {**before, **its}:
            mine, theirs = before.get(lane), its.get(lane)
            if mine is not None and theirs is not None:
                both = unite_lanes(mine, theirs)
                if sum(map(_weight, both.batches)) <= MOST_UNITED * self._limits.lane_bytes:
                    known.append(both)
            elif mine is not None and lane.opened > its_forgotten:
                known.append(mine)
            elif theirs is not None and lane.opened > forgotten:
                known.append(theirs)
        known.sort(key=lambda state: (state.seen, state.lane))
        self._lanes = {state.lane: state for state in known[-self._limits.lanes :]}
        changed = [
            (lane, state) for lane, state in self._lanes.items() if before.get(lane) != state
        ]
        dropped = [lane for lane in {**before, **its} if lane not in self._lanes]
        gone = [(lane, None) for lane in sorted(dropped) if lane in before]
        return Recorded([*gone, *changed], max((lane.opened for lane in dropped), default=0))

    def _make_room(self, time: int) -> list[Lane]:
        """Drop idle lanes, and as many more as it takes to add one."""
        dropped: list[Lane] = []
        for state in self._lanes.values():
            if time - state.seen <= self._limits.idle_ms:
                break
            dropped.append(state.lane)
        for lane in dropped:
            del self._lanes[lane]
        while len(self._lanes) >= self._limits.lanes:
            dropped.append(self._longest_unused())
            del self._lanes[dropped[-1]]
        return dropped

    def _longest_unused(self) -> Lane:
        """The lane to drop first; among those used last at the same time, the smallest.

        Their order in the table tells nothing: a replica that has loaded its table has another one.
        """
        longest = next(iter(self._lanes.values())).seen
        same = takewhile(lambda state: state.seen == longest, self._lanes.values())
        return min(state.lane for state in same)

    def _check(self, state: LaneState, before: int) -> None:
        assert len(self._lanes) <= self._limits.lanes
        assert len(state.batches) <= max(self._limits.open_batches, before)


def unite_lanes(mine: LaneState, theirs: LaneState) -> LaneState:
    """What two regions know of one lane: of a batch that was split each executed some ops."""
    done_below = max(mine.done_below, theirs.done_below)
    united: dict[int, ExecutedBatch] = {}
    for executed in (*mine.batches, *theirs.batches):
        if executed.sequence >= done_below:
            known = united.get(executed.sequence)
            united[executed.sequence] = _unite_batches(known, executed) if known else executed
    seen = max(mine.seen, theirs.seen)
    return LaneState(mine.lane, seen, done_below, tuple(united.values()))


def _unite_batches(one: ExecutedBatch, other: ExecutedBatch) -> ExecutedBatch:
    usual = sorted({*_numbers(one.usual), *_numbers(other.usual)})
    others = sorted({**dict(other.others), **dict(one.others)}.items(), key=lambda known: known[0])
    return ExecutedBatch(one.sequence, _runs(usual), tuple(others))


def _executed(state: LaneState, sequence: int) -> ExecutedBatch | None:
    for executed in state.batches:
        if executed.sequence == sequence:
            return executed
    return None


def _unsettled(state: LaneState, done_below: int) -> tuple[ExecutedBatch, ...]:
    if done_below <= state.done_below:
        return state.batches
    return tuple([executed for executed in state.batches if executed.sequence >= done_below])


def _compare(executed: ExecutedBatch, ops: Iterable[Op]) -> Attempt | InvalidRequest:
    """Tell the ops that were executed from those that were not."""
    others = dict(executed.others)
    usual = set(_numbers(executed.usual))
    known: dict[int, Outcome] = {}
    pending: list[Op] = []
    for op in ops:
        outcome = _usual_outcome(op) if op.op in usual else others.get(op.op)
        if outcome is not None:
            known[op.op] = outcome
        elif op.op in usual:
            return InvalidRequest(f"op {op.op} is not the one that was executed under its number")
        else:
            pending.append(op)
    return Attempt(tuple(pending), known)


def _usual_outcome(op: Op) -> Outcome | None:
    """The outcome of which only the op's number is kept; None if this kind of op has none."""
    match op:
        case DeleteRange():
            return None
        case CompareAndSwap():
            return Swapped()
        case _:
            return Done()


def _with(
    batches: tuple[ExecutedBatch, ...],
    sequence: int,
    ops: Sequence[Op],
    outcomes: Sequence[Outcome],
    room: int,
) -> tuple[ExecutedBatch, ...]:
    """`batches` and these outcomes; `room` is how many bytes of values may be kept with them."""
    usual, others = _summary(ops, outcomes, room)
    for place, executed in enumerate(batches):
        if executed.sequence == sequence:
            usual = sorted((*_numbers(executed.usual), *usual))
            others = sorted((*executed.others, *others), key=lambda known: known[0])
            merged = ExecutedBatch(sequence, _runs(usual), tuple(others))
            return (*batches[:place], merged, *batches[place + 1 :])
    return (*batches, ExecutedBatch(sequence, _runs(usual), tuple(others)))


def _summary(
    ops: Sequence[Op], outcomes: Sequence[Outcome], room: int
) -> tuple[list[int], list[tuple[int, Outcome]]]:
    """The numbers of ops with the usual outcome, and the other outcomes, as they are kept."""
    usual: list[int] = []
    others: list[tuple[int, Outcome]] = []
    for op, outcome in zip(ops, outcomes, strict=True):
        match outcome:
            case Done() | Swapped():
                usual.append(op.op)
            case NotSwapped(actual) if actual is not None and len(actual) > room:
                others.append((op.op, NotSwappedUntold()))
            case NotSwapped() | NotSwappedUntold() | RangeDeleted():
                others.append((op.op, outcome))
                room -= _outcome_weight(outcome)
            case _:
                assert_never(outcome)
    return usual, others


def _runs(numbers: list[int]) -> tuple[int, ...]:
    """Rising numbers as the first and last of each run, in turns."""
    if not numbers:
        return ()
    if numbers[-1] - numbers[0] == len(numbers) - 1:
        return (numbers[0], numbers[-1])
    runs = [numbers[0]]
    for before, after in pairwise(numbers):
        if after != before + 1:
            runs += (before, after)
    return (*runs, numbers[-1])


def _numbers(runs: tuple[int, ...]) -> Iterable[int]:
    for first, last in zip(runs[::2], runs[1::2], strict=True):
        yield from range(first, last + 1)


_OUTCOME_BYTES: Final = 12
"""What an outcome takes beside its value, roughly."""


def _weight(executed: ExecutedBatch) -> int:
    """About how many bytes the batch takes in the lane's row."""
    others = sum(_outcome_weight(outcome) for _, outcome in executed.others)
    return 3 * (1 + len(executed.usual)) + others


def _outcome_weight(outcome: Outcome) -> int:
    match outcome:
        case NotSwapped(bytes() as value) | RangeDeleted(_, bytes() as value):
            return _OUTCOME_BYTES + len(value)
        case _:
            return _OUTCOME_BYTES
