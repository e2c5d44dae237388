"""The disk port on LMDB: a write-ahead log, a writer process, job processes, and reads right here.

A batch is saved when its record is in the log, which takes one write. The writer commits many at a
time. Until then they are kept in memory, laid over the rows that are read through an environment of
this process which can only read.
"""

import asyncio
import os
import secrets
from collections import deque
from pathlib import Path
from typing import Final

import lmdb

from flaredb.disk.batch_line import BatchLine
from flaredb.disk.child_messages import OpenFolder
from flaredb.disk.committer import Committer
from flaredb.disk.disk import Batch, Change, Job, OnFailed, OnJob, OnSaved, Usage, VerifyFile
from flaredb.disk.folder import SNAPSHOTS, open_lock, prepare_folder
from flaredb.disk.folder_files import FolderFiles
from flaredb.disk.job_pool import JobPool
from flaredb.disk.layout import WAL_KEY
from flaredb.disk.lmdb_environment import MAP_BYTES, LmdbView, open_environment
from flaredb.disk.pending import PendingView
from flaredb.disk.wal_files import WAL_SEGMENT_BYTES, open_segments
from flaredb.disk.wal_kernel import start_wal
from flaredb.disk.wal_mark import decode_mark
from flaredb.disk.wal_records import WalRun
from flaredb.disk.wal_space import WalSpace
from flaredb.disk.writer_process import WriterProcess

DEFAULT_LOCK_WAIT: Final = 5.0


class LmdbDisk:
    """One store's disk on LMDB. Open it with `open`, from the loop that will use it.

    Invariant: `view` moves only when it is renewed. A writer process that is gone, or a record that
    could not be written, means a dead disk: `on_failed` has been called, once, and nothing is
    acknowledged any more.
    """

    def __init__(
        self,
        order: OpenFolder,
        quota: int,
        writer: WriterProcess,
        environment: lmdb.Environment,
        segments: list[int],
        on_saved: OnSaved,
        on_failed: OnFailed,
        on_job: OnJob,
    ) -> None:
        """`segments` are the descriptors of the write-ahead log, none where there is none."""
        self._folder: Final = Path(order.folder)
        self._lock: Final = order.lock
        self._quota: Final = quota
        self._on_saved, self._on_failed = on_saved, on_failed
        self._writer: Final = writer
        self._environment: Final = environment
        self._rows: Final = LmdbView(environment, self._folder)
        self._view: Final = PendingView(self._rows)
        self._committer: Final = Committer(writer, self._view.seal, self._committed)
        self._wal: Final = start_wal(segments, WalRun(order.run), self._written, self._failed)
        space = WalSpace(len(segments), order.wal_bytes)
        self._line: Final = BatchLine(self._wal, space, self._committer, self._saved)
        self._files: Final = FolderFiles(self._folder / SNAPSHOTS)
        self._jobs: Final = JobPool(order, on_job, self._forget_dead_readers)
        self._jobs_waiting: Final[deque[tuple[int, Job]]] = deque()
        self._quiet: Final = asyncio.Event()
        self._is_closed = False
        writer.listen(self._committer.answered, self._failed)

    @classmethod
    async def open(
        cls,
        folder: Path,
        *,
        quota: int,
        on_saved: OnSaved,
        on_failed: OnFailed,
        on_job: OnJob,
        map_size: int = MAP_BYTES,
        lock_wait: float = DEFAULT_LOCK_WAIT,
        wal_bytes: int = WAL_SEGMENT_BYTES,
        dangerously_without_sync: bool = False,
    ) -> "LmdbDisk":
        """Take sole possession of `folder`, making it if need be.

        Waits `lock_wait` seconds for a dying predecessor, then raises `DiskInUseError`; raises
        `DiskError` for a folder that cannot be used. The children die with the thread that calls
        this. Without `wal_bytes`, or without the room for them, there is no write-ahead log and
        each batch is committed by itself. `dangerously_without_sync` acknowledges what a power cut
        will take away: it exists so that the test of power cuts can show that it would notice.
        """
        prepare_folder(folder)
        order = OpenFolder(
            folder=str(folder),
            map_size=map_size,
            lock_wait=lock_wait,
            sync=not dangerously_without_sync,
            run=secrets.randbits(64) | 1,
            wal_bytes=wal_bytes,
            lock=open_lock(folder),
        )
        writer = WriterProcess()
        try:
            has_wal = await writer.open(order)
            environment = open_environment(folder, map_size=map_size, write=False)
            segments = open_segments(folder, order.sync) if has_wal else []
        except BaseException:
            await writer.close()
            os.close(order.lock)
            raise
        return cls(order, quota, writer, environment, segments, on_saved, on_failed, on_job)

    @property
    def view(self) -> PendingView:
        return self._view

    @property
    def files(self) -> FolderFiles:
        return self._files

    @property
    def writer_pid(self) -> int:
        """The writer's process id, for those who watch or test it."""
        return self._writer.pid

    @property
    def under_way(self) -> int:
        """How many batches are not acknowledged yet."""
        return self._line.under_way

    def renew(self) -> None:
        self._rows.renew()
        # Not what the writer has told: it may have committed more, of which this tells nothing yet.
        self._view.show(self._committed_number())

    def submit(self, number: int, batch: Batch) -> None:
        self._line.submit(number, batch)

    def start(self, job: Job) -> None:
        if isinstance(job, VerifyFile) or self._committer.taken == self._committer.committed:
            self._jobs.start(job)
        else:
            self._jobs_waiting.append((self._committer.taken, job))
            self._committer.commit()

    def usage(self) -> Usage:
        pages = self._environment.stat()
        committed = pages["psize"] * (
            pages["branch_pages"] + pages["leaf_pages"] + pages["overflow_pages"]
        )
        whole = pages["psize"] * (self._environment.info()["last_pgno"] + 1)
        rest = os.statvfs(self._folder)
        return Usage(
            used=committed + self._committer.bytes,
            quota=self._quota,
            free=rest.f_bavail * rest.f_frsize,
            reusable=max(0, whole - committed),
        )

    async def close(self) -> None:
        """Save and acknowledge what is under way, give up all jobs, leave the folder in order."""
        if self._is_closed:
            return
        self._is_closed = True
        await self._jobs.close()
        await self._drain()
        self._committer.stop()
        await self._wal.close()
        await self._writer.close()
        self._rows.close()
        self._environment.close()
        os.close(self._lock)

    async def _drain(self) -> None:
        """Return when nothing is under way any more, or never will be acknowledged."""
        while self._line.under_way and not self._line.dead:
            self._quiet.clear()
            await self._quiet.wait()

    def _written(self, number: int) -> None:
        self._line.written(number)

    def _saved(self, number: int, own_number: int, changes: list[Change]) -> None:
        self._view.add(own_number, changes)
        self._quiet.set()
        self._on_saved(number)

    def _committed(self, number: int) -> None:
        self._line.committed(number)
        while self._jobs_waiting and self._jobs_waiting[0][0] <= number:
            self._jobs.start(self._jobs_waiting.popleft()[1])

    def _failed(self, reason: str) -> None:
        if not self._line.dead:
            self._line.dead = True
            self._committer.stop()
            self._quiet.set()
            self._on_failed(reason)

    def _committed_number(self) -> int:
        """The last batch that the rows in view hold."""
        record = self._rows.get(WAL_KEY)
        assert record is not None, "the writer has put a mark among the rows before it was ready"
        return decode_mark(record).number

    def _forget_dead_readers(self) -> None:
        """Free the slots of killed job processes, which hold pages that LMDB could use again."""
        self._environment.reader_check()
