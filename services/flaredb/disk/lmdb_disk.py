"""The disk port on LMDB: a writer process, job processes, and reads in the loop's own process.

The loop encodes one turn into one frame and hands it to the writer, which commits it with a full
sync and answers once. Reads go through an environment of this process that can only read.
"""

import os
from pathlib import Path
from typing import Final

import lmdb

from flaredb.disk.child_messages import OpenFolder
from flaredb.disk.disk import Batch, Job, OnFailed, OnJob, OnSaved, Usage
from flaredb.disk.folder import SNAPSHOTS
from flaredb.disk.folder_files import FolderFiles
from flaredb.disk.job_pool import JobPool
from flaredb.disk.lmdb_environment import MAP_BYTES, LmdbView, open_environment
from flaredb.disk.writer_process import WriterProcess

DEFAULT_LOCK_WAIT: Final = 5.0


class LmdbDisk:
    """One store's disk on LMDB. Open it with `open`, from the loop that will use it.

    Invariant: `view` moves only when it is renewed. A writer process that is gone means a dead
    disk: `on_failed` has been called, and nothing is acknowledged any more.
    """

    def __init__(
        self, folder: Path, quota: int, writer: WriterProcess, environment: lmdb.Environment
    ) -> None:
        self._folder: Final = folder
        self._quota: Final = quota
        self._writer: Final = writer
        self._environment: Final = environment
        self._view: Final = LmdbView(environment, folder)
        self._files: Final = FolderFiles(folder / SNAPSHOTS)
        self._jobs: JobPool | None = None

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
        dangerously_without_sync: bool = False,
    ) -> "LmdbDisk":
        """Take sole possession of `folder`, making it if need be.

        Waits `lock_wait` seconds for a dying predecessor's writer, then raises `DiskInUseError`;
        raises `DiskError` for a folder that cannot be used. The children die with the thread that
        calls this. `dangerously_without_sync` acknowledges what a power cut will take away: it
        exists so that the test of power cuts can show that it would notice.
        """
        order = OpenFolder(str(folder), map_size, lock_wait, not dangerously_without_sync)
        writer = WriterProcess(on_saved, on_failed)
        await writer.open(order)
        try:
            environment = open_environment(folder, map_size=map_size, write=False)
        except BaseException:
            await writer.close()
            raise
        disk = cls(folder, quota, writer, environment)
        disk._jobs = JobPool(order, on_job, disk._forget_dead_readers)
        return disk

    @property
    def view(self) -> LmdbView:
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
        return self._writer.under_way

    def renew(self) -> None:
        self._view.renew()

    def submit(self, number: int, batch: Batch) -> None:
        self._writer.submit(number, batch)

    def start(self, job: Job) -> None:
        assert self._jobs is not None, "the disk is open"
        self._jobs.start(job)

    def usage(self) -> Usage:
        pages = self._environment.stat()
        used = pages["psize"] * (
            pages["branch_pages"] + pages["leaf_pages"] + pages["overflow_pages"]
        )
        rest = os.statvfs(self._folder)
        return Usage(used=used, quota=self._quota, free=rest.f_bavail * rest.f_frsize)

    async def close(self) -> None:
        """Save and acknowledge what is under way, give up all jobs, leave the folder in order."""
        if self._jobs is not None:
            await self._jobs.close()
        await self._writer.close()
        self._view.close()
        self._environment.close()

    def _forget_dead_readers(self) -> None:
        """Free the slots of killed job processes, which hold pages that LMDB could use again."""
        self._environment.reader_check()
