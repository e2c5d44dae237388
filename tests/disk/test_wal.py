"""The write-ahead log by itself: what it keeps, what it leaves out, what it refuses to build on."""

import mmap
import random
from typing import Final

import pytest

from flaredb.disk.wal_records import (
    PAGE,
    WalDamaged,
    WalRun,
    fill_record,
    record_bytes,
    to_replay,
)
from flaredb.disk.wal_space import Place, WalSpace

RUN: Final = WalRun(7)
SEGMENTS: Final = 2
SIZE: Final = 16 * PAGE


class Log:
    """Segments in memory, written as the disk writes them."""

    def __init__(self) -> None:
        self.segments = [bytearray(SIZE) for _ in range(SEGMENTS)]
        self.space = WalSpace(SEGMENTS, SIZE)
        self.places: dict[int, tuple[Place, int]] = {}

    def write(self, number: int, body: bytes, run: WalRun = RUN) -> bool:
        """Append a record; False if there is no place for it now."""
        size = record_bytes(len(body))
        place = self.space.place(number, size)
        if place is None:
            return False
        buffer = mmap.mmap(-1, size)
        assert fill_record(buffer, run, number, memoryview(body)) == size
        self.segments[place.segment][place.offset : place.offset + size] = buffer
        self.places[number] = (place, size)
        return True

    def replay(self, committed: int = 0, run: WalRun = RUN) -> list[bytes] | WalDamaged:
        """What is to be replayed, copied."""
        found = to_replay([bytes(segment) for segment in self.segments], run, committed)
        return found if isinstance(found, WalDamaged) else [bytes(body) for body in found]

    def flip(self, number: int, offset: int) -> None:
        """Change a bit of a record."""
        place, _ = self.places[number]
        self.segments[place.segment][place.offset + offset] ^= 1

    def tear(self, number: int, kept: int) -> None:
        """Take back all of a record but its first bytes."""
        place, size = self.places[number]
        start = place.offset + kept
        self.segments[place.segment][start : place.offset + size] = bytes(size - kept)


def log_of(count: int, size: int = 100) -> Log:
    """A log of so many records."""
    log = Log()
    for number in range(1, count + 1):
        assert log.write(number, b"%d" % number * size)
    return log


def test_an_empty_log_has_nothing_to_replay() -> None:
    assert to_replay([], RUN, 0) == []
    assert Log().replay() == []


def test_what_was_written_is_replayed_in_order_from_where_the_rows_end() -> None:
    log = log_of(5)
    assert log.replay() == [b"%d" % number * 100 for number in range(1, 6)]
    assert log.replay(committed=3) == [b"4" * 100, b"5" * 100]
    assert log.replay(committed=5) == []


def test_records_of_another_run_count_for_nothing() -> None:
    assert log_of(5).replay(run=WalRun(8)) == []


@pytest.mark.parametrize("kept", [0, 1, 20, 40, PAGE, 2 * PAGE - 1])
def test_an_end_that_was_being_written_is_left_out(kept: int) -> None:
    log = log_of(3, size=2 * PAGE)
    log.tear(3, kept)
    assert log.replay() == [b"1" * 2 * PAGE, b"2" * 2 * PAGE]


@pytest.mark.parametrize("offset", [0, 5, 13, 30, 33, 36, 99])
def test_damage_before_the_end_is_not_built_on(offset: int) -> None:
    log = log_of(3)
    log.flip(2, offset)
    assert log.replay() == WalDamaged(2)
    assert log.replay(committed=2) == [b"3" * 100]


def test_rows_that_are_older_than_the_log_are_not_built_on() -> None:
    log = log_of(2 * SIZE // PAGE)
    log.space.committed(2 * SIZE // PAGE)
    assert log.write(33, b"over the first")
    assert log.replay(committed=32) == [b"over the first"]
    assert log.replay(committed=0) == WalDamaged(1)


def test_a_place_is_used_again_only_when_its_batches_are_committed() -> None:
    log = log_of(2 * SIZE // PAGE)
    number = 2 * SIZE // PAGE + 1
    assert not log.write(number, b"no room")
    log.space.committed(SIZE // PAGE - 1)
    assert not log.write(number, b"no room")
    log.space.committed(SIZE // PAGE)
    assert log.write(number, b"room")


def test_a_batch_larger_than_a_segment_never_has_a_place() -> None:
    assert not Log().write(1, bytes(SIZE))
    assert Log().write(1, bytes(SIZE - PAGE))
    assert WalSpace(0, SIZE).place(1, PAGE) is None


@pytest.mark.parametrize("seed", range(20))
def test_whenever_it_stops_all_that_was_written_is_there(seed: int) -> None:
    dice, log = random.Random(seed), Log()
    bodies: dict[int, bytes] = {}
    committed = number = 0
    for _ in range(300):
        body = dice.randbytes(dice.choice((1, 100, 5_000, 20_000)))
        if log.write(number + 1, body):
            number += 1
            bodies[number] = body
        else:
            committed = dice.randrange(committed, number + 1)
            log.space.committed(committed)
        if dice.random() < 0.2 and number > committed:
            kept = dice.randrange(record_bytes(len(bodies[number])))
            whole = [bytes(segment) for segment in log.segments]
            log.tear(number, kept)
            found = log.replay(committed)
            assert not isinstance(found, WalDamaged)
            assert found in (
                [bodies[each] for each in range(committed + 1, number)],
                [bodies[each] for each in range(committed + 1, number + 1)],  # only padding is gone
            )
            log.segments = [bytearray(segment) for segment in whole]
        assert log.replay(committed) == [bodies[each] for each in range(committed + 1, number + 1)]
