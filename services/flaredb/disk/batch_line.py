"""Each batch's way: into the write-ahead log, acknowledged, then to the writer.

A batch that gets no place in the log, because it is large, or the log is full, or there is none,
is handed to the writer at once and acknowledged when it is committed.
"""

from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

import msgspec

from flaredb.disk.child_messages import FRAME_HEAD, SaveBatch
from flaredb.disk.child_process import encode_frame
from flaredb.disk.committer import Committer
from flaredb.disk.disk import MAX_BATCHES_UNDER_WAY, Batch, Change
from flaredb.disk.wal_records import record_bytes
from flaredb.disk.wal_space import Place, WalSpace

LARGE_BYTES: Final = 512 * 1024
"""A batch of so many bytes gains nothing from waiting for others, and would be written twice."""


class RecordWriter(Protocol):
    """What writes into the log; see `start_wal`."""

    def write(self, number: int, place: Place, body: memoryview) -> None: ...


class _Waiting(msgspec.Struct, frozen=True):
    number: int
    changes: list[Change]
    frame: bytearray


class BatchLine:
    """The batches that are not acknowledged yet.

    Behind the line batches are numbered from 1 on in each run, whatever the port's numbers are.

    Invariants: one is being written at a time, the first of them; they are acknowledged in order,
    at most two are under way, and none is acknowledged once `dead`.
    """

    def __init__(
        self,
        records: RecordWriter,
        space: WalSpace,
        committer: Committer,
        on_saved: Callable[[int, int, list[Change]], None],
    ) -> None:
        """`on_saved` hears the port's number of a batch, then the one behind the line."""
        self._records: Final = records
        self._space: Final = space
        self._committer: Final = committer
        self._on_saved = on_saved
        self._waiting: Final[deque[_Waiting]] = deque()
        self._is_writing = False
        self._before: int | None = None
        self._last = 0
        self.dead = False

    @property
    def under_way(self) -> int:
        """How many batches are not acknowledged yet."""
        return len(self._waiting)

    def submit(self, number: int, batch: Batch) -> None:
        """See the port's `submit`."""
        if self._before is None:
            self._before = number - 1
        self._last += 1
        assert number == self._before + self._last, "numbers rise by one"
        if self.dead:
            return
        assert len(self._waiting) < MAX_BATCHES_UNDER_WAY, "too many batches under way"
        frame = encode_frame(SaveBatch(self._last, batch.changes))
        self._waiting.append(_Waiting(self._last, batch.changes, frame))
        self._write_next()

    def written(self, number: int) -> None:
        """The record of batch `number` is durable."""
        if not self.dead:
            first = self._waiting[0]
            assert first.number == number, "batches are written in their order"
            self._committer.take(number, first.frame)
            self._saved()

    def committed(self, number: int) -> None:
        """The rows hold the batches up to `number`."""
        self._space.committed(number)
        if self._waiting and self._waiting[0].number == number and not self.dead:
            self._saved()

    def _write_next(self) -> None:
        if self._is_writing or not self._waiting:
            return
        self._is_writing = True
        first = self._waiting[0]
        body = memoryview(first.frame)[FRAME_HEAD.size :]
        is_large = len(body) >= LARGE_BYTES
        place = None if is_large else self._space.place(first.number, record_bytes(len(body)))
        if place is None:
            self._committer.take(first.number, first.frame)
            self._committer.commit()
        else:
            self._records.write(first.number, place, body)

    def _saved(self) -> None:
        first = self._waiting.popleft()
        self._is_writing = False
        assert self._before is not None, "something was submitted"
        self._on_saved(self._before + first.number, first.number, first.changes)
        self._write_next()
