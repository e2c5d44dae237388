"""Files of rows in the data folder's `snapshots/`, read and written in small pieces by the loop.

What is written here is not durable until a `VerifyFile` job has said so. Names are plain file
names of this store's own making; nothing else in the folder is touched or listed.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from flaredb.disk.disk import DiskError, RowBlock
from flaredb.disk.row_files import HEAD, BadBlock, block_length, checked_name, decode_block, is_name

_FLAGS: Final = os.O_CLOEXEC | os.O_NOFOLLOW


class FolderFiles:
    """The port of files on a folder. Every call opens and closes its file: it holds no state."""

    __slots__ = ("_folder",)

    def __init__(self, folder: Path) -> None:
        self._folder: Final = folder

    def read(self, name: str, offset: int, size: int) -> bytes:
        path = self._path(name)
        try:
            with opened(path, os.O_RDONLY) as descriptor:
                return os.pread(descriptor, size, offset)
        except FileNotFoundError:
            return b""
        except OSError as error:
            raise _unreadable(path, error) from error

    def write(self, name: str, offset: int, data: bytes) -> None:
        path = self._path(name)
        rest = memoryview(data)
        try:
            with opened(path, os.O_WRONLY | os.O_CREAT) as descriptor:
                while rest:
                    written = os.pwrite(descriptor, rest, offset)
                    rest, offset = rest[written:], offset + written
        except OSError as error:
            raise DiskError(
                f"cannot write {path}: {error.strerror}. Free some space, or look at the disk."
            ) from error

    def read_block(self, name: str, offset: int) -> RowBlock:
        path = self._path(name)
        try:
            with opened(path, os.O_RDONLY) as descriptor:
                block = read_block_at(descriptor, offset, os.fstat(descriptor).st_size)
        except OSError as error:
            raise _unreadable(path, error) from error
        if isinstance(block, BadBlock):
            raise DiskError(f"the file {path} is damaged at {offset}: {block.reason}")
        return block

    def delete(self, name: str) -> None:
        self._path(name).unlink(missing_ok=True)

    def names(self) -> list[str]:
        return sorted(name for name in os.listdir(self._folder) if is_name(name))

    def _path(self, name: str) -> Path:
        return self._folder / checked_name(name)


@contextmanager
def opened(path: Path, flags: int) -> Iterator[int]:
    """The descriptor of `path`, for its owner alone and never through a symbolic link."""
    descriptor = os.open(path, flags | _FLAGS, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def read_block_at(descriptor: int, offset: int, size: int) -> RowBlock | BadBlock:
    """The block at `offset` of a file of `size` bytes."""
    if size == 0 and offset == 0:
        return RowBlock([], None)
    head = os.pread(descriptor, HEAD.size, offset)
    length = block_length(head)
    if isinstance(length, BadBlock):
        return length
    rows = decode_block(head, os.pread(descriptor, length, offset + HEAD.size))
    if isinstance(rows, BadBlock):
        return rows
    end = offset + HEAD.size + length
    return RowBlock(rows, end if end < size else None)


def _unreadable(path: Path, error: OSError) -> DiskError:
    return DiskError(f"cannot read {path}: {error.strerror}. Look at the disk.")
