"""The streams into the warehouse: each event once, in order, and what is missing is told.

Each stream is read from its own durable position, at most `BATCH` records or what came within
`PACE` seconds per transaction. A stream that does not exist yet is waited for. Whatever happens to
the bus, a server or a stream, the next look says where things stand; nothing is remembered here
that is not in the file.
"""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from msgspec import Struct

from flaredb.bus.bus import BusError, History, StreamRecord, StreamState
from flaredb.runtime.clock import Clock
from flaredb.runtime.logs import logger
from flaredb_analytics.positions import Cursor, Gap, advance, start_over
from flaredb_analytics.rows import Row, to_row, unreadable
from flaredb_analytics.warehouse import OutOfMemory, SqlError, Warehouse

BATCH: Final = 1_000
PACE: Final = 0.25
WAIT: Final = 1.0
"""Seconds that one look waits for news."""
RETRY: Final = 1.0
PRUNE_SECONDS: Final = 3_600.0

log: Final = logger(__name__)


class StreamStatus(Struct, frozen=True):
    """How far one stream has been read. `lag` is seconds since nothing was missing."""

    stream: str
    exists: bool
    seq: int
    last: int
    lag: float
    trouble: str


class Intake:
    """One stream on its way into the warehouse.

    Invariants: `cursor` is what the file says; after any doubt (`_doubt`) the stream is compared
    with the cursor before a record of it is taken.
    """

    def __init__(self, stream: str, cursor: Cursor, history: History, ingest: "Ingest") -> None:
        self.stream: Final = stream
        self.cursor = cursor
        self.state: StreamState | None = None
        self.trouble = ""
        self.caught_up_at: float | None = None
        self._history: Final = history
        self._ingest: Final = ingest
        self._doubt = True

    async def run(self) -> None:
        """Read for ever. Raises `WarehouseBroken`."""
        while True:
            began = self._ingest.clock.monotonic()
            try:
                full = await self._look()
                self.trouble = ""
            except (BusError, OutOfMemory) as error:
                self._note(str(error))
                await asyncio.sleep(RETRY)
                continue
            if not full:
                taken = self._ingest.clock.monotonic() - began
                await asyncio.sleep(max(0.0, PACE - taken))

    async def _look(self) -> bool:
        """Take what is new; whether there is likely to be more at once."""
        if self._doubt and not await self._compare():
            await asyncio.sleep(WAIT)
            return False
        began = self._ingest.clock.monotonic()
        records = await self._history.read(self.stream, self.cursor.seq, BATCH, WAIT)
        state = await self._history.state(self.stream)
        self.state = state
        if state is None or self._is_another(state):
            self._doubt = True
            return True
        cursor, gaps = advance(self.cursor, state, records)
        if cursor != self.cursor or gaps:
            await self._write(cursor, records, gaps)
        if self.cursor.seq >= state.last:
            self.caught_up_at = began
        return len(records) == BATCH

    async def _compare(self) -> bool:
        """Whether the stream exists; if it is not the one that was read, begin anew."""
        began = self._ingest.clock.monotonic()
        self.state = state = await self._history.state(self.stream)
        if state is None:
            self.caught_up_at = began
            return False
        gap = start_over(self.cursor, state, await self._at_cursor(state))
        if gap is not None:
            log.warning("the stream is another one", stream=self.stream, reason=gap.reason)
            await self._write(Cursor(created=state.created), [], [gap])
        self._doubt = False
        return True

    async def _at_cursor(self, state: StreamState) -> StreamRecord | None:
        seq = self.cursor.seq
        if seq == 0 or not state.first <= seq <= state.last:
            return None
        found = await self._history.read(self.stream, seq - 1, 1, 0)
        return found[0] if found and found[0].sequence == seq else None

    def _is_another(self, state: StreamState) -> bool:
        known = self.cursor.created
        return (known != 0 and state.created != known) or state.last < self.cursor.seq

    async def _write(
        self, cursor: Cursor, records: Sequence[StreamRecord], gaps: Sequence[Gap]
    ) -> None:
        for gap in gaps:
            log.warning("a gap", stream=self.stream, after=gap.after, before=gap.before)
        rows = [to_row(self.stream, record) for record in records]
        try:
            await self._ingest.write(self.stream, cursor, rows, gaps)
        except OutOfMemory:
            raise
        except SqlError as error:
            await self._write_apart(cursor, records, gaps, error)
        self.cursor = cursor

    async def _write_apart(
        self,
        cursor: Cursor,
        records: Sequence[StreamRecord],
        gaps: Sequence[Gap],
        error: SqlError,
    ) -> None:
        """Find the record that no table takes, and keep that one as unreadable."""
        log.warning("a record cannot be stored as it is", stream=self.stream, reason=str(error))
        last = self.cursor
        for record in records:
            last = Cursor(cursor.created, record.sequence, record.time)
            try:
                await self._ingest.write(self.stream, last, [to_row(self.stream, record)], ())
            except OutOfMemory:
                raise
            except SqlError:
                await self._ingest.write(self.stream, last, [unreadable(self.stream, record)], ())
            self.cursor = last
        await self._ingest.write(self.stream, cursor, [], gaps)

    def _note(self, trouble: str) -> None:
        if trouble != self.trouble:
            log.warning("ingestion waits", stream=self.stream, reason=trouble)
        self.trouble = trouble
        self._doubt = True


