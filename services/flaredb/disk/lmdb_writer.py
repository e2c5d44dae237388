"""The process that owns the only write transaction: one batch in, one commit, one answer.

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

from flaredb.disk.child_messages import Failed, Opened, OpenFolder, Refused, SaveBatch, Saved
from flaredb.disk.disk import Change, DeleteRange, Deletes, DiskError, DiskInUseError, Puts
from flaredb.disk.folder import (
    ROWS,
    lock_folder,
    machine_failed,
    mark_in_use,
    mark_left_in_order,
    prepare_folder,
    sync_folder,
)
from flaredb.disk.layout import FORMAT, FORMAT_KEY
from flaredb.disk.lmdb_environment import damaged, open_environment
from flaredb.disk.parent_link import ParentLink

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
        environment = _open(order)
    except DiskError as error:
        link.send(Refused(str(error), in_use=isinstance(error, DiskInUseError)))
        return
    link.send(Opened())
    if not _save_all(link, environment):
        sys.exit(1)
    environment.close()
    mark_left_in_order(Path(order.folder))


def _open(order: OpenFolder) -> lmdb.Environment:
    folder = Path(order.folder)
    prepare_folder(folder)
    lock_folder(folder, order.lock_wait)
    if machine_failed(folder):
        _verify(folder)
    mark_in_use(folder)
    environment = open_environment(folder, map_size=order.map_size, write=True, sync=order.sync)
    try:
        environment.reader_check()
        _check_format(environment, folder)
    except lmdb.Error as error:
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
    """A new file gets this layout's version; a file of another one is refused."""
    with environment.begin(write=True) as transaction:
        found = transaction.get(FORMAT_KEY)
        if found is None:
            transaction.put(FORMAT_KEY, b"%d" % FORMAT)
        elif found != b"%d" % FORMAT:
            raise DiskError(
                f"{folder} has layout {found.decode(errors='replace')}, and this version of "
                f"FlareDB reads layout {FORMAT}. Start the version that wrote it."
            )


def _save_all(link: ParentLink, environment: lmdb.Environment) -> bool:
    """Save what comes until the store closes the link; False if a batch failed."""
    decoder = msgspec.msgpack.Decoder(SaveBatch)
    while (batch := link.receive(decoder)) is not None:
        try:
            _save(environment, batch.changes)
        except (lmdb.Error, OSError) as error:
            link.send(Failed(_explain(environment, batch.number, error)))
            return False
        link.send(Saved(batch.number))
    return True


def _explain(environment: lmdb.Environment, number: int, error: Exception) -> str:
    """Why a batch was lost, and what to do. A full disk may look like an input/output error."""
    disk = os.statvfs(environment.path())
    free = disk.f_bavail * disk.f_frsize
    if free < _FULL_BYTES:
        cure = f"there are {free} bytes left: free some space"
    else:
        cure = "look at the disk (dmesg)"
    return f"batch {number} could not be saved: {error}; {cure}, then start the store again"


def _save(environment: lmdb.Environment, changes: list[Change]) -> None:
    """Commit `changes`. A full map leaves all as it was, so it is enlarged and tried again."""
    while True:
        try:
            with environment.begin(write=True) as transaction:
                for change in changes:
                    _apply(transaction, change)
            return
        except lmdb.MapFullError:
            size = environment.info()["map_size"] * 2
            if size > _LARGEST_MAP:
                raise
            environment.set_mapsize(size)


def _apply(transaction: "lmdb.Transaction[bytes]", change: Change) -> None:
    match change:
        case Puts(rows):
            put = transaction.put
            for position in range(0, len(rows), 2):
                put(rows[position], rows[position + 1])
        case Deletes(keys):
            for key in keys:
                transaction.delete(key)
        case DeleteRange(start, end):
            _delete_range(transaction, start, end)
        case _:
            assert_never(change)


def _delete_range(transaction: "lmdb.Transaction[bytes]", start: bytes, end: bytes) -> None:
    with transaction.cursor() as cursor:
        found = cursor.set_range(start)
        while found and cursor.key() < end:
            found = cursor.delete() and cursor.key() != b""
