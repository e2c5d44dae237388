"""The write-ahead log's segments: files whose every byte is written before they are used.

Writing over bytes that are there changes neither length nor extents, so a record costs one write
past the page cache and no commit of the file system's own journal.
"""

import errno
import mmap
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from flaredb.disk.folder import sync_folder
from flaredb.disk.wal_records import PAGE

WAL_SEGMENTS: Final = 2
WAL_SEGMENT_BYTES: Final = 8 * 1024**2
"""More than is saved while the writer commits what came before."""


def read_segments(folder: Path) -> list[mmap.mmap]:
    """What the segments hold, or nothing unless all are there; mapped: it takes no memory.

    One that is missing, or shorter than the others, may have held the newest records.
    """
    segments = [_map(path) for path in _paths(folder) if path.exists() and path.stat().st_size]
    are_whole = len(segments) == WAL_SEGMENTS and len({len(each) for each in segments}) == 1
    return segments if are_whole else []


def make_segments(folder: Path, size: int) -> bool:
    """Have segments of `size` bytes in `folder`. False if there is no room, or `size` is 0."""
    try:
        for path in _paths(folder):
            if not size:
                path.unlink(missing_ok=True)
            elif not path.exists() or path.stat().st_size != size:
                _make(path, size)
    except OSError:
        _remove(folder)
        return False
    finally:
        sync_folder(folder)
    return bool(size)


def open_segments(folder: Path, sync: bool) -> list[int]:
    """A descriptor for each segment; every write is durable when it returns, if `sync`.

    The page cache is passed by where the file system lets us: a write then never waits for what
    others have put there.
    """
    return [_open(path, os.O_DSYNC if sync else 0) for path in _paths(folder)]


def _map(path: Path) -> mmap.mmap:
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _open(path: Path, durable: int) -> int:
    flags = os.O_RDWR | os.O_CLOEXEC | durable
    if durable and hasattr(os, "O_DIRECT"):
        with suppress(OSError):
            return _tried(os.open(path, flags | os.O_DIRECT))
    return os.open(path, flags)


def _tried(descriptor: int) -> int:
    """The descriptor, if a page can be read through it: some file systems refuse only then."""
    try:
        os.preadv(descriptor, [mmap.mmap(-1, PAGE)], 0)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _paths(folder: Path) -> list[Path]:
    return [folder / f"wal-{number}" for number in range(WAL_SEGMENTS)]


def _make(path: Path, size: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        zeros = bytes(1024**2)
        for offset in range(0, size, len(zeros)):
            wanted = zeros[: size - offset]
            if os.pwrite(descriptor, wanted, offset) < len(wanted):  # the disk is full just here
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(folder: Path) -> None:
    for path in _paths(folder):
        path.unlink(missing_ok=True)
