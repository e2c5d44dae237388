"""Work of the disk beside the turns: who started which job, and who is told of its end."""

from collections.abc import Callable

from flaredb.disk.disk import Disk, Job, JobResult

OnEnd = Callable[[JobResult], None]


class Jobs:
    """The jobs under way.

    Invariant: whoever started a job is told of its end exactly once.
    """

    __slots__ = ("_disk", "_last", "_under_way")

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._last = 0
        self._under_way: dict[int, OnEnd] = {}

    def next_number(self) -> int:
        """A number for a new job."""
        self._last += 1
        return self._last

    def start(self, job: Job, on_end: OnEnd) -> None:
        """Begin `job`, which has a number of `next_number`."""
        self._under_way[job.number] = on_end
        self._disk.start(job)

    def ended(self, number: int, result: JobResult) -> None:
        """The disk says that a job has ended."""
        self._under_way.pop(number)(result)
