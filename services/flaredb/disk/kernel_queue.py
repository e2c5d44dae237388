"""Writes that the kernel carries out by itself, with the news of their end on a descriptor.

Linux's own asynchronous I/O (`io_submit(2)`), reached through the C library because Python has no
door to it. On a descriptor that passes the page cache by, a submit takes microseconds, and nobody
waits while the disk works: neither a thread that would have to be woken nor the interpreter's lock.
Where there is none of it `KernelQueue.open` says so, and a thread has to do.
"""

import ctypes
import mmap
import os
import platform
import select
import struct
import sys
from typing import Final

from flaredb.disk.wal_records import PAGE

_CALLS: Final = {
    "x86_64": (206, 207, 208, 209),
    "aarch64": (0, 1, 4, 2),
}
"""Numbers of io_setup, io_destroy, io_getevents and io_submit."""

_READ, _WRITE = 0, 1
_TELL_DESCRIPTOR: Final = 1
_BLOCK: Final = struct.Struct("<QIIHhIQQqQII")
"""`struct iocb`: name, key, flags, kind, priority, file, buffer, size, offset, 0, flags, teller."""

_EVENT: Final = struct.Struct("<QQqq")
"""`struct io_event`: name, block, result, 0."""

_NO_TIME: Final = struct.pack("<qq", 0, 0)

_PROBE_SECONDS: Final = 5.0


class KernelQueue:
    """At most one transfer that the kernel carries out.

    Invariant: while a transfer is under way its buffer is kept, and nobody changes it.
    """

    def __init__(self, context: ctypes.c_ulong, calls: tuple[int, int, int, int]) -> None:
        """Use `open`."""
        self._context: Final = context
        _, self._destroy, self._take, self._submit = calls
        self._block: Final = (ctypes.c_char * _BLOCK.size)()
        self._blocks: Final = (ctypes.c_void_p * 1)(ctypes.addressof(self._block))
        self._event: Final = (ctypes.c_char * _EVENT.size)()
        self._under_way: mmap.mmap | None = None
        self.teller: Final = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        """Readable when the transfer has ended."""

    @classmethod
    def open(cls, descriptor: int) -> "KernelQueue | None":
        """A queue that has been seen to work on `descriptor`, or None where there is none."""
        calls = _CALLS.get(platform.machine())
        if sys.platform != "linux" or calls is None:
            return None
        context = ctypes.c_ulong(0)
        if _call(calls[0], ctypes.c_uint(1), ctypes.byref(context)) != 0:
            return None
        queue = cls(context, calls)
        if queue._works_on(descriptor):
            return queue
        queue.close()
        return None

    def write(self, descriptor: int, buffer: mmap.mmap, size: int, offset: int) -> None:
        """Begin to write the first `size` bytes of `buffer`. Raises `OSError`."""
        self._begin(_WRITE, descriptor, buffer, size, offset)

    def ended(self) -> int:
        """Call when `teller` is readable: how many bytes were transferred. Raises `OSError`."""
        assert self._under_way is not None, "a transfer was begun"
        os.eventfd_read(self.teller)
        at_once, one = _NO_TIME, ctypes.c_long(1)
        if _call(self._take, self._context, one, one, self._event, at_once) != 1:
            raise _fault()
        self._under_way = None
        result: int = _EVENT.unpack(self._event)[2]
        if result < 0:
            raise OSError(-result, os.strerror(-result))
        return result

    def close(self) -> None:
        """Return when the kernel holds nothing of ours any more."""
        _call(self._destroy, self._context)
        os.close(self.teller)

    def _begin(self, kind: int, descriptor: int, buffer: mmap.mmap, size: int, offset: int) -> None:
        assert self._under_way is None, "one transfer is under way at a time"
        assert size <= len(buffer), "the bytes stand in the buffer"
        address = ctypes.addressof(ctypes.c_char.from_buffer(buffer))
        place = (descriptor, address, size, offset)
        _BLOCK.pack_into(self._block, 0, 0, 0, 0, kind, 0, *place, 0, _TELL_DESCRIPTOR, self.teller)
        if _call(self._submit, self._context, ctypes.c_long(1), self._blocks) != 1:
            raise _fault()
        self._under_way = buffer

    def _works_on(self, descriptor: int) -> bool:
        try:
            self._begin(_READ, descriptor, mmap.mmap(-1, PAGE), PAGE, 0)
            has_ended, _, _ = select.select([self.teller], [], [], _PROBE_SECONDS)
            return bool(has_ended) and self.ended() == PAGE
        except OSError:
            return False


_library: Final = ctypes.CDLL(None, use_errno=True)


def _call(number: int, *arguments: object) -> int:
    """The system call of this number; -1 if it fails."""
    result: int = _library.syscall(ctypes.c_long(number), *arguments)
    return result


def _fault() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))
