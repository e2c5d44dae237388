"""Line, log, committer and view together, in memory: wherever it stops, nothing saved is lost.

Chance decides when a record is written, a commit is done or told, and a view renewed. After each
step every crash that could happen then is looked at, and so is what the view shows.
"""

import mmap
import random
from collections import deque
from collections.abc import Callable, Iterator
from typing import Final

import msgspec
import pytest

from flaredb.disk.batch_line import BatchLine
from flaredb.disk.child_messages import FRAME_HEAD, SaveBatch
from flaredb.disk.committer import Committer
from flaredb.disk.disk import Batch, Change
from flaredb.disk.memory_disk import SortedRows
from flaredb.disk.pending import PendingView
from flaredb.disk.wal_records import PAGE, WalDamaged, WalRun, fill_record, record_bytes, to_replay
from flaredb.disk.wal_space import Place, WalSpace

pytestmark = pytest.mark.anyio

RUN: Final = WalRun(7)
SIZE: Final = 8 * PAGE
STEPS: Final = 150
_decoder: Final = msgspec.msgpack.Decoder(SaveBatch)

Rows = list[tuple[bytes, bytes]]


def all_of(rows: SortedRows | PendingView, reverse: bool = False) -> Rows:
    return list(rows.scan(b"\x00", b"\xff", reverse))


def after(rows: SortedRows, changes: list[Change]) -> SortedRows:
    """What `rows` become by these changes."""
    new, batch = SortedRows(), Batch()
    new.keys, new.values, new.size = list(rows.keys), dict(rows.values), rows.size
    batch.changes = changes
    new.apply(batch)
    return new


class World:
    """A disk of which every part waits until it is told to go on.

    `states[n]` are the rows after batch `n`; `rows` and `mark` are what is committed.
    """

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.segments = [bytearray(SIZE), bytearray(SIZE)]
        self.rows, self.mark = SortedRows(), 0
        self.shown = SortedRows()
        self.states = [SortedRows()]
        self.saved = 0
        self.taken: deque[SaveBatch] = deque()
        self.records: deque[tuple[int, Place, bytes]] = deque()
        self.asked: deque[int] = deque()
        self.untold: deque[int] = deque()
        self.view = PendingView(self)
        self.committer = Committer(self, self.view.seal, lambda number: self.line.committed(number))
        self.line = BatchLine(self, WalSpace(2, SIZE), self.committer, self._on_saved)

    # What the parts ask of the world.

    def take(self, frame: bytearray) -> None:
        self.taken.append(_decoder.decode(bytes(frame[FRAME_HEAD.size :])))

    def commit(self, number: int) -> None:
        self.asked.append(number)

    def write(self, number: int, place: Place, body: memoryview) -> None:
        self.records.append((number, place, bytes(body)))

    def get(self, key: bytes) -> bytes | None:
        return self.shown.get(key)

    def scan(
        self, start: bytes, end: bytes, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        return self.shown.scan(start, end, reverse)

    def _on_saved(self, number: int, own_number: int, changes: list[Change]) -> None:
        assert number == self.saved + 1, "batches are acknowledged in their order"
        self.saved = number
        self.view.add(own_number, changes)

    # What happens.

    def step(self) -> None:
        """One of the things that can happen now."""
        can: list[Callable[[], None]] = [self.renew, self.commit_some]
        if self.line.under_way < 2:
            can += [self.submit] * 3
        if self.records:
            can += [self.write_record] * 3
        if self.asked:
            can.append(self.do_commit)
        if self.untold:
            can.append(lambda: self.committer.answered(self.untold.popleft()))
        self.dice.choice(can)()

    def submit(self) -> None:
        batch = Batch()
        for _ in range(self.dice.randrange(5)):
            low, high = sorted(b"%02d" % self.dice.randrange(30) for _ in range(2))
            length = self.dice.choice((1, 1, 1, 2_000, 12_000))
            kind = self.dice.randrange(5)
            if kind < 3:
                batch.put(low, b"%03d" % self.dice.randrange(1_000) * length)
            elif kind == 3:
                batch.delete(low)
            else:
                batch.delete_range(low, high)
        self.states.append(after(self.states[-1], batch.changes))
        self.line.submit(len(self.states) - 1, batch)

    def commit_some(self) -> None:
        if self.dice.random() < 0.3:
            self.committer.commit()

    def write_record(self) -> None:
        number, place, body = self.records.popleft()
        _write_pages(self.segments, place, body, number, None)
        self.line.written(number)

    def do_commit(self) -> None:
        number = self.asked.popleft()
        while self.taken and self.taken[0].number <= number:
            self.rows = after(self.rows, self.taken.popleft().changes)
        self.mark = number
        self.untold.append(number)

    def renew(self) -> None:
        self.shown = self.rows
        self.view.show(self.mark)
        found = all_of(self.view)
        assert found in [all_of(state) for state in self.states[self.saved :]], "one moment"
        assert all_of(self.view, reverse=True) == found[::-1]
        values = dict(found)
        for number in range(30):
            assert self.view.get(b"%02d" % number) == values.get(b"%02d" % number)

    def crash(self) -> None:
        """What the next run would find, with some pages of the record that is being written."""
        segments = [bytearray(segment) for segment in self.segments]
        if self.records:
            number, place, body = self.records[0]
            _write_pages(segments, place, body, number, self.dice)
        found = to_replay([bytes(segment) for segment in segments], RUN, self.mark)
        assert not isinstance(found, WalDamaged)
        rows = self.rows
        for each in found:
            rows = after(rows, _decoder.decode(each).changes)
        last = self.mark + len(found)
        assert last >= self.saved, "what was acknowledged is there"
        assert all_of(rows) == all_of(self.states[last]), "and nothing else"


def _write_pages(
    segments: list[bytearray], place: Place, body: bytes, number: int, dice: random.Random | None
) -> None:
    """Write a record; with `dice` some of its pages, as a power cut may leave it."""
    size = record_bytes(len(body))
    buffer = mmap.mmap(-1, size)
    fill_record(buffer, RUN, number, memoryview(body))
    for page in range(0, size, PAGE):
        if dice is None or dice.random() < 0.5:
            start = place.offset + page
            segments[place.segment][start : start + PAGE] = buffer[page : page + PAGE]


@pytest.mark.parametrize("seed", range(30))
async def test_whenever_it_stops_nothing_acknowledged_is_lost(seed: int) -> None:
    world = World(seed)
    for _ in range(STEPS):
        world.step()
        world.crash()
    world.committer.stop()
    assert world.saved > 10
