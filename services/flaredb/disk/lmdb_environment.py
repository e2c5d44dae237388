"""LMDB as every process here opens it, and its rows as the port wants them read.

Everything that bears on durability is said here, once: full sync (data, then the meta page, before
a commit returns), no writable map (a full disk would be a fatal signal instead of an error), the
0.9 file format whatever the environment variables say, and a map so large that it is never full.
The file is sparse, so the map costs nothing but addresses.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import lmdb

from flaredb.disk.disk import DiskError

MAP_BYTES: Final = 64 * 1024**3
MAX_READERS: Final = 64
"""Two for each job process and one for the store would do; slots of the killed need some room."""

_FORMAT_0_9: Final = 0


def open_environment(
    folder: Path, *, map_size: int, write: bool, sync: bool = True
) -> lmdb.Environment:
    """The rows of `folder`; raises `DiskError` if LMDB refuses the file."""
    try:
        return lmdb.open(
            str(folder),
            map_size=map_size,
            subdir=True,
            readonly=not write,
            create=write,
            mode=0o600,
            sync=sync,
            metasync=True,
            map_async=False,
            writemap=False,
            lock=True,
            max_readers=MAX_READERS,
            max_dbs=0,
            max_spare_txns=2,
            lib_version=_FORMAT_0_9,
        )
    except (lmdb.Error, OSError) as error:
        raise DiskError(damaged(folder, str(error))) from error


def damaged(folder: Path, reason: str) -> str:
    """What to say of rows that cannot be used."""
    return (
        f"the rows in {folder} cannot be used: {reason}. Keep the folder for inspection and start "
        "the store with an empty one: it joins as a new store, and PD replaces what the old one "
        "held from the other replicas."
    )


class LmdbView:
    """What was committed when `renew` was last called.

    Invariant: there is always exactly one read transaction, and every cursor belongs to it.
    """

    __slots__ = ("_environment", "_folder", "_transaction")

    def __init__(self, environment: lmdb.Environment, folder: Path) -> None:
        self._environment: Final = environment
        self._folder: Final = folder
        self._transaction = _begin(environment)

    def renew(self) -> None:
        self._transaction.abort()
        self._transaction = _begin(self._environment)

    def close(self) -> None:
        self._transaction.abort()

    def get(self, key: bytes) -> bytes | None:
        try:
            return self._transaction.get(key)
        except lmdb.CorruptedError as error:
            raise DiskError(damaged(self._folder, str(error))) from error

    def scan(
        self, start: bytes, end: bytes, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        assert start and end, "a scan has two ends"
        try:
            with self._transaction.cursor() as cursor:
                yield from (
                    _backward(cursor, start, end) if reverse else _forward(cursor, start, end)
                )
        except lmdb.CorruptedError as error:
            raise DiskError(damaged(self._folder, str(error))) from error


def _begin(environment: lmdb.Environment) -> "lmdb.Transaction[bytes]":
    """A new read transaction, in a larger map if the writer has enlarged it."""
    try:
        return environment.begin()
    except lmdb.MapResizedError:
        environment.set_mapsize(0)
        return environment.begin()


def _forward(
    cursor: "lmdb.Cursor[bytes]", start: bytes, end: bytes
) -> Iterator[tuple[bytes, bytes]]:
    if cursor.set_range(start):
        for key, value in cursor.iternext():
            if key >= end:
                return
            yield key, value


def _backward(
    cursor: "lmdb.Cursor[bytes]", start: bytes, end: bytes
) -> Iterator[tuple[bytes, bytes]]:
    found = cursor.prev() if cursor.set_range(end) else cursor.last()
    if found:
        for key, value in cursor.iterprev():
            if key < start:
                return
            yield key, value
