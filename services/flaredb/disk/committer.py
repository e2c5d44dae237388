"""When saved batches become rows: many in one commit, some time after they were acknowledged.

A commit writes a page for nearly every row and waits for the disk twice; what many batches have
changed costs one of it.
"""

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

COMMIT_BYTES: Final = 2 * 1024**2
"""Bytes of batches from which on they are committed; bounds the memory that a commit takes."""

COMMIT_SECONDS: Final = 0.5
"""How long a batch waits for others at most, unless a commit is under way."""


class Writer(Protocol):
    """What does the work; see `WriterProcess`."""

    def take(self, frame: bytearray) -> None: ...

    def commit(self, number: int) -> None: ...


class Committer:
    """Hands batches over to the writer and tells it when to commit.

    Invariants: `committed <= asked <= taken`; at most one commit is under way.
    """

    def __init__(
        self,
        writer: Writer,
        on_asked: Callable[[int], None],
        on_committed: Callable[[int], None],
    ) -> None:
        """`on_asked` hears which batches a commit will hold before it is under way."""
        self._writer: Final = writer
        self._on_asked, self._on_committed = on_asked, on_committed
        self._timer: asyncio.TimerHandle | None = None
        self._in_a_hurry = False
        self._bytes = self._asked_bytes = 0
        self.taken = self.asked = self.committed = 0

    @property
    def bytes(self) -> int:
        """How long the batches are that were taken and are not committed."""
        return self._bytes + self._asked_bytes

    def take(self, number: int, frame: bytearray) -> None:
        """Batch `number` is to be committed some time."""
        assert number > self.taken, "numbers rise"
        self._writer.take(frame)
        self.taken = number
        self._bytes += len(frame)
        if self._bytes >= COMMIT_BYTES:
            self.commit()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(COMMIT_SECONDS, self.commit)

    def commit(self) -> None:
        """Commit what was taken as soon as no other commit is under way."""
        self._in_a_hurry = self.taken > self.asked
        if not self._in_a_hurry or self.asked > self.committed:
            return
        self.stop()
        self.asked, self._asked_bytes, self._bytes = self.taken, self._bytes, 0
        self._on_asked(self.asked)
        self._writer.commit(self.asked)

    def answered(self, number: int) -> None:
        """The rows hold the batches up to `number`."""
        assert number == self.asked, "commits are answered in their order"
        self.committed, self._asked_bytes = number, 0
        self._on_committed(number)
        if self._in_a_hurry:
            self.commit()

    def stop(self) -> None:
        """Begin no commit that is not asked for from here on."""
        self._in_a_hurry = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
