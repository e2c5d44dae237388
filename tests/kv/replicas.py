"""Replicas of one region in memory, applying the same entries under different circumstances.

One is handed decoded batches and lives on; the other decodes for itself and is loaded anew from
what it saved before every entry. Whatever they do, they must agree to the byte.
"""

from bisect import bisect_left, insort
from collections.abc import Iterator

import msgspec

from flaredb.kv.machine import AppliedState, Effects, Machine
from flaredb.kv.sessions import Limits, Sessions
from flaredb_schemas.commands import BATCHES, Batch, Command, Lane, Write
from flaredb_schemas.ids import Index, PeerId, RegionId, StoreId, Term
from flaredb_schemas.keys import KeyRange
from flaredb_schemas.regions import Epoch, Peer, Region
from flaredb_schemas.sessions import LANES, LaneState


class SortedRows:
    """A `DataView` on a dictionary and its sorted keys."""

    def __init__(self) -> None:
        self._values: dict[bytes, bytes] = {}
        self._keys: list[bytes] = []

    def get(self, key: bytes) -> bytes | None:
        return self._values.get(key)

    def size_of(self, key: bytes) -> int | None:
        value = self._values.get(key)
        return None if value is None else len(value)

    def scan(
        self, start: bytes, end: bytes, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        low = bisect_left(self._keys, start)
        high = bisect_left(self._keys, end) if end else len(self._keys)
        keys = self._keys[low:high]
        for key in reversed(keys) if reverse else keys:
            yield key, self._values[key]

    def set(self, key: bytes, value: bytes | None) -> None:
        if value is not None:
            if key not in self._values:
                insort(self._keys, key)
            self._values[key] = value
        elif self._values.pop(key, None) is not None:
            del self._keys[bisect_left(self._keys, key)]

    def size(self, keys: KeyRange) -> tuple[int, int]:
        """Keys in a range, and bytes of keys and values, counted the slow way."""
        rows = list(self.scan(keys.start, keys.end))
        return len(rows), sum(len(key) + len(value) for key, value in rows)

    def items(self) -> list[tuple[bytes, bytes]]:
        return list(self.scan(b"", b""))


class Replica:
    """A machine and the least of a host: rows, and what is saved beside them."""

    def __init__(self, region: Region, limits: Limits, reloads: bool) -> None:
        self.rows = SortedRows()
        self.lanes: dict[Lane, bytes] = {}
        self._limits = limits
        self._reloads = reloads
        self.machine = Machine(region, AppliedState(), Sessions(limits))

    def born(self, machine: Machine) -> "Replica":
        """The replica of a region that a split made here: its rows are where they were."""
        child = Replica(machine.region, self._limits, self._reloads)
        child.machine, child.rows = machine, self.rows
        child.lanes = {state.lane: LANES.encode(state) for state in machine.sessions.lanes}
        return child

    def apply(
        self,
        term: Term,
        command: Command | None,
        batch: Batch | None,
        source: "Replica | None" = None,
    ) -> Effects:
        """One more entry; None is an empty one. `source` is what it may absorb."""
        if self._reloads:
            self.reload()
        index = Index(self.machine.state.index + 1)
        if command is None:
            effects = self.machine.apply_empty(index, term)
        else:
            given = None if self._reloads else batch
            absorbed = source.machine if source is not None else None
            effects = self.machine.apply(index, term, command, self.rows, given, absorbed)
        for key, value in effects.rows:
            self.rows.set(key, value)
        for lane, state in effects.lanes:
            if state is None:
                del self.lanes[lane]
            else:
                self.lanes[lane] = LANES.encode(state)
        return effects

    def reload(self) -> None:
        """Start anew from what is saved."""
        state = msgspec.msgpack.decode(
            msgspec.msgpack.encode(self.machine.state), type=AppliedState
        )
        # Sorted by bytes: an order that has nothing to do with when the lanes were used.
        lanes = [_loaded(row) for row in sorted(self.lanes.values())]
        self.machine = Machine(self.machine.region, state, Sessions(self._limits, lanes))


def _loaded(row: bytes) -> LaneState:
    state = LANES.decode(row)
    assert isinstance(state, LaneState), state
    return state


class Replicas:
    """Two replicas that must agree after every entry."""

    def __init__(self, region: Region, limits: Limits | None = None) -> None:
        limits = limits or Limits()
        self.first = Replica(region, limits, reloads=False)
        self._second = Replica(region, limits, reloads=True)
        self.children: dict[RegionId, Replicas] = {}
        """The regions that a split of this one has made."""

    @property
    def machine(self) -> Machine:
        return self.first.machine

    def write(self, batch: Batch, version: int, time: int) -> Effects:
        """Apply a client's batch."""
        return self.apply(Write(time, version, BATCHES.encode(batch)), batch)

    def apply(
        self,
        command: Command | None,
        batch: Batch | None = None,
        term: Term | None = None,
        source: "Replicas | None" = None,
    ) -> Effects:
        """Apply one more entry on both, and compare all that there is."""
        term = term or self.machine.state.term
        effects = self.first.apply(term, command, batch, source.first if source else None)
        other = self._second.apply(term, command, batch, source._second if source else None)
        assert effects.answer == other.answer
        assert effects.rows == other.rows
        assert effects.events == other.events
        assert dict(effects.lanes) == dict(other.lanes)
        assert self.first.machine.state == self._second.machine.state
        assert self.first.lanes == self._second.lanes
        assert self.first.rows.items() == self._second.rows.items()
        state = self.machine.state
        size = self.first.rows.size(self.machine.region.keys)
        assert state.estimated or size == (state.keys, state.bytes), "exact sizes"
        self._divide(effects, other)
        return effects

    def _divide(self, one: Effects, other: Effects) -> None:
        assert self.first.machine.region == self._second.machine.region
        for mine, theirs in zip(one.children, other.children, strict=True):
            assert (mine.region, mine.state) == (theirs.region, theirs.state)
            born = Replicas(mine.region)
            born.first, born._second = self.first.born(mine), self._second.born(theirs)
            assert born.first.lanes == born._second.lanes
            self.children[mine.region.id] = born


def whole_region(start: bytes = b"", end: bytes = b"", version: int = 1) -> Region:
    """Region 1, with one peer."""
    peer = Peer(PeerId(11), StoreId(1))
    return Region(RegionId(1), KeyRange(start, end), Epoch(1, version), (peer,))
