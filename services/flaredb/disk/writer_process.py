"""The store's side of the writer process: batches in order, each acknowledged once or never."""

import asyncio
from collections import deque
from typing import Final, assert_never

import msgspec

from flaredb.disk.child_messages import (
    Failed,
    Opened,
    OpenFolder,
    Refused,
    SaveBatch,
    Saved,
    WriterAnswer,
)
from flaredb.disk.child_process import ChildProcess
from flaredb.disk.disk import (
    MAX_BATCHES_UNDER_WAY,
    Batch,
    DiskError,
    DiskInUseError,
    OnFailed,
    OnSaved,
)

_MODULE: Final = "flaredb.disk.lmdb_writer"


class WriterProcess:
    """The writer, and what it was given and has not answered.

    Invariants: answers come in the order of the batches, at most two are under way, and after the
    failure of one, or the writer's end, nothing is acknowledged any more. Failure is told once.
    """

    def __init__(self, on_saved: OnSaved, on_failed: OnFailed) -> None:
        self._on_saved, self._on_failed = on_saved, on_failed
        self._decoder: Final[msgspec.msgpack.Decoder[WriterAnswer]] = msgspec.msgpack.Decoder(
            WriterAnswer
        )
        self._opened: Final[asyncio.Future[None]] = asyncio.get_running_loop().create_future()
        self._child: ChildProcess | None = None
        self._under_way: Final[deque[int]] = deque()
        self._last_number: int | None = None
        self._dead = False
        self._closing = False

    async def open(self, order: OpenFolder) -> None:
        """Start the process and wait until it has the folder; raises `DiskError`."""
        self._child = await ChildProcess.start(_MODULE, self._answered, self._ended)
        self._child.send(order)
        try:
            await self._opened
        except BaseException:
            await self.close()
            raise

    @property
    def pid(self) -> int:
        """The process's id, for those who watch or test it."""
        assert self._child is not None, "the writer has been started"
        return self._child.pid

    @property
    def under_way(self) -> int:
        """How many batches are not acknowledged yet."""
        return len(self._under_way)

    def submit(self, number: int, batch: Batch) -> None:
        """See the port's `submit`."""
        assert not self._closing, "the disk is closed"
        assert self._last_number is None or number == self._last_number + 1, "numbers rise by one"
        self._last_number = number
        if self._dead:
            return
        assert self._child is not None, "the writer has been started"
        assert len(self._under_way) < MAX_BATCHES_UNDER_WAY, "too many batches under way"
        self._under_way.append(number)
        self._child.send(SaveBatch(number, batch.changes))

    async def close(self) -> None:
        """Save and acknowledge what is under way, then end the process."""
        self._closing = True
        if self._child is not None:
            await self._child.finish()

    def _answered(self, frame: bytes) -> None:
        answer = self._decoder.decode(frame)
        match answer:
            case Opened():
                self._opened.set_result(None)
            case Refused(reason, in_use):
                self._refused(DiskInUseError(reason) if in_use else DiskError(reason))
            case Saved(number):
                self._saved(number)
            case Failed(reason):
                self._failed(reason)
            case _:
                assert_never(answer)

    def _refused(self, error: DiskError) -> None:
        self._dead = True
        if not self._opened.done():
            self._opened.set_exception(error)

    def _saved(self, number: int) -> None:
        if not self._dead:
            assert self._under_way.popleft() == number, "batches are saved in their order"
            self._on_saved(number)

    def _failed(self, reason: str) -> None:
        if not self._dead:
            self._dead = True
            self._on_failed(reason)

    def _ended(self, how: str) -> None:
        if not self._opened.done():
            self._refused(DiskError(f"the writer process {how} before it had opened the folder"))
        elif self._under_way or not self._closing:
            self._failed(f"the writer process {how}")