class Ingest:
    """All streams into one warehouse; one thread writes.

    Invariant: `news` is an event that is set at the next commit, then replaced.
    """

    def __init__(
        self, warehouse: Warehouse, history: History, streams: Sequence[str], clock: Clock
    ) -> None:
        self.clock: Final = clock
        self.news = asyncio.Event()
        self._warehouse: Final = warehouse
        self._began: Final = clock.monotonic()
        self._writer: Final = ThreadPoolExecutor(1, thread_name_prefix="ingest")
        known = warehouse.cursors()
        self._intakes: Final = [
            Intake(stream, known.get(stream, Cursor()), history, self) for stream in streams
        ]

    async def run(self) -> None:
        """Ingest for ever. Raises an `ExceptionGroup` with `WarehouseBroken` in it."""
        try:
            async with asyncio.TaskGroup() as tasks:
                for intake in self._intakes:
                    tasks.create_task(intake.run())
                tasks.create_task(self._prune())
        finally:
            self._writer.shutdown()

    async def write(
        self, stream: str, cursor: Cursor, rows: Sequence[Row], gaps: Sequence[Gap]
    ) -> None:
        """One transaction, in the writing thread; it is finished even if the caller is cancelled.

        Raises `SqlError` and `WarehouseBroken`.
        """
        loop = asyncio.get_running_loop()
        now = self.clock.wall()
        await loop.run_in_executor(
            self._writer, self._warehouse.write, stream, cursor, rows, gaps, now
        )
        self.news.set()
        self.news = asyncio.Event()

    @property
    def lag(self) -> float:
        """Seconds since the warehouse last held everything that the streams hold."""
        return max(status.lag for status in self.status())

    def status(self) -> list[StreamStatus]:
        """How far each stream has been read."""
        now = self.clock.monotonic()
        return [
            StreamStatus(
                intake.stream,
                intake.state is not None,
                intake.cursor.seq,
                intake.state.last if intake.state else 0,
                round(now - (intake.caught_up_at or self._began), 3),
                intake.trouble,
            )
            for intake in self._intakes
        ]

    @property
    def caught_up_once(self) -> bool:
        """Whether every stream has been read to its end at least once since the start."""
        return all(intake.caught_up_at is not None for intake in self._intakes)

    async def _prune(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                await loop.run_in_executor(self._writer, self._warehouse.prune, self.clock.wall())
            except SqlError as error:
                log.warning("old heartbeats stay", reason=str(error))
            await asyncio.sleep(PRUNE_SECONDS)
