"""Files of rows in memory, with what a crash leaves of those that were not made durable."""

from flaredb.disk.disk import DiskError, JobFailed, RowBlock, Verified
from flaredb.disk.row_files import HEAD, BadBlock, block_length, checked_name, decode_block
from flaredb.runtime.clock import Jitter


class MemoryFiles:
    """The port of files in memory.

    Invariant: `_durable` holds, of each file that was made durable since it was last written, the
    bytes that a crash cannot take; a deleted file stands there until the crash decides.
    """

    __slots__ = ("_durable", "_files")

    def __init__(self) -> None:
        self._files: dict[str, bytearray] = {}
        self._durable: dict[str, bytes] = {}

    def read(self, name: str, offset: int, size: int) -> bytes:
        return bytes(self._files.get(checked_name(name), b"")[offset : offset + size])

    def write(self, name: str, offset: int, data: bytes) -> None:
        file = self._files.setdefault(checked_name(name), bytearray())
        self._durable.pop(name, None)
        if len(file) < offset:
            file.extend(bytes(offset - len(file)))
        file[offset : offset + len(data)] = data

    def read_block(self, name: str, offset: int) -> RowBlock:
        block = self._block(name, offset)
        if isinstance(block, BadBlock):
            raise DiskError(f"the file {name} is damaged at {offset}: {block.reason}")
        return block

    def delete(self, name: str) -> None:
        self._files.pop(checked_name(name), None)

    def names(self) -> list[str]:
        return sorted(self._files)

    def create(self, name: str) -> bool:
        """Make an empty file; False if there is one of this name."""
        if checked_name(name) in self._files:
            return False
        self._files[name] = bytearray()
        self._durable.pop(name, None)
        return True

    def make_durable(self, name: str) -> None:
        """What is in the file now survives a crash."""
        self._durable[name] = bytes(self._files[name])

    def verify(self, name: str, size: int) -> Verified | JobFailed:
        """Make the file durable if all of its blocks are whole and they are `size` bytes."""
        if name not in self._files:
            return JobFailed(f"there is no file {name}")
        if len(self._files[name]) != size:
            return JobFailed(f"{len(self._files[name])} bytes instead of {size}")
        rows, offset = 0, 0 if size else None
        while offset is not None:
            block = self._block(name, offset)
            if isinstance(block, BadBlock):
                return JobFailed(f"at {offset}: {block.reason}")
            rows, offset = rows + len(block.rows), block.next
        self.make_durable(name)
        return Verified(rows)

    def crash(self, jitter: Jitter | None) -> None:
        """Leave of each file that is not durable what `jitter` draws; see `MemoryDisk.crash`."""
        for name in self.names():
            if name not in self._durable:
                self._tear(name, jitter)
        for name in sorted(self._durable.keys() - self._files.keys()):
            if jitter is not None and jitter(2):
                self._files[name] = bytearray(self._durable[name])
        self._durable = {name: bytes(file) for name, file in self._files.items()}

    def _tear(self, name: str, jitter: Jitter | None) -> None:
        """A prefix survives; behind it zeros, as where only the file's length was written."""
        file = self._files[name]
        if jitter is None or not jitter(2):
            del self._files[name]
            return
        kept = jitter(len(file) + 1)
        file[kept:] = bytes(len(file) - kept) if jitter(2) else b""

    def _block(self, name: str, offset: int) -> RowBlock | BadBlock:
        file = self._files.get(checked_name(name))
        if file is None:
            return BadBlock("there is no such file")
        if not file and offset == 0:
            return RowBlock([], None)
        head = bytes(file[offset : offset + HEAD.size])
        length = block_length(head)
        if isinstance(length, BadBlock):
            return length
        end = offset + HEAD.size + length
        rows = decode_block(head, bytes(file[offset + HEAD.size : end]))
        if isinstance(rows, BadBlock):
            return rows
        return RowBlock(rows, end if end < len(file) else None)
