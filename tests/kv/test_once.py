"""Each op takes effect at most once, whatever is repeated, reordered, cut short or forgotten."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from flaredb.kv.machine import Effects, Executed
from flaredb.kv.sessions import Limits
from flaredb_schemas.commands import (
    Batch,
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
LIMITS = Limits(lanes=3, open_batches=3, lane_bytes=120, told_bytes=40, idle_ms=50)
"""So tight that everything is forgotten, full and expired time and again."""

keys = st.sampled_from([b"b", b"c", b"ca", b"d", b"e", b"f"])
foreign_keys = st.sampled_from([b"", b"a", b"g", b"h"])
values = st.sampled_from([b"", b"1", b"2", b"x" * 30])
puts = st.builds(Put, st.just(0), keys, values)
deletes = st.builds(Delete, st.just(0), keys)
swaps = st.builds(CompareAndSwap, st.just(0), keys, st.none() | values, st.none() | values)
ranges = st.builds(DeleteRange, st.just(0), keys, keys)
groups = st.builds(Group, st.just(0), st.lists(puts | deletes, max_size=3).map(tuple))
ops = st.one_of(puts, puts, deletes, swaps, swaps, ranges, groups)


def numbered(some: list[Op]) -> tuple[Op, ...]:
    """The ops under the numbers 0, 1, 2, …"""
    return tuple(
        type(op)(number, *(getattr(op, field) for field in op.__struct_fields__[1:]))
        for number, op in enumerate(some)
    )


class Once(RuleBasedStateMachine):
    """Clients that repeat themselves, against a region that forgets, against a twin that does not.

    A batch's name never stands for two different batches; that is all that clients promise.
    """

    lanes = Bundle("lanes")
    batches = Bundle("batches")

    def __init__(self) -> None:
        super().__init__()
        self.replicas = Replicas(whole_region(b"b", b"g", VERSION), LIMITS)
        self.twin = Twin()
        self.clock = 1
        self.names: set[tuple[Lane, int]] = set()
        self.opened = 0

    @rule(milliseconds=st.sampled_from([0, 1, 20, 60]))
    def time_passes(self, milliseconds: int) -> None:
        self.clock += milliseconds

    @rule(step_back=st.integers(1, 100))
    def another_clock(self, step_back: int) -> None:
        """Another leader, whose clock is behind."""
        self.clock = max(1, self.clock - step_back)

    @rule(target=lanes, client=st.integers(1, 2), age=st.sampled_from([0, 0, 1, 30]))
    def open_lane(self, client: int, age: int) -> Lane:
        """A lane, named by what the client last heard of the region's time."""
        return self.fresh_lane(client, age)

    @rule(
        target=batches,
        lane=lanes,
        sequence=st.integers(0, 6),
        some=st.lists(ops, min_size=1, max_size=5),
    )
    def make_batch(self, lane: Lane, sequence: int, some: list[Op]) -> Batch:
        while (lane, sequence) in self.names:
            sequence += 1
        self.names.add((lane, sequence))
        return Batch(lane, sequence, 0, numbered(some))

    @rule(batch=batches, settled=st.integers(0, 3), kept=st.integers(1, 31))
    def send(self, batch: Batch, settled: int, kept: int) -> None:
        """An attempt: all of the batch or some of it, at any time, as often as it comes."""
        chosen = tuple(op for op in batch.ops if kept & 1 << op.op) or batch.ops
        done_below = max(0, batch.sequence - settled)
        attempt = Batch(batch.lane, batch.sequence, done_below, chosen)
        effects = self.replicas.write(attempt, VERSION, self.clock)
        if isinstance(effects.answer, Executed):
            self.compare(attempt, effects.answer)
        else:
            assert isinstance(effects.answer, Busy | SessionExpired)
            self.nothing_happened(effects)

    @rule(batch=batches)
    def send_to_another_version(self, batch: Batch) -> None:
        """Whoever thinks of another region gets what was recorded, or is refused."""
        effects = self.replicas.write(batch, VERSION - 1, self.clock)
        if isinstance(effects.answer, Executed):
            known = {(batch.lane, batch.sequence, op.op) for op in batch.ops}
            assert known <= self.twin.executed.keys()
            assert not effects.rows
            self.compare(batch, effects.answer)
        else:
            assert isinstance(effects.answer, EpochMismatch | SessionExpired)
            self.nothing_happened(effects)

    @rule(batch=batches, key=foreign_keys)
    def send_with_a_foreign_key(self, batch: Batch, key: bytes) -> None:
        foreign = Put(100, key, b"never")
        wrong = Batch(batch.lane, batch.sequence, 0, (*batch.ops, foreign))
        effects = self.replicas.write(wrong, VERSION, self.clock)
        assert isinstance(effects.answer, KeyNotInRegion | SessionExpired)
        self.nothing_happened(effects)

    @rule(batch=consumes(batches))
    def send_garbled(self, batch: Batch) -> None:
        wrong = Batch(batch.lane, batch.sequence, 0, (*batch.ops, *batch.ops))
        effects = self.replicas.write(wrong, VERSION, self.clock)
        assert isinstance(effects.answer, InvalidRequest)
        self.nothing_happened(effects)

    @rule(some=st.lists(ops, min_size=1, max_size=5))
    def a_new_client_is_served(self, some: list[Op]) -> None:
        """However full the table is, who comes new and knows the region's time gets in."""
        batch = Batch(self.fresh_lane(9, 0), 0, 0, numbered(some))
        effects = self.replicas.write(batch, VERSION, self.clock)
        assert isinstance(effects.answer, Executed)
        self.compare(batch, effects.answer)

    def fresh_lane(self, client: int, age: int) -> Lane:
        self.opened += 1
        return Lane(client, max(0, self.replicas.machine.state.time - age), self.opened)

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
TestOnce.settings = settings(max_examples=100, stateful_step_count=50, deadline=None)
