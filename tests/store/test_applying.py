"""What a region applies in one turn is bounded, also where entries are small and ask for much."""

from collections.abc import Callable

import pytest

from flaredb.runtime.settings import StoreSettings
from flaredb.store.replica import MAX_APPLY_OPS
from flaredb.store.serving import REQUESTS
from flaredb_schemas.commands import (
    BATCHES,
    MAX_BATCH_OPS,
    MAX_DELETED_PER_ENTRY,
    Batch,
    CompareAndSwap,
    Delete,
    DeleteRange,
    Lane,
    Op,
    Put,
)
from flaredb_schemas.ids import RegionId
from flaredb_schemas.requests import RequestFrame, WriteAnswer, WriteRequest
from tests.store.group import INBOX, Group
from tests.store.member import Member
from tests.store.regions import region

ONLY = RegionId(1)


def keys(number: int) -> list[bytes]:
    """The keys of a batch."""
    return [b"%d-%04d" % (number, key) for key in range(MAX_DELETED_PER_ENTRY)]


def puts(number: int) -> tuple[Op, ...]:
    return tuple(Put(at, key, b"") for at, key in enumerate(keys(number)))


def deletes(number: int) -> tuple[Op, ...]:
    return tuple(Delete(at, key) for at, key in enumerate(keys(number)))


def vain_swaps(number: int) -> tuple[Op, ...]:
    return tuple(CompareAndSwap(at, key, b"no", b"") for at, key in enumerate(keys(number)))


def range_deletes(number: int) -> tuple[Op, ...]:
    return (DeleteRange(0, b"%d" % number, b"%d" % (number + 1)),)


def largest(number: int) -> tuple[Op, ...]:
    return tuple(Put(at, b"%d-%d" % (number, at), b"") for at in range(MAX_BATCH_OPS))


class Writing:
    """Batches that reach a leader at once, and how many entries each turn of a store applies."""

    def __init__(self, group: Group) -> None:
        self.group = group
        self.most = 0
        self._before: dict[int, int] = {}
        self._sequence = 0
        group.watch = self._turned

    def _turned(self, member: Member) -> None:
        replica = member.store.registry.get(ONLY)
        if replica is not None:
            index = replica.machine.state.index
            self.most = max(self.most, index - self._before.get(member.id, index))
            self._before[member.id] = index

    def write(self, batches: list[tuple[Op, ...]]) -> None:
        """Have them all executed."""
        group, lane = self.group, Lane(7, self.group.wall(), 1)
        leader = group.wait_for_leader(ONLY)
        requests = []
        for ops in batches:
            self._sequence += 1
            batch = BATCHES.encode(Batch(lane, self._sequence, 0, ops))
            requests.append(WriteRequest(1_000 + self._sequence, ONLY, 1, batch))
        leader.store.on_request(REQUESTS.encode(RequestFrame(1, tuple(requests))), INBOX)
        wanted = [request.number for request in requests]
        group.until(lambda: all(number in group.answers for number in wanted))
        assert all(isinstance(group.answers[number], WriteAnswer) for number in wanted)
        calm = group.now + 1.0  # followers apply a little later
        group.until(lambda: group.now > calm)


@pytest.mark.parametrize(
    ("batch", "most"),
    [
        (puts, MAX_APPLY_OPS // MAX_DELETED_PER_ENTRY),
        (deletes, MAX_APPLY_OPS // MAX_DELETED_PER_ENTRY),
        (vain_swaps, MAX_APPLY_OPS // MAX_DELETED_PER_ENTRY),
        (range_deletes, MAX_APPLY_OPS // MAX_DELETED_PER_ENTRY),
        (largest, 1),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_turn_applies_so_many_operations_of_a_region(
    batch: Callable[[int], tuple[Op, ...]], most: int
) -> None:
    group = Group(StoreSettings(), (region(1, b"", b""),))
    writing = Writing(group)
    for number in range(1, 7):
        writing.write([puts(number)])
    writing.most = 0
    writing.write([batch(number) for number in range(1, 7)])
    assert writing.most == most
