"""The disk port in memory, which loses in a crash exactly what was not saved.

Nothing happens by itself: whoever drives it (the simulator, a test) decides when the oldest batch
becomes durable, when a job ends, when saving fails and when the process crashes, and what of the
work under way a crash leaves behind.
"""

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Final, assert_never

import msgspec

from flaredb.disk.disk import (
    MAX_BATCHES_UNDER_WAY,
    Batch,
    Copied,
    CopyRows,
    DeleteRange,
    Deletes,
    Hashed,
    HashRows,
    Job,
    JobFailed,
    JobResult,
    OnFailed,
    OnJob,
    OnSaved,
    Puts,
    Usage,
    VerifyFile,
    Weighed,
    WeighRows,
)
from flaredb.disk.memory_files import MemoryFiles
from flaredb.disk.row_files import BlockWriter, DamagedRowError, checked_rows, digest_of
from flaredb.disk.row_scale import RowScale
from flaredb.runtime.clock import Jitter

DEFAULT_QUOTA: Final = 1 << 30


class SortedRows:
    """Rows in key order: a dictionary beside a sorted list of its keys.

    Invariant: `keys` holds the keys of `values`, each once, in order. `version` rises with each
    change, so that an iterator that outlives the rows it was made for is found out.
    """

    __slots__ = ("keys", "size", "values", "version")

    def __init__(self) -> None:
        self.keys: list[bytes] = []
        self.values: dict[bytes, bytes] = {}
        self.size = 0
        self.version = 0

    def apply(self, batch: Batch) -> None:
        """Make the changes of `batch`, in their order."""
        self.version += 1
        for change in batch.changes:
            match change:
                case Puts(rows):
                    for position in range(0, len(rows), 2):
                        self._put(rows[position], rows[position + 1])
                case Deletes(keys):
                    for key in keys:
                        self._delete(key)
                case DeleteRange(start, end):
                    self._delete_range(start, end)
                case _:
                    assert_never(change)
        assert len(self.keys) == len(self.values), "the list of keys is not the dictionary's"

    def _put(self, key: bytes, value: bytes) -> None:
        before = self.values.get(key)
        if before is None:
            if not self.keys or key > self.keys[-1]:
                self.keys.append(key)
            else:
                insort(self.keys, key)
            self.size += len(key)
        else:
            self.size -= len(before)
        self.values[key] = value
        self.size += len(value)

    def _delete(self, key: bytes) -> None:
        value = self.values.pop(key, None)
        if value is not None:
            del self.keys[bisect_left(self.keys, key)]
            self.size -= len(key) + len(value)

    def _delete_range(self, start: bytes, end: bytes) -> None:
        low, high = bisect_left(self.keys, start), bisect_left(self.keys, end)
        for key in self.keys[low:high]:
            self.size -= len(key) + len(self.values.pop(key))
        del self.keys[low:high]

    def get(self, key: bytes) -> bytes | None:
        return self.values.get(key)

    def scan(
        self, start: bytes, end: bytes, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        assert start and end, "a scan has two ends"
        version = self.version
        low, high = bisect_left(self.keys, start), bisect_left(self.keys, end)
        for position in range(high - 1, low - 1, -1) if reverse else range(low, high):
            assert version == self.version, "an iterator outlived its view"
            key = self.keys[position]
            yield key, self.values[key]


class Contents(msgspec.Struct):
    """What is on a disk while no process has it. Tests may copy it, and damage it."""

    rows: SortedRows
    files: MemoryFiles

    @classmethod
    def empty(cls) -> "Contents":
        """A new disk."""
        return cls(SortedRows(), MemoryFiles())


class MemoryDisk:
    """One store's disk in memory; `contents` is what an earlier process left.

    Invariants: batches become durable in the order of their numbers, at most two are under way,
    and after a failure or a crash nothing is acknowledged any more. `view` is a prefix of the
    saved batches, and moves only when it is renewed.
    """

    def __init__(
        self,
        on_saved: OnSaved,
        on_failed: OnFailed,
        on_job: OnJob,
        contents: Contents | None = None,
        quota: int = DEFAULT_QUOTA,
    ) -> None:
        self._contents: Final = contents or Contents.empty()
        self._quota: Final = quota
        self._on_saved, self._on_failed, self._on_job = on_saved, on_failed, on_job
        self._under_way: deque[tuple[int, Batch]] = deque()
        self._saved_unseen: list[Batch] = []
        self._jobs: deque[tuple[Job, JobResult | None]] = deque()
        self._last_number: int | None = None
        self._fail_next: str | None = None
        self._dead = False
        self.free: int | None = None
        """What the file system has left, if whoever drives this disk says so; else the quota."""

    @property
    def view(self) -> SortedRows:
        return self._contents.rows

    @property
    def files(self) -> MemoryFiles:
        return self._contents.files

    def renew(self) -> None:
        for batch in self._saved_unseen:
            self._contents.rows.apply(batch)
        self._saved_unseen.clear()

    def submit(self, number: int, batch: Batch) -> None:
        assert self._last_number is None or number == self._last_number + 1, "numbers rise by one"
        self._last_number = number
        if self._dead:
            return
        self._under_way.append((number, batch))
        assert len(self._under_way) <= MAX_BATCHES_UNDER_WAY, "too many batches under way"

    def start(self, job: Job) -> None:
        if not self._dead:
            self._jobs.append((job, None))

    def usage(self) -> Usage:
        used = self._contents.rows.size
        free = max(0, self._quota - used) if self.free is None else self.free
        return Usage(used=used, quota=self._quota, free=free)

    # What the driver decides.

    @property
    def under_way(self) -> int:
        """How many batches wait to become durable."""
        return len(self._under_way)

    @property
    def jobs_under_way(self) -> int:
        """How many jobs have not ended."""
        return len(self._jobs)

    @property
    def dead(self) -> bool:
        """Whether this disk has failed, or its process has crashed."""
        return self._dead

    def finish_next(self) -> None:
        """The oldest batch under way becomes durable, or fails if `fail_next` was called."""
        assert not self._dead and self._under_way, "no batch is under way"
        if self._fail_next is not None:
            self._dead = True
            self._jobs.clear()
            self._on_failed(self._fail_next)
            return
        number, batch = self._under_way.popleft()
        self._saved_unseen.append(batch)
        self._on_saved(number)

    def fail_next(self, reason: str) -> None:
        """Let the next `finish_next` fail. Whether that batch survives, `crash` decides."""
        self._fail_next = reason

    def begin_job(self) -> None:
        """The oldest job takes its view now; else it does so when it ends."""
        job, result = self._jobs[0]
        assert not self._dead and result is None, "the job has begun"
        self._jobs[0] = job, self._do(job)

    def finish_job(self) -> None:
        """The oldest job ends, with its result."""
        if self._jobs[0][1] is None:
            self.begin_job()
        job, result = self._jobs.popleft()
        assert result is not None, "a job that has begun has its result"
        if isinstance(result, Copied) and isinstance(job, CopyRows):
            self.files.make_durable(job.name)
        self._on_job(job.number, result)

    def expire_job(self) -> None:
        """The oldest job runs out of time; what it had written is gone."""
        assert not self._dead, "a dead disk does nothing"
        job, result = self._jobs.popleft()
        if isinstance(job, CopyRows) and isinstance(result, Copied):
            self.files.delete(job.name)
        self._on_job(job.number, JobFailed("time ran out", expired=True))

    def kill_job(self) -> None:
        """The process of the oldest job, which has begun, is killed: what it has written stays."""
        job, result = self._jobs.popleft()
        assert not self._dead and result is not None, "a job that has begun has a process"
        self._on_job(job.number, JobFailed("the job's process ended by signal 9"))

    def crash(self, kept: int = 0, jitter: Jitter | None = None) -> Contents:
        """The process ends here; what the next one finds comes back.

        The first `kept` batches under way survive, as they may when the power goes between commit
        and acknowledgement. `jitter` draws what is left of each file that was not durable, and
        which deletions of files come undone; without it nothing is left of the former, and none
        of the latter.
        """
        assert kept <= len(self._under_way), "more batches kept than under way"
        self._dead = True
        self.renew()
        for _ in range(kept):
            self._contents.rows.apply(self._under_way.popleft()[1])
        self._contents.files.crash(jitter)
        self._under_way.clear()
        self._jobs.clear()
        return self._contents

    def _do(self, job: Job) -> JobResult:
        try:
            match job:
                case CopyRows():
                    return self._copy(job)
                case HashRows():
                    return self._hash(job)
                case WeighRows():
                    return self._weigh(job)
                case VerifyFile(name=name, size=size):
                    return self.files.verify(name, size)
                case _:
                    assert_never(job)
        except DamagedRowError as error:
            return JobFailed(str(error), damaged=True)

    def _saved(self) -> SortedRows:
        """All that is saved, whether `view` shows it yet or not."""
        if not self._saved_unseen:
            return self._contents.rows
        newest = SortedRows()
        newest.keys = list(self._contents.rows.keys)
        newest.values = dict(self._contents.rows.values)
        newest.size = self._contents.rows.size
        for batch in self._saved_unseen:
            newest.apply(batch)
        return newest

    def _copy(self, job: CopyRows) -> Copied | JobFailed:
        saved, writer = self._saved(), BlockWriter()
        data = b"".join(writer.blocks(_rows(saved, job.ranges)))
        if not self.files.create(job.name):
            return JobFailed(f"the file {job.name} exists")
        self.files.write(job.name, 0, data)
        values = tuple(saved.get(key) for key in job.wanted)
        return Copied(values, writer.rows, writer.row_bytes, len(data))

    def _hash(self, job: HashRows) -> Hashed:
        saved = self._saved()
        values = tuple(saved.get(key) for key in job.wanted)
        return Hashed(values, *digest_of(_rows(saved, (keys,)) for keys in job.ranges))

    def _weigh(self, job: WeighRows) -> Weighed:
        saved, scale = self._saved(), RowScale(job.cuts, job.pieces)
        for key, value in saved.scan(job.start, job.end):
            scale.add(key, len(key) + len(value))
        return Weighed(tuple(saved.get(key) for key in job.wanted), *scale.weigh())


def _rows(
    saved: SortedRows, ranges: Iterable[tuple[bytes, bytes]]
) -> Iterator[tuple[bytes, bytes]]:
    for start, end in ranges:
        yield from checked_rows(saved.scan(start, end))
