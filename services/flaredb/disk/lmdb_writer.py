"""The process that owns the only write transaction: batches in, commits when it is told to.

It is a process and not a thread because py-lmdb gives up the interpreter's lock around every put,
and a busy loop takes a switch interval to give it back: a turn of 64 puts took ten times as long.

A commit that fails for any reason but a full map is never tried again: after a failed `fdatasync`
the kernel calls the lost pages clean, and the next commit would succeed on top of a hole
(PostgreSQL wiki, "Fsync Errors"). So the process says why and ends.
"""

import os
import sys
from pathlib import Path
from typing import Final, assert_never

import lmdb
import lmdb.verify
import msgspec

from flaredb.disk.child_messages import (
    Close,
    Commit,
    Committed,
    Failed,
    Opened,
    OpenFolder,
    Refused,
    SaveBatch,
    WriterOrder,
)
from flaredb.disk.disk import Change, DeleteRange, Deletes, DiskError, DiskInUseError, Puts
from flaredb.disk.folder import (
    ROWS,
    lock_folder,
    machine_failed,
    mark_in_use,
    mark_left_in_order,
    sync_folder,
)
from flaredb.disk.layout import FORMAT, FORMAT_KEY, WAL_KEY
from flaredb.disk.lmdb_environment import damaged, open_environment
from flaredb.disk.parent_link import ParentLink
from flaredb.disk.wal_files import make_segments, read_segments
from flaredb.disk.wal_mark import NO_LOG, Mark, decode_mark, encode_mark
from flaredb.disk.wal_records import WalDamaged, WalRun, to_replay

MAX_VERIFIED_BYTES: Final = 2 * 1024**3
"""Larger files are not walked after a power cut: about 4 s per GiB. Records carry seals anyway."""

_LARGEST_MAP: Final = 1 << 46
_FULL_BYTES: Final = 16 * 1024**2
"""A disk with less than this is called full when a commit fails."""


def main() -> None:
    """Serve one store until it closes the link, or a batch fails."""
    link = ParentLink()
    order = link.receive(msgspec.msgpack.Decoder(OpenFolder))
    if order is None:
        return
    try:
        environment = open_rows(order)
        has_wal = _begin_run(environment, order)
    except DiskError as error:
        link.send(Refused(str(error), in_use=isinstance(error, DiskInUseError)))
        return
    except OSError as error:
        reason = f"cannot open the data folder {order.folder}: {error.strerror}"
        link.send(Refused(f"{reason}. Free some space, or look at the disk.", in_use=False))
        return
    link.send(Opened(has_wal))
    if not Commits(link, environment, WalRun(order.run) if has_wal else NO_LOG).serve():
        sys.exit(1)
    environment.close()
    mark_left_in_order(Path(order.folder))


def open_rows(order: OpenFolder) -> lmdb.Environment:
    """The rows, with all that the write-ahead log holds beyond them."""
    folder = Path(order.folder)
    lock_folder(folder, order.lock, order.lock_wait)
    if machine_failed(folder):
        _verify(folder)
    mark_in_use(folder)
    environment = open_environment(folder, map_size=order.map_size, write=True, sync=order.sync)
    try:
        environment.reader_check()
        _check_format(environment, folder)
        _replay(environment, folder)
    except (lmdb.Error, OSError) as error:
        raise DiskError(damaged(folder, str(error))) from error
    sync_folder(folder)
    return environment


def _verify(folder: Path) -> None:
    """Walk the file of rows after the machine went down; raises `DiskError` if it is broken."""
    rows = folder / ROWS
    if not rows.exists() or rows.stat().st_size > MAX_VERIFIED_BYTES:
        return
    try:
        problems: list[str] = lmdb.verify.verify(str(rows))  # type: ignore[no-untyped-call]
    except lmdb.verify.VerifyError as error:
        problems = [str(error)]
    if problems:
        raise DiskError(damaged(folder, f"{problems[0]} ({len(problems)} faults after a crash)"))


def _check_format(environment: lmdb.Environment, folder: Path) -> None:
    """A new file gets this layout's version, and one before it too; a later one is refused."""
    with environment.begin(write=True) as transaction:
        found = transaction.get(FORMAT_KEY)
        if found in (None, b"1"):
            transaction.put(FORMAT_KEY, b"%d" % FORMAT)
        elif found != b"%d" % FORMAT:
            raise DiskError(
                f"{folder} has layout {found.decode(errors='replace')}, and this version of "
                f"FlareDB reads layout {FORMAT}. Start the version that wrote it."
            )


