"""Each op takes effect at most once, whatever is repeated, reordered, cut short or forgotten."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from msgspec.structs import replace

from flaredb.kv.machine import Effects, Executed
from flaredb.kv.sessions import Limits
from flaredb_schemas.commands import (
    Batch,
    CheckReplicas,
    CompareAndSwap,
    Delete,
    DeleteRange,
    Group,
    Lane,
    NotSwapped,
    NotSwappedUntold,
    Op,
    Put,
)
from flaredb_schemas.failures import (
    Busy,
    EpochMismatch,
    InvalidRequest,
    KeyNotInRegion,
    SessionExpired,
)
from tests.kv.replicas import Replicas, whole_region
from tests.kv.twin import Twin

VERSION = 3
LANES = 3
BATCHES = 9
LIMITS = Limits(lanes=LANES, open_batches=2, lane_bytes=90, told_bytes=50, idle_ms=50)
"""So tight that everything is forgotten, full and expired time and again."""

keys = st.sampled_from([b"b", b"c", b"d"])
foreign_keys = st.sampled_from([b"", b"a", b"g", b"h"])
values = st.sampled_from([b"1", b"2", b"x" * 30])
puts = st.builds(Put, st.just(0), keys, values)
deletes = st.builds(Delete, st.just(0), keys)
swaps = st.builds(CompareAndSwap, st.just(0), keys, st.none() | values, st.none() | values)
ranges = st.builds(DeleteRange, st.just(0), keys, keys)
groups = st.builds(Group, st.just(0), st.lists(puts | deletes, max_size=2).map(tuple))
any_op = st.one_of(puts, puts, deletes, swaps, swaps, ranges, groups)
some_ops = st.lists(any_op, min_size=1, max_size=4)

indexes = st.integers(0, BATCHES - 1)
masks = st.integers(0, 15)


def numbered(ops: list[Op]) -> tuple[Op, ...]:
    """The ops under the numbers 0, 1, 2, …"""
    return tuple(replace(op, op=number) for number, op in enumerate(ops))


class Once(RuleBasedStateMachine):
    """Clients that repeat themselves, against a region that forgets, against a twin that does not.

    A few batches on a few lanes are sent over and over. All that their clients promise is that a
    batch's name never stands for two different batches.
    """

    def __init__(self) -> None:
        super().__init__()
        self.replicas = Replicas(whole_region(b"b", b"g", VERSION), LIMITS)
        self.twin = Twin()
        self.clock = 10
        self.batches: list[Batch] = []

    @initialize(contents=st.lists(some_ops, min_size=BATCHES, max_size=BATCHES))
    def make_batches(self, contents: list[list[Op]]) -> None:
        self.replicas.apply(CheckReplicas(LANES, 0))  # brings the region's time along
        for place, ops in enumerate(contents):
            number, sequence = place % LANES, place // LANES
            lane = Lane(1, 1 + number, number)
            self.batches.append(Batch(lane, sequence, 0, numbered(ops)))

    @rule(milliseconds=st.sampled_from([-40, 0, 1, 20, 60]))
    def time_passes(self, milliseconds: int) -> None:
        """On the clock of the leader, or to that of another one, which may be behind."""
        self.clock = max(1, self.clock + milliseconds)

    @rule(attempts=st.lists(st.tuples(indexes, masks, st.integers(0, 2)), min_size=1, max_size=6))
    def send(self, attempts: list[tuple[int, int, int]]) -> None:
        """Attempts, each with all of a batch or some of it, at any time, as often as it comes."""
        for index, mask, settled in attempts:
            batch = self.batches[index]
            ops = tuple(op for op in batch.ops if not mask & 1 << op.op) or batch.ops
            attempt = replace(batch, done_below=min(settled, batch.sequence), ops=ops)
            effects = self.replicas.write(attempt, VERSION, self.clock)
            if isinstance(effects.answer, Executed):
                self.compare(attempt, effects.answer)
            else:
                assert isinstance(effects.answer, Busy | SessionExpired)
                self.nothing_happened(effects)

    @rule(index=indexes)
    def send_to_another_version(self, index: int) -> None:
        """Whoever thinks of another region gets what was recorded, or is refused."""
        batch = self.batches[index]
        effects = self.replicas.write(batch, VERSION - 1, self.clock)
        if isinstance(effects.answer, Executed):
            known = {(batch.lane, batch.sequence, op.op) for op in batch.ops}
            assert known <= self.twin.executed.keys()
            assert not effects.rows
            self.compare(batch, effects.answer)
        else:
            assert isinstance(effects.answer, EpochMismatch | SessionExpired)
            self.nothing_happened(effects)

    @rule(index=indexes, key=foreign_keys)
    def send_with_a_foreign_key(self, index: int, key: bytes) -> None:
        batch = self.batches[index]
        wrong = replace(batch, ops=(*batch.ops, Put(100, key, b"never")))
        effects = self.replicas.write(wrong, VERSION, self.clock)
        assert isinstance(effects.answer, KeyNotInRegion | SessionExpired)
        self.nothing_happened(effects)

    @rule(index=indexes)
    def send_garbled(self, index: int) -> None:
        batch = self.batches[index]
        wrong = replace(batch, ops=(*batch.ops, *batch.ops))
        effects = self.replicas.write(wrong, VERSION, self.clock)
        assert isinstance(effects.answer, InvalidRequest)
        self.nothing_happened(effects)

    @rule(ops=some_ops)
    def a_new_client_is_served(self, ops: list[Op]) -> None:
        """However full the table is, who comes new and knows the region's time gets in."""
        state = self.replicas.machine.state
        batch = Batch(Lane(2, state.time, state.index), 0, 0, numbered(ops))
        effects = self.replicas.write(batch, VERSION, self.clock)
        assert isinstance(effects.answer, Executed)
        self.compare(batch, effects.answer)

    def compare(self, attempt: Batch, answer: Executed) -> None:
        """The twin says the same; what it executed before, it does not execute again."""
        for op, outcome in zip(attempt.ops, answer.outcomes, strict=True):
            name = (attempt.lane, attempt.sequence, op.op)
            before = name in self.twin.executed
            expected = self.twin.execute(name, op)
            if isinstance(outcome, NotSwappedUntold):
                assert before
                assert isinstance(expected, NotSwapped)
                assert expected.actual is not None
            else:
                assert outcome == expected

    def nothing_happened(self, effects: Effects) -> None:
        assert not effects.rows
        assert not effects.lanes

    @invariant()
    def rows_agree(self) -> None:
        assert dict(self.replicas.first.rows.items()) == self.twin.rows


TestOnce = Once.TestCase
TestOnce.settings = settings(max_examples=200, stateful_step_count=20, deadline=None)
