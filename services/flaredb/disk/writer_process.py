"""The store's side of the writer process: batches in, and word of what has been committed."""

import asyncio
from collections.abc import Callable
from typing import Final, assert_never

import msgspec

from flaredb.disk.child_messages import (
    Close,
    Commit,
    Committed,
    Failed,
    Opened,
    OpenFolder,
    Refused,
    WriterAnswer,
)
from flaredb.disk.child_process import ChildProcess
from flaredb.disk.disk import DiskError, DiskInUseError, OnFailed

_MODULE: Final = "flaredb.disk.lmdb_writer"

OnCommitted = Callable[[int], None]


class WriterProcess:
    """The process that owns the only write transaction.

    Invariants: commits are told in their order, and after the failure of one, or the writer's end,
    nothing is told any more. Failure is told once, to who listens from right after `open` on.
    """

    def __init__(self) -> None:
        self._on_committed: OnCommitted | None = None
        self._on_failed: OnFailed | None = None
        self._decoder: Final[msgspec.msgpack.Decoder[WriterAnswer]] = msgspec.msgpack.Decoder(
            WriterAnswer
        )
        self._opened: Final[asyncio.Future[bool]] = asyncio.get_running_loop().create_future()
        self._child: ChildProcess | None = None
        self._failure: str | None = None
        self._closing = False

    async def open(self, order: OpenFolder) -> bool:
        """Start the process and wait until it has the folder; raises `DiskError`.

        Returns whether there is a write-ahead log.
        """
        shared = (order.lock,)
        self._child = await ChildProcess.start(_MODULE, self._answered, self._ended, shared)
        self._child.send(order)
        try:
            return await self._opened
        except BaseException:
            await self.close()
            raise

    def listen(self, on_committed: OnCommitted, on_failed: OnFailed) -> None:
        """Call these from now on; a writer that has failed meanwhile says so soon."""
        self._on_committed, self._on_failed = on_committed, on_failed
        if self._failure is not None:
            asyncio.get_running_loop().call_soon(on_failed, self._failure)

    @property
    def pid(self) -> int:
        """The process's id, for those who watch or test it."""
        assert self._child is not None, "the writer has been started"
        return self._child.pid

    def take(self, frame: bytearray) -> None:
        """Hand over a batch, as the frame of a `SaveBatch`."""
        assert self._child is not None, "the writer has been started"
        self._child.send_frame(frame)

    def commit(self, number: int) -> None:
        """Have what was handed over committed, up to batch `number`, which is the last of it."""
        assert self._child is not None, "the writer has been started"
        self._child.send(Commit(number))

    async def close(self) -> None:
        """Have all that was handed over committed, then end the process; may be called again."""
        self._closing = True
        if self._child is not None:
            self._child.send(Close())
            await self._child.finish()

    def _answered(self, frame: bytes) -> None:
        answer = self._decoder.decode(frame)
        match answer:
            case Opened(has_wal):
                self._opened.set_result(has_wal)
            case Refused(reason, in_use):
                self._refused(DiskInUseError(reason) if in_use else DiskError(reason))
            case Committed(number):
                if self._failure is None and self._on_committed is not None:
                    self._on_committed(number)
            case Failed(reason):
                self._failed(reason)
            case _:
                assert_never(answer)

    def _refused(self, error: DiskError) -> None:
        if not self._opened.done():
            self._opened.set_exception(error)

    def _failed(self, reason: str) -> None:
        if self._failure is None:
            self._failure = reason
            if self._on_failed is not None:
                self._on_failed(reason)

    def _ended(self, how: str) -> None:
        if not self._opened.done():
            self._refused(DiskError(f"the writer process {how} before it had opened the folder"))
        elif not self._closing:
            self._failed(f"the writer process {how}")
