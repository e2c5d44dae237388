"""What the store asks of a disk: atomic batches in order, and reads of what was committed.

A batch is saved whole or not at all, and batches become durable in the order in which they were
submitted. At most two may be under way. A disk that cannot save reports the failure once and is
dead from then on: nothing after the failure is ever acknowledged.
"""

from collections.abc import Callable, Iterator
from typing import Final, Protocol

from msgspec import Struct

from flaredb.disk.row_scale import Part

MAX_BATCHES_UNDER_WAY: Final = 2

MAX_ROW_KEY_BYTES: Final = 511
"""LMDB's limit; the layout keeps below it."""


class Puts(Struct, frozen=True, array_like=True, gc=False, tag=1):
    """Rows to store: keys and values in turns. Later ones win."""

    rows: list[bytes]


class Deletes(Struct, frozen=True, array_like=True, gc=False, tag=2):
    """Keys to remove; absent ones are fine."""

    keys: list[bytes]


class DeleteRange(Struct, frozen=True, array_like=True, gc=False, tag=3):
    """All keys of `[start, end)` to remove; `end` is never empty."""

    start: bytes
    end: bytes


Change = Puts | Deletes | DeleteRange


class Batch:
    """What one turn wants saved: changes in the order in which they were made.

    Invariant: neighbouring puts and neighbouring deletes are one change each.
    """

    __slots__ = ("changes", "size")

    def __init__(self) -> None:
        self.changes: list[Change] = []
        self.size = 0

    def put(self, key: bytes, value: bytes) -> None:
        """Store `value` under `key` (1 to 511 bytes)."""
        assert 0 < len(key) <= MAX_ROW_KEY_BYTES, "a row's key has 1 to 511 bytes"
        last = self.changes[-1] if self.changes else None
        if not isinstance(last, Puts):
            last = Puts([])
            self.changes.append(last)
        last.rows.append(key)
        last.rows.append(value)
        self.size += len(key) + len(value)

    def delete(self, key: bytes) -> None:
        """Remove `key`."""
        last = self.changes[-1] if self.changes else None
        if not isinstance(last, Deletes):
            last = Deletes([])
            self.changes.append(last)
        last.keys.append(key)
        self.size += len(key)

    def delete_range(self, start: bytes, end: bytes) -> None:
        """Remove all keys of `[start, end)`."""
        assert start and end, "a range to remove has two ends"
        if start < end:
            self.changes.append(DeleteRange(start, end))
            self.size += len(start) + len(end)

    def __bool__(self) -> bool:
        return bool(self.changes)