def _replay(environment: lmdb.Environment, folder: Path) -> None:
    """Commit what the last run saved and had not committed; raises `DiskError` if it is lost.

    From here on the rows stand without a log, so its files may be made anew.
    """
    with environment.begin() as transaction:
        record = transaction.get(WAL_KEY)
    if record is None:
        return
    try:
        mark = decode_mark(record)
    except DiskError as error:
        raise DiskError(damaged(folder, str(error))) from error
    if mark.run == NO_LOG:
        return
    segments = read_segments(folder)
    if not segments:
        raise DiskError(damaged(folder, "its write-ahead log is gone"))
    found = to_replay(segments, mark.run, mark.number)
    if isinstance(found, WalDamaged):
        raise DiskError(damaged(folder, f"batch {found.number} of the write-ahead log is damaged"))
    decoder = msgspec.msgpack.Decoder(SaveBatch)
    changes = [change for body in found for change in decoder.decode(body).changes]
    _save_at_start(environment, changes, NO_LOG)


def _begin_run(environment: lmdb.Environment, order: OpenFolder) -> bool:
    """Begin this run's write-ahead log; whether there is the room for one."""
    has_wal = make_segments(Path(order.folder), order.wal_bytes)
    _save_at_start(environment, [], WalRun(order.run) if has_wal else NO_LOG)
    return has_wal


def _save_at_start(environment: lmdb.Environment, changes: list[Change], run: WalRun) -> None:
    """Commit `changes`; a run's first batch follows. Raises `DiskError` if there is no room."""
    try:
        _save(environment, changes, run, 0)
    except (lmdb.Error, OSError) as error:
        raise DiskError(_explain(environment, "the last run's log", error)) from error


class Commits:
    """What came from the store and is not committed yet.

    Invariant: batches are committed in their order, each with all that came before it.
    """

    def __init__(self, link: ParentLink, environment: lmdb.Environment, run: WalRun) -> None:
        self._link: Final = link
        self._environment: Final = environment
        self._run = run
        self._changes: list[Change] = []
        self._number = 0

    def serve(self) -> bool:
        """Do what the store says; whether it stopped in order, with all committed."""
        decoder: msgspec.msgpack.Decoder[WriterOrder] = msgspec.msgpack.Decoder(WriterOrder)
        while (order := self._link.receive(decoder)) is not None:
            match order:
                case SaveBatch():
                    self._changes.extend(order.changes)
                    self._number = order.number
                case Commit(number):
                    assert number == self._number, "all that came is committed"
                    if not self._commit():
                        return False
                    self._link.send(Committed(number))
                case Close():
                    self._run = NO_LOG
                    return self._commit()
                case _:
                    assert_never(order)
        return False

    def _commit(self) -> bool:
        """Commit what came, and how far that is, even if nothing is changed by it."""
        try:
            _save(self._environment, self._changes, self._run, self._number)
        except (lmdb.Error, OSError) as error:
            self._link.send(Failed(_explain(self._environment, f"batch {self._number}", error)))
            return False
        self._changes = []
        return True


def _explain(environment: lmdb.Environment, what: str, error: Exception) -> str:
    """Why a commit failed, and what to do. A full disk may look like an input/output error."""
    disk = os.statvfs(environment.path())
    free = disk.f_bavail * disk.f_frsize
    if free < _FULL_BYTES:
        cure = f"there are {free} bytes left: free some space"
    else:
        cure = "look at the disk (dmesg)"
    return f"{what} could not be saved: {error}; {cure}, then start the store again"


def _save(environment: lmdb.Environment, changes: list[Change], run: WalRun, number: int) -> None:
    """Commit `changes`. A full map leaves all as it was, so it is enlarged and tried again."""
    while True:
        try:
            with environment.begin(write=True) as transaction:
                _apply(transaction, changes)
                transaction.put(WAL_KEY, encode_mark(Mark(run, number)))
            return
        except lmdb.MapFullError:
            size = environment.info()["map_size"] * 2
            if size > _LARGEST_MAP:
                raise
            environment.set_mapsize(size)


def _apply(transaction: "lmdb.Transaction[bytes]", changes: list[Change]) -> None:
    """Make the changes, in their order; of several to one row only the last is written."""
    rows: dict[bytes, bytes | None] = {}
    for change in changes:
        match change:
            case Puts(pairs):
                values = iter(pairs)
                rows.update(zip(values, values, strict=True))
            case Deletes(keys):
                rows.update(dict.fromkeys(keys))
            case DeleteRange(start, end):
                _write(transaction, rows)
                rows.clear()
                _delete_range(transaction, start, end)
            case _:
                assert_never(change)
    _write(transaction, rows)


def _write(transaction: "lmdb.Transaction[bytes]", rows: dict[bytes, bytes | None]) -> None:
    put, delete = transaction.put, transaction.delete
    for key, value in rows.items():
        if value is None:
            delete(key)
        else:
            put(key, value)


def _delete_range(transaction: "lmdb.Transaction[bytes]", start: bytes, end: bytes) -> None:
    with transaction.cursor() as cursor:
        found = cursor.set_range(start)
        while found and cursor.key() < end:
            found = cursor.delete() and cursor.key() != b""
