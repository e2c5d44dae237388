"""The process for what takes long: copying rows to a file, hashing rows, verifying a file.

One job at a time, each with a read transaction of its own, streamed block by block so that memory
stays small. The process yields to the store and its writer: it runs at a lower priority, and syncs
a long file in parts so that no single sync holds up the writer's.
"""

import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, assert_never

import lmdb
import msgspec

from flaredb.disk.child_messages import JobAnswer, OpenFolder, StartJob
from flaredb.disk.disk import (
    Copied,
    CopyRows,
    DiskError,
    Hashed,
    HashRows,
    JobFailed,
    Verified,
    VerifyFile,
    Weighed,
    WeighRows,
)
from flaredb.disk.folder import SNAPSHOTS, sync_folder
from flaredb.disk.folder_files import opened, read_block_at
from flaredb.disk.lmdb_environment import LmdbView, open_environment
from flaredb.disk.parent_link import ParentLink
from flaredb.disk.row_files import (
    BadBlock,
    BlockWriter,
    DamagedRowError,
    checked_name,
    checked_rows,
    digest_of,
)
from flaredb.disk.row_scale import RowScale

_POLITENESS: Final = 5
_SYNC_BYTES: Final = 8 * 1024**2
_NEW_FILE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL


def main() -> None:
    """Do one store's jobs until it closes the link."""
    link = ParentLink()
    os.nice(_POLITENESS)
    order = link.receive(msgspec.msgpack.Decoder(OpenFolder))
    if order is None:
        return
    jobs = Jobs(Path(order.folder), order.map_size)
    decoder: msgspec.msgpack.Decoder[StartJob] = msgspec.msgpack.Decoder(StartJob)
    while (job := link.receive(decoder)) is not None:
        link.send(jobs.do(job))


class _TimeRanOutError(Exception):
    """The job's view has been held for as long as it may be."""


class Jobs:
    """The jobs on one folder. Invariant: no read transaction outlives its job."""

    def __init__(self, folder: Path, map_size: int) -> None:
        self._folder: Final = folder
        self._files: Final = folder / SNAPSHOTS
        self._environment: Final = open_environment(folder, map_size=map_size, write=False)

    def do(self, job: StartJob) -> JobAnswer:
        """The job's result, whatever happens."""
        try:
            match job:
                case CopyRows():
                    return self._copy(job)
                case HashRows():
                    return self._hash(job)
                case WeighRows():
                    return self._weigh(job)
                case VerifyFile():
                    return self._verify(job)
                case _:
                    assert_never(job)
        except _TimeRanOutError:
            return JobFailed("time ran out", expired=True)
        except (DamagedRowError, DiskError) as error:
            return JobFailed(str(error), damaged=True)
        except (lmdb.Error, OSError) as error:
            return JobFailed(str(error))

    def _copy(self, job: CopyRows) -> Copied:
        path = self._files / checked_name(job.name)
        with opened(path, _NEW_FILE) as descriptor:
            try:
                copied = self._copy_to(descriptor, job)
            except BaseException:
                path.unlink()
                raise
        sync_folder(self._files)
        return copied

    def _copy_to(self, descriptor: int, job: CopyRows) -> Copied:
        deadline = time.monotonic() + job.seconds
        view, writer = LmdbView(self._environment, self._folder), BlockWriter()
        try:
            values = tuple(view.get(key) for key in job.wanted)
            size = _write(descriptor, writer.blocks(_rows(view, job.ranges, deadline)))
        finally:
            view.close()
        os.fsync(descriptor)
        return Copied(values, writer.rows, writer.row_bytes, size)

    def _hash(self, job: HashRows) -> Hashed:
        deadline = time.monotonic() + job.seconds
        view = LmdbView(self._environment, self._folder)
        try:
            values = tuple(view.get(key) for key in job.wanted)
            digest = digest_of(_rows(view, (keys,), deadline) for keys in job.ranges)
        finally:
            view.close()
        return Hashed(values, *digest)

    def _weigh(self, job: WeighRows) -> Weighed:
        deadline = time.monotonic() + job.seconds
        view, scale = LmdbView(self._environment, self._folder), RowScale(job.cuts, job.pieces)
        try:
            values = tuple(view.get(key) for key in job.wanted)
            for key, value in _in_time(view.scan(job.start, job.end), deadline):
                scale.add(key, len(key) + len(value))
        finally:
            view.close()
        return Weighed(values, *scale.weigh())

    def _verify(self, job: VerifyFile) -> Verified | JobFailed:
        with opened(self._files / checked_name(job.name), os.O_RDONLY) as descriptor:
            size = os.fstat(descriptor).st_size
            if size != job.size:
                return JobFailed(f"{size} bytes instead of {job.size}")
            os.fsync(descriptor)
            rows, offset = 0, 0 if size else None
            while offset is not None:
                block = read_block_at(descriptor, offset, size)
                if isinstance(block, BadBlock):
                    return JobFailed(f"at {offset}: {block.reason}")
                rows, offset = rows + len(block.rows), block.next
        sync_folder(self._files)
        return Verified(rows)


def _rows(
    view: LmdbView, ranges: Iterable[tuple[bytes, bytes]], deadline: float
) -> Iterator[tuple[bytes, bytes]]:
    for start, end in ranges:
        yield from _in_time(checked_rows(view.scan(start, end)), deadline)


def _in_time(rows: Iterable[tuple[bytes, bytes]], deadline: float) -> Iterator[tuple[bytes, bytes]]:
    for row in rows:
        if time.monotonic() >= deadline:
            raise _TimeRanOutError
        yield row


def _write(descriptor: int, blocks: Iterable[bytes]) -> int:
    """Write all blocks; how many bytes they are."""
    size = unsynced = 0
    for block in blocks:
        rest = memoryview(block)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        size += len(block)
        unsynced += len(block)
        if unsynced >= _SYNC_BYTES:
            os.fdatasync(descriptor)
            unsynced = 0
    return size
