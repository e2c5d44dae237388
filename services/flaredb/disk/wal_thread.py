"""The thread that writes records of the write-ahead log: one system call for each, in their order.

Used where the kernel has no queue of its own for that (`WalKernel`). It is a thread and not a
process because a record costs the interpreter next to nothing: the call gives up its lock until the
disk has the bytes.
"""

import asyncio
import mmap
import os
import queue
import threading
from collections.abc import Callable
from typing import Final

import msgspec

from flaredb.disk.wal_records import WalRun, fill_record, record_bytes
from flaredb.disk.wal_space import Place

KEPT_BYTES: Final = 256 * 1024
"""How much of the buffer stays in memory after a larger record."""


def failed(number: int, error: Exception) -> str:
    """What to tell whoever runs the store when batch `number` could not be written."""
    cure = "look at the disk (dmesg), then start the store again"
    return f"batch {number} could not be saved: {error}; {cure}"


class _Record(msgspec.Struct, frozen=True):
    number: int
    place: Place
    body: memoryview


class WalThread:
    """Writes records into `segments`, descriptors that it closes at the end.

    Invariants: `on_written(number)` is called from the loop, in order, when the record is durable.
    After a failure, which `on_failed` tells once, nothing is written any more: what the kernel
    holds of a failed write is unknown.
    """

    def __init__(
        self,
        segments: list[int],
        run: WalRun,
        on_written: Callable[[int], None],
        on_failed: Callable[[str], None],
    ) -> None:
        self._segments: Final = segments
        self._run: Final = run
        self._on_written, self._on_failed = on_written, on_failed
        self._loop: Final = asyncio.get_running_loop()
        self._queue: Final[queue.SimpleQueue[_Record | None]] = queue.SimpleQueue()
        self._buffer = mmap.mmap(-1, KEPT_BYTES)
        self._thread: Final = threading.Thread(target=self._work, name="wal", daemon=True)
        self._thread.start()

    def write(self, number: int, place: Place, body: memoryview) -> None:
        """Begin to write batch `number`; returns at once. `body` must not change until written."""
        self._queue.put(_Record(number, place, body))

    async def close(self) -> None:
        """Return when what was begun is written and the descriptors are closed."""
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join)
        while self._segments:
            os.close(self._segments.pop())

    def _work(self) -> None:
        while (record := self._queue.get()) is not None:
            try:
                self._write(record)
            except Exception as error:  # whatever it is, the store must not wait for ever
                self._loop.call_soon_threadsafe(self._on_failed, failed(record.number, error))
                return
            self._loop.call_soon_threadsafe(self._on_written, record.number)

    def _write(self, record: _Record) -> None:
        size = record_bytes(len(record.body))
        if size > len(self._buffer):
            self._buffer = mmap.mmap(-1, size)
        fill_record(self._buffer, self._run, record.number, record.body)
        with memoryview(self._buffer)[:size] as view:
            segment, offset = self._segments[record.place.segment], record.place.offset
            written = os.pwritev(segment, [view], offset)
        if written != size:
            raise OSError(f"{written} of {size} bytes were written")
        if size > KEPT_BYTES:
            self._buffer = mmap.mmap(-1, KEPT_BYTES)
