"""Writes records of the write-ahead log through the kernel's own queue, from the loop.

Same promise as `WalThread`, without its hand-offs: measured from the submit of a batch to the turn
that hears of it, these cost twice what the disk takes.
"""

import asyncio
import mmap
import os
from collections.abc import Callable
from fcntl import F_GETFL, fcntl
from typing import Final

from flaredb.disk.kernel_queue import KernelQueue
from flaredb.disk.wal_records import WalRun, fill_record, record_bytes
from flaredb.disk.wal_space import Place
from flaredb.disk.wal_thread import KEPT_BYTES, WalThread, failed

_DIRECT: Final = getattr(os, "O_DIRECT", 0)


def start_wal(
    segments: list[int],
    run: WalRun,
    on_written: Callable[[int], None],
    on_failed: Callable[[str], None],
) -> "WalKernel | WalThread":
    """What writes records into `segments`: the kernel's queue where it does not block, a thread."""
    # A write that goes through the page cache would be carried out within the submit.
    are_direct = segments and all(fcntl(each, F_GETFL) & _DIRECT for each in segments)
    queue = KernelQueue.open(segments[0]) if are_direct else None
    if queue is None:
        return WalThread(segments, run, on_written, on_failed)
    return WalKernel(queue, segments, run, on_written, on_failed)


class WalKernel:
    """Writes records into `segments`, descriptors that it closes at the end.

    Invariants: one record is under way at a time; `on_written(number)` is called from the loop when
    it is durable. After a failure, which `on_failed` tells once, nothing is written any more.
    """

    def __init__(
        self,
        queue: KernelQueue,
        segments: list[int],
        run: WalRun,
        on_written: Callable[[int], None],
        on_failed: Callable[[str], None],
    ) -> None:
        self._queue: Final = queue
        self._segments: Final = segments
        self._run: Final = run
        self._on_written, self._on_failed = on_written, on_failed
        self._loop: Final = asyncio.get_running_loop()
        self._buffer = mmap.mmap(-1, KEPT_BYTES)
        self._number: int | None = None
        self._size = 0
        self._has_failed = False
        self._ended: Final = asyncio.Event()
        self._loop.add_reader(queue.teller, self._end)

    def write(self, number: int, place: Place, body: memoryview) -> None:
        """Begin to write batch `number`; returns at once."""
        assert self._number is None, "one record is under way at a time"
        if self._has_failed:
            return
        self._size = record_bytes(len(body))
        if self._size > len(self._buffer):
            self._buffer = mmap.mmap(-1, self._size)
        fill_record(self._buffer, self._run, number, body)
        try:
            segment = self._segments[place.segment]
            self._queue.write(segment, self._buffer, self._size, place.offset)
        except OSError as error:
            self._loop.call_soon(self._fail, failed(number, error))
        else:
            self._number = number

    async def close(self) -> None:
        """Return when what was begun is written and the descriptors are closed."""
        while self._number is not None:
            self._ended.clear()
            await self._ended.wait()
        self._loop.remove_reader(self._queue.teller)
        self._queue.close()
        while self._segments:
            os.close(self._segments.pop())

    def _end(self) -> None:
        assert self._number is not None, "only a record that is under way can end"
        number, self._number = self._number, None
        self._ended.set()
        try:
            written = self._queue.ended()
            if written != self._size:
                raise OSError(f"{written} of {self._size} bytes were written")
        except OSError as error:
            self._fail(failed(number, error))
            return
        if self._size > KEPT_BYTES:
            self._buffer = mmap.mmap(-1, KEPT_BYTES)
        self._on_written(number)

    def _fail(self, reason: str) -> None:
        if not self._has_failed:
            self._has_failed = True
            self._on_failed(reason)
