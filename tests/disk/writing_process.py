"""A store's stand-in that only writes, until it is killed: `python -m tests.disk.writing_process`.

Tests that write themselves use its batches too, and check what is left of them.

Batch `n` replaces the rows `a`, `b` and `c` by `n` and adds row `n` to a log of which the last
thousand stay. Standard output gets lines: the writer's process id, then every acknowledged number.
"""

import asyncio
import os
import sys
from pathlib import Path
from typing import Final

from flaredb.disk.disk import Batch
from flaredb.disk.lmdb_disk import LmdbDisk

KEPT: Final = 1_000
MARKS: Final = (b"a", b"b", b"c")


def log_key(number: int) -> bytes:
    """Where batch `number` left its row."""
    return b"l%08d" % number


def batch_of(number: int) -> Batch:
    """The changes of one batch."""
    batch = Batch()
    batch.delete_range(b"a", b"d")
    for mark in MARKS:
        batch.put(mark, b"%d" % number)
    batch.put(log_key(number), bytes(number % 5_000))
    batch.delete_range(b"l", log_key(max(0, number - KEPT)))
    return batch


def check_whole(disk: LmdbDisk, acknowledged: int) -> int:
    """The last batch that the folder holds, which is whole and not before `acknowledged`."""
    view = disk.view
    marks = {int(view.get(mark) or 0) for mark in MARKS}
    assert len(marks) == 1, "a batch is saved whole or not at all"
    last = marks.pop()
    assert last >= acknowledged
    kept = range(max(1, last - KEPT), last + 1)
    found = list(view.scan(b"l", b"m"))
    assert found == [(log_key(number), bytes(number % 5_000)) for number in kept]
    return last


async def write_for_ever(folder: Path, wal_bytes: int) -> None:
    """Go on from where the folder ends, two batches under way, until killed."""
    gone = asyncio.get_running_loop().create_future()

    def say(text: str) -> None:
        os.write(1, f"{text}\n".encode())

    def saved(number: int) -> None:
        say(str(number))
        disk.submit(number + 2, batch_of(number + 2))

    disk = await LmdbDisk.open(
        folder,
        quota=1 << 30,
        on_saved=saved,
        on_failed=gone.set_result,
        on_job=lambda number, result: None,
        wal_bytes=wal_bytes,
    )
    say(str(disk.writer_pid))
    done = int(disk.view.get(MARKS[0]) or 0)
    for number in (done + 1, done + 2):
        disk.submit(number, batch_of(number))
    say(f"failed: {await gone}")


if __name__ == "__main__":
    asyncio.run(write_for_ever(Path(sys.argv[1]), int(sys.argv[2])))
