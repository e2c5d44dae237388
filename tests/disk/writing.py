"""Another process that writes until it is killed; see `writing_process`."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flaredb.disk.wal_files import WAL_SEGMENT_BYTES


class Writing:
    """The other process; `acknowledged` is read from its output once it has ended."""

    def __init__(self, folder: Path, wal_bytes: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.disk.writing_process", str(folder), str(wal_bytes)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self._output = self._process.stdout
        self.writer_pid = int(self._output.readline())

    @property
    def pid(self) -> int:
        return self._process.pid

    def after(self, batches: int) -> None:
        """Return when so many more batches have been acknowledged."""
        for _ in range(batches):
            self._output.readline()

    def rest(self) -> list[str]:
        """Everything else that it said, once it has ended."""
        with self._output:
            lines = self._output.read().split("\n")
        self._process.wait()
        return [line for line in lines if line]

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()
        self._output.close()


@contextmanager
def writing(folder: Path, wal_bytes: int = WAL_SEGMENT_BYTES) -> Iterator[Writing]:
    """The other process, at work until it is killed."""
    process = Writing(folder, wal_bytes)
    try:
        yield process
    finally:
        process.stop()
