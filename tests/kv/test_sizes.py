"""Sizes against a dumb twin that counts: exact, but within bounds for a while after a split.

The parts of a split are counted some time before its entry, and again some time after it, as a
leader does it: what is told is what was counted in an old view, whatever was written since.
"""

from itertools import pairwise

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from msgspec import Struct

from flaredb.kv.machine import Executed
from flaredb_schemas.commands import (
    Batch,
    CompareAndSwap,
    Delete,
    DeleteRange,
    Difference,
    Group,
    Lane,
    NewRegion,
    Op,
    Put,
    Recount,
    Size,
    Split,
)
from flaredb_schemas.ids import PeerId, RegionId
from flaredb_schemas.keys import KeyRange
from tests.kv.replicas import Replicas, whole_region

LETTERS = [bytes([letter]) for letter in b"abcdefgh"]
PARENT = RegionId(1)

keys = st.sampled_from([*LETTERS, *(letter * 3 for letter in LETTERS)])
values = st.sampled_from([b"", b"1", b"x" * 40])
puts = st.builds(Put, st.just(0), keys, values)
deletes = st.builds(Delete, st.just(0), keys)
swaps = st.builds(CompareAndSwap, st.just(0), keys, st.none() | values, st.none() | values)
ranges = st.builds(DeleteRange, st.just(0), keys, keys)
any_op = st.one_of(puts, puts, puts, deletes, swaps, ranges)
places = st.integers(0, 7)


class View(Struct, frozen=True):
    """What was counted of a region at some moment: by which version, and its own figures then."""

    region: RegionId
    version: int
    figures: Size
    rows: dict[bytes, int]

    def size(self, keys: KeyRange) -> Size:
        inside = [size for key, size in self.rows.items() if keys.contains(key)]
        return Size(len(inside), sum(inside))


class Sizes(RuleBasedStateMachine):
    """Regions that are written to, cut and counted, all of them in one set of rows."""

    def __init__(self) -> None:
        super().__init__()
        self.regions: dict[RegionId, Replicas] = {}
        self.views: list[View] = []
        self.wrong_by: dict[RegionId, Size] = {}
        """By how much each estimate may be off: what was written after the count."""
        self.written: dict[RegionId, Size] = {}
        """What was written to a region since the newest view of it."""
        self.made = 10
        self.sequence = 0

    @initialize()
    def begin(self) -> None:
        self.regions[PARENT] = Replicas(whole_region())

    def _one(self, place: int) -> tuple[RegionId, Replicas]:
        regions = sorted(self.regions.items())
        return regions[place % len(regions)]

    def _holder(self, key: bytes) -> tuple[RegionId, Replicas]:
        return next(
            (region, one)
            for region, one in self.regions.items()
            if one.machine.region.keys.contains(key)
        )

    @rule(op=any_op)
    def write(self, op: Op) -> None:
        key = op.start if isinstance(op, DeleteRange) else op.key  # type: ignore[union-attr]
        region, replicas = self._holder(key)
        if isinstance(op, DeleteRange):
            end = replicas.machine.region.keys.end
            op = DeleteRange(0, op.start, min(op.end, end) if end else op.end)
        self._carry_out(region, replicas, op)

    @rule(first=puts, second=st.one_of(puts, deletes))
    def write_together(self, first: Put, second: Put | Delete) -> None:
        region, replicas = self._holder(first.key)
        if replicas.machine.region.keys.contains(second.key):
            self._carry_out(region, replicas, Group(0, (first, second)))

    def _carry_out(self, region: RegionId, replicas: Replicas, op: Op) -> None:
        rows = dict(replicas.first.rows.items())
        self.sequence += 1
        batch = Batch(Lane(1, 1, region), self.sequence, self.sequence, (op,))
        version = replicas.machine.region.epoch.version
        answer = replicas.write(batch, version, 1).answer
        assert isinstance(answer, Executed), answer
        after = dict(replicas.first.rows.items())
        changed = {key for key in rows | after if rows.get(key) != after.get(key)}
        size = sum(
            len(key) + max(len(rows.get(key, b"")), len(after.get(key, b""))) for key in changed
        )
        self._note(self.written, region, Size(len(changed), size))

    def _note(self, sizes: dict[RegionId, Size], region: RegionId, more: Size) -> None:
        known = sizes.get(region, Size(0, 0))
        sizes[region] = Size(known.keys + more.keys, known.bytes + more.bytes)

    @rule(place=places)
    def count(self, place: int) -> None:
        region, replicas = self._one(place)
        state, its = replicas.machine.state, replicas.machine.region
        rows = replicas.first.rows.scan(its.keys.start, its.keys.end)
        figures = Size(state.keys, state.bytes)
        sizes = {key: len(key) + len(value) for key, value in rows}
        self.views = [view for view in self.views if view.region != region]
        self.views.append(View(region, its.epoch.version, figures, sizes))
        self.written[region] = Size(0, 0)

    @precondition(lambda self: self.views)
    @rule(place=places, cuts=st.sets(keys, min_size=1, max_size=3))
    def cut(self, place: int, cuts: set[bytes]) -> None:
        view = self.views[place % len(self.views)]
        replicas = self.regions[view.region]
        its = replicas.machine.region
        starts = sorted(key for key in cuts if its.keys.contains(key) and key != its.keys.start)
        if not starts or its.epoch.version != view.version:
            return
        edges = [its.keys.start, *starts, its.keys.end]
        sizes = tuple(view.size(KeyRange(*edge)) for edge in pairwise(edges))
        children = tuple(self._child(start) for start in starts)
        command = Split(1, 1, view.version, children, "keys", 1, sizes)
        replicas.apply(command)
        assert replicas.children.keys() >= {child.id for child in children}
        for child in children:
            self.regions[child.id] = replicas.children[child.id]
        for region in (view.region, *(child.id for child in children)):
            self.wrong_by[region] = self.written[view.region]

    def _child(self, start: bytes) -> NewRegion:
        self.made += 1
        return NewRegion(RegionId(self.made), start, (PeerId(self.made),))

    @precondition(lambda self: self.views)
    @rule(place=places)
    def recount(self, place: int) -> None:
        view = self.views[place % len(self.views)]
        replicas = self.regions[view.region]
        was_estimated = replicas.machine.state.estimated
        counted, figures = view.size(replicas.machine.region.keys), view.figures
        missing = Difference(counted.keys - figures.keys, counted.bytes - figures.bytes)
        replicas.apply(Recount(1, view.version, missing))
        in_time = replicas.machine.region.epoch.version == view.version
        assert replicas.machine.state.estimated == (was_estimated and not in_time)

    @invariant()
    def sizes_are_exact_or_within_what_was_written(self) -> None:
        for region, replicas in self.regions.items():
            state = replicas.machine.state
            keys, size = replicas.first.rows.size(replicas.machine.region.keys)
            if state.estimated:
                bound = self.wrong_by[region]
                assert abs(state.keys - keys) <= bound.keys
                assert abs(state.bytes - size) <= bound.bytes
            else:
                assert (state.keys, state.bytes) == (keys, size)


TestSizes = Sizes.TestCase
TestSizes.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
