"""A store's data folder: what lies where, who has it, and whether it was left in order.

data.mdb, lock.mdb   LMDB's rows and its table of readers
wal-0, wal-1         the write-ahead log: batches that are saved and may not be among the rows yet
writer.lock          locked by the process that writes, which leaves its name in it
in-use               there while a store runs; says in which run of the machine it was opened
snapshots/           files of rows on their way between stores
"""

import errno
import fcntl
import os
import socket
import time
from pathlib import Path
from typing import Final

from flaredb.disk.disk import DiskError, DiskInUseError

SNAPSHOTS: Final = "snapshots"
ROWS: Final = "data.mdb"
_LOCK: Final = "writer.lock"
_IN_USE: Final = "in-use"
_OURS: Final = {ROWS, "lock.mdb", "wal-0", "wal-1", _LOCK, _IN_USE, SNAPSHOTS, "lost+found"}
"""What may lie in a store's folder; a file system of its own brings the last one along."""
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_RETRY_SECONDS: Final = 0.02


def prepare_folder(folder: Path) -> None:
    """Make the folder and what belongs in it, for its owner alone; raises `DiskError`."""
    try:
        _refuse_what_is_not_ours(folder)
        _make_parents(folder)
        for path in (folder, folder / SNAPSHOTS):
            _make(path, mode=0o700)
    except OSError as error:
        raise DiskError(
            f"cannot make the data folder {folder}: {error.strerror}. "
            "Give the store a folder that it may write to (FLAREDB_DATA)."
        ) from error


def _refuse_what_is_not_ours(folder: Path) -> None:
    """A folder that holds something, and no store, was named by mistake."""
    names = sorted(os.listdir(folder)) if folder.is_dir() else []
    strange = [name for name in names if name not in _OURS and not name.startswith(".")]
    if strange and ROWS not in names:
        raise DiskError(
            f"the data folder {folder} is no store's: {strange[0]} is in it. "
            "Give the store an empty folder, or the one that it had (FLAREDB_DATA)."
        )


def _make_parents(folder: Path) -> None:
    """Make what is missing above `folder`, from the top down: rows are no safer than its name."""
    for parent in reversed(folder.absolute().parents):
        _make(parent, mode=0o777)


def _make(path: Path, mode: int) -> None:
    """Make the folder `path`, durably, unless it is there; `mode` is before the umask."""
    if not path.is_dir():
        path.mkdir(mode, exist_ok=True)
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def open_lock(folder: Path) -> int:
    """A descriptor for `lock_folder`. Who inherits it shares the possession."""
    return os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)


def lock_folder(folder: Path, descriptor: int, wait: float) -> None:
    """Take sole possession of the folder, until every process that has `descriptor` has ended.

    Waits at most `wait` seconds for a predecessor that is about to end; then `DiskInUseError`.
    """
    deadline = time.monotonic() + wait
    while not _try_lock(descriptor):
        if time.monotonic() >= deadline:
            holder = os.pread(descriptor, 200, 0).decode(errors="replace").strip()
            raise DiskInUseError(
                f"the data folder {folder} is in use by {holder or 'another process'}. "
                "Stop that store first, or give this one a folder of its own (FLAREDB_DATA)."
            )
        time.sleep(_RETRY_SECONDS)
    os.ftruncate(descriptor, 0)
    name = f"process {os.getpid()} on {socket.gethostname()} (the writer of store {os.getppid()})"
    os.pwrite(descriptor, name.encode(), 0)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
            raise
        return False
    return True


def machine_failed(folder: Path) -> bool:
    """Whether the machine went down while a store had this folder.

    Where only a process died, the kernel still wrote what it had been given, so the file of rows
    is as sound as after an orderly stop.
    """
    try:
        opened_in = (folder / _IN_USE).read_text()
    except FileNotFoundError:
        return False
    return opened_in != _boot_id()


def mark_in_use(folder: Path) -> None:
    """Note durably that a store has this folder open in this run of the machine."""
    descriptor = os.open(folder / _IN_USE, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(descriptor, _boot_id().encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    sync_folder(folder)


def mark_left_in_order(folder: Path) -> None:
    """Take the note away again; the last thing that an orderly stop does."""
    (folder / _IN_USE).unlink(missing_ok=True)


def _boot_id() -> str:
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return "unknown"
