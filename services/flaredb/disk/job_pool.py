"""Jobs beside the turns: at most two at a time, each in a child process that is kept for the next.

A job ends in exactly one result: the child's, or a failure when the child died or went far past
the job's time.
"""

import asyncio
from collections.abc import Callable
from typing import Final

import msgspec

from flaredb.disk.child_messages import JobAnswer, OpenFolder
from flaredb.disk.child_process import ChildProcess
from flaredb.disk.disk import DiskError, Job, JobFailed, JobResult, OnJob, VerifyFile

MAX_JOB_PROCESSES: Final = 2
GRACE_SECONDS: Final = 10.0
"""A child this far past its job's time is stuck, and holds pages that LMDB needs: it is killed."""

_MODULE: Final = "flaredb.disk.lmdb_jobs"


class JobProcess:
    """One child process, from its first job to its end.

    Invariant: at most one job at a time, and none once `ended`.
    """

    def __init__(self, on_end: Callable[[], None]) -> None:
        self._on_end: Final = on_end
        self._decoder: Final[msgspec.msgpack.Decoder[JobAnswer]] = msgspec.msgpack.Decoder(
            JobAnswer
        )
        self._child: ChildProcess | None = None
        self._answer: asyncio.Future[JobResult] | None = None
        self.ended = False

    async def start(self, order: OpenFolder) -> None:
        """Start the child; it opens the folder before its first job."""
        self._child = await ChildProcess.start(_MODULE, self._answered, self._child_ended)
        self._child.send(order)

    async def do(self, job: Job) -> JobResult:
        """The job's result, whatever happens to the child."""
        assert self._child is not None and self._answer is None, "one job at a time"
        if self.ended:
            return JobFailed("the job's process ended before the job")
        self._answer = asyncio.get_running_loop().create_future()
        self._child.send(job)
        try:
            seconds = None if isinstance(job, VerifyFile) else job.seconds + GRACE_SECONDS
            async with asyncio.timeout(seconds):
                return await self._answer
        except TimeoutError:
            self._child.kill()
            self.ended = True
            return JobFailed("time ran out, and the job's process is stuck", expired=True)
        finally:
            self._answer = None

    async def close(self) -> None:
        """End the child, whatever it does."""
        if self._child is not None:
            self._child.kill()
            await self._child.finish()

    def _answered(self, frame: bytes) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(self._decoder.decode(frame))

    def _child_ended(self, how: str) -> None:
        self.ended = True
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(JobFailed(f"the job's process {how}"))
        self._on_end()


class JobPool:
    """Jobs in the order in which they came, spread over the processes.

    Invariants: every job that was started has its result reported exactly once, unless the pool is
    closed first. `_idle` are those of `_processes` that have no job.
    """

    def __init__(self, order: OpenFolder, on_job: OnJob, on_end: Callable[[], None]) -> None:
        self._order: Final = order
        self._on_job, self._on_end = on_job, on_end
        self._queue: Final[asyncio.Queue[Job]] = asyncio.Queue()
        self._processes: Final[set[JobProcess]] = set()
        self._idle: Final[list[JobProcess]] = []
        self._workers: Final = [asyncio.create_task(self._work()) for _ in range(MAX_JOB_PROCESSES)]

    def start(self, job: Job) -> None:
        """Begin `job` as soon as a process is free."""
        self._queue.put_nowait(job)

    async def close(self) -> None:
        """Give up all jobs; nothing is reported any more."""
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        for process in list(self._processes):
            await process.close()

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            job = await self._queue.get()
            result = await self._do(job)
            # From the loop, so that what the store's callback raises is not lost in this task.
            loop.call_soon(self._on_job, job.number, result)

    async def _do(self, job: Job) -> JobResult:
        """The job's result; that no process can be had for it is one, too."""
        try:
            process = await self._idle_process()
        except (OSError, DiskError) as error:
            return JobFailed(f"no process for the job: {error}")
        result = await process.do(job)
        self._idle.append(process)
        return result

    async def _idle_process(self) -> JobProcess:
        """A process that lives and has no job: one that was kept, or else a new one."""
        self._processes.difference_update([each for each in self._processes if each.ended])
        while self._idle:
            process = self._idle.pop()
            if not process.ended:
                return process
        process = JobProcess(self._on_end)
        await process.start(self._order)
        self._processes.add(process)
        return process