class View(Protocol):
    """What was committed at one moment."""

    def get(self, key: bytes) -> bytes | None:
        """The value under `key`, or None."""
        ...

    def scan(
        self, start: bytes, end: bytes, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """The rows of `[start, end)` in key order, or backwards. Neither end may be empty."""
        ...


class Usage(Struct, frozen=True):
    """How full the disk is, in bytes: what rows take, the store's quota, the file system's rest.

    What was saved lately may count in full, although it replaces or removes something. `reusable`
    is what rows had taken and will take again before the file system's rest: a file of rows does
    not shrink.
    """

    used: int
    quota: int
    free: int
    reusable: int = 0

    @property
    def room(self) -> int:
        """How much more rows can take, whatever the quota says."""
        return self.free + self.reusable


class CopyRows(Struct, frozen=True, tag=True):
    """Copy rows to the file `name`, off the loop, from one view taken when the job begins.

    The view holds at least all that was saved when the job was started. `wanted` are single keys
    whose values come back with the result, from the same view. Given up after `seconds`, because a
    view that is held keeps LMDB from using freed pages again; and at the first row of the ranges
    that is not as it was sealed, because what is damaged here must not travel.
    """

    number: int
    name: str
    wanted: tuple[bytes, ...]
    ranges: tuple[tuple[bytes, bytes], ...]
    seconds: float


class HashRows(Struct, frozen=True, tag=True):
    """Hash the rows of `ranges` in order (SHA-256 over length-prefixed keys and values).

    Given up as `CopyRows` is.
    """

    number: int
    wanted: tuple[bytes, ...]
    ranges: tuple[tuple[bytes, bytes], ...]
    seconds: float


class VerifyFile(Struct, frozen=True, tag=True):
    """Make a received file durable and check it: its size, every block's and every row's seal."""

    number: int
    name: str
    size: int


class WeighRows(Struct, frozen=True, tag=True):
    """Count the rows of `[start, end)` and their bytes on each side of the keys `cuts`.

    Without cuts the rows are found that cut them into equal `pieces` by bytes, near enough. Rows
    are not checked: nothing of them travels. Given up after `seconds`.
    """

    number: int
    wanted: tuple[bytes, ...]
    start: bytes
    end: bytes
    cuts: tuple[bytes, ...]
    seconds: float
    pieces: int = 2


Job = CopyRows | HashRows | VerifyFile | WeighRows


class Copied(Struct, frozen=True, tag=True):
    """The file is complete and durable: `size` bytes for `rows` rows of `row_bytes` bytes."""

    values: tuple[bytes | None, ...]
    rows: int
    row_bytes: int
    size: int


class Hashed(Struct, frozen=True, tag=True):
    """The digest in hexadecimal, and how many rows and bytes of the first range it covers."""

    values: tuple[bytes | None, ...]
    digest: str
    rows: int
    row_bytes: int


class Verified(Struct, frozen=True, tag=True):
    """The file is what it should be, and durable."""

    rows: int


class Weighed(Struct, frozen=True, tag=True):
    """The cuts, and the parts that they make: one more than there are cuts.

    There is no cut if none was asked for and there are not two rows.
    """

    values: tuple[bytes | None, ...]
    cuts: tuple[bytes, ...]
    parts: tuple[Part, ...]


class JobFailed(Struct, frozen=True, tag=True):
    """The job ended without its result.

    `expired` if only its time ran out; `damaged` if a row on this disk is not as it was sealed, so
    that every repetition would fail.
    """

    reason: str
    expired: bool = False
    damaged: bool = False


JobResult = Copied | Hashed | Verified | Weighed | JobFailed


class RowBlock(Struct, frozen=True):
    """Some rows of a file, and the offset of the next block (None after the last)."""

    rows: list[tuple[bytes, bytes]]
    next: int | None


class Files(Protocol):
    """Files of rows on their way between stores; names are chosen by this store alone."""

    def read(self, name: str, offset: int, size: int) -> bytes:
        """At most `size` bytes from `offset`; empty at the end or where there is no such file."""
        ...

    def write(self, name: str, offset: int, data: bytes) -> None:
        """Store `data` at `offset`, making the file if need be. Not durable until verified.

        Raises `DiskError` where there is no room.
        """
        ...

    def read_block(self, name: str, offset: int) -> RowBlock:
        """The block at `offset` (the first is at 0) of a verified file. At most about 256 KiB.

        Raises `DiskError` if it is damaged.
        """
        ...

    def delete(self, name: str) -> None:
        """Remove the file; an absent one is fine."""
        ...

    def names(self) -> list[str]:
        """All files there are, in order."""
        ...


class Disk(Protocol):
    """One store's disk. `open` takes sole possession of the folder or raises `DiskInUseError`."""

    @property
    def view(self) -> View:
        """What had been committed when `renew` was last called; at least all that is saved."""
        ...

    def renew(self) -> None:
        """Move `view` to the newest commit. Iterators of the old view must not be used after it."""
        ...

    def submit(self, number: int, batch: Batch) -> None:
        """Begin to save `batch`. Numbers rise by one; `on_saved(number)` follows, in order."""
        ...

    def start(self, job: Job) -> None:
        """Begin a job beside the turns; `on_job(number, result)` follows exactly once."""
        ...

    @property
    def files(self) -> Files:
        """The files of rows."""
        ...

    def usage(self) -> Usage:
        """How full the disk is; cheap enough for every heartbeat."""
        ...


OnSaved = Callable[[int], None]
"""Called once per batch, in order, when it is durable."""

OnJob = Callable[[int, JobResult], None]
"""Called once per job, with its number."""

OnFailed = Callable[[str], None]
"""Called at most once, with the reason; the disk is dead from then on."""


class DiskError(Exception):
    """The data folder cannot be used; the text says why and what to do."""


class DiskInUseError(DiskError):
    """Another process has the data folder."""
