"""The DuckDB file: its tables and their version, who may write, and what a broken file costs.

The file is a cache: whatever is wrong with it, it is put aside under another name and the streams
are read again from their beginning. One process owns it. Configuration is locked and access to
other files is off from the start, for the owner too; only `history/` beside the file stays open.
"""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import duckdb
import msgspec
from duckdb import DuckDBPyConnection

from flaredb_analytics.positions import Cursor, Gap
from flaredb_analytics.rows import EventRow, HeartbeatRow, Row

VERSION: Final = 1
"""Of the tables. A file of another version is put aside and filled anew."""

FILE_NAME: Final = "placement.duckdb"
SPILL_BYTES: Final = 4 * 1024**3
KEEP_HEARTBEATS_DAYS: Final = 7
READERS_SECONDS: Final = 30.0
"""How long a rebuild waits for interrupted readers."""

ZONED: Final = "TIMESTAMP WITH TIME ZONE"
"""DuckDB's name of the type whose values it makes Python's only where the package pytz is."""

Reader = DuckDBPyConnection
"""A reader's own connection; used by one thread at a time, except for `interrupt`."""


class WarehouseBusy(Exception):
    """Another process has the file open; nothing can be done here."""


class WarehouseBroken(Exception):
    """The file cannot be used any more; `Warehouse.rebuild` makes a new one."""


class SqlError(Exception):
    """A statement failed, in DuckDB's words."""


class OutOfMemory(SqlError):
    """A statement needed more memory than is allowed."""


class Interrupted(SqlError):
    """A statement was interrupted."""


_BROKEN: Final = (duckdb.FatalException, duckdb.InternalException, duckdb.SerializationException)


@contextmanager
def translated() -> Iterator[None]:
    """DuckDB's exceptions as this module's."""
    try:
        yield
    except duckdb.InterruptException as error:
        raise Interrupted(str(error)) from error
    except duckdb.OutOfMemoryException as error:
        raise OutOfMemory(str(error)) from error
    except _BROKEN as error:
        raise WarehouseBroken(str(error)) from error
    except duckdb.IOException as error:
        if "checksum" in str(error):
            raise WarehouseBroken(str(error)) from error
        raise SqlError(str(error)) from error
    except duckdb.Error as error:
        raise SqlError(str(error)) from error


class Warehouse:
    """The open file. One thread writes and prunes; each reader has a connection of its own.

    Invariants: rows, gaps and the cursor of their stream change in one transaction; an event is
    there once; `next_number` is above every number in `events`.
    """

    def __init__(self, folder: Path, memory_limit: int, threads: int = 2) -> None:
        """Open or make the file in `folder`; raises `WarehouseBusy`."""
        self.path: Final = folder / FILE_NAME
        self.set_aside: str = ""
        """Why the file that was found is not used; empty when it is."""
        self._memory_limit: Final = memory_limit
        self._threads: Final = threads
        self._readers_change: Final = threading.Condition()
        self._readers: set[Reader] = set()
        (folder / "history").mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
        self._open()

    @contextmanager
    def reader(self) -> Iterator[Reader]:
        """A connection of its own to the file, for one question; for threads, since it may wait."""
        with self._readers_change, translated():
            reader = self._connection.cursor()
            self._readers.add(reader)
        try:
            yield reader
        finally:
            with self._readers_change:
                reader.close()
                self._readers.discard(reader)
                self._readers_change.notify_all()

    def cursors(self) -> dict[str, Cursor]:
        """How far each stream has been read."""
        rows = self._fetch("SELECT stream, created, seq, stored FROM cursors")
        return {stream: Cursor(created, seq, stored) for stream, created, seq, stored in rows}

    def write(
        self, stream: str, cursor: Cursor, rows: Sequence[Row], gaps: Sequence[Gap], now: int
    ) -> None:
        """Add what is new of `rows` and move the stream's cursor; all of it or nothing.

        `now` is milliseconds since 1970. Raises `SqlError` if a row cannot be taken,
        `WarehouseBroken` if the file is of no more use.
        """
        events = [row for row in rows if isinstance(row, EventRow)]
        heartbeats = [row for row in rows if isinstance(row, HeartbeatRow)]
        with self._transaction() as connection:
            if events:
                connection.execute(_sql("insert_events.sql"), {"rows": self._numbered(events)})
            if heartbeats:
                self._write_heartbeats(connection, heartbeats)
            for gap in gaps:
                connection.execute(
                    "INSERT INTO gaps VALUES (?, ?, ?, epoch_ms(?), ?, ?)",
                    [stream, gap.after, gap.before, now, gap.reason, gap.detail],
                )
            connection.execute(
                "INSERT OR REPLACE INTO cursors VALUES (?, ?, ?, ?)",
                [stream, cursor.created, cursor.seq, cursor.stored],
            )
        self.next_number += len(events)

    def prune(self, now: int) -> None:
        """Forget heartbeats older than `KEEP_HEARTBEATS_DAYS`; `now` is ms since 1970."""
        before = now - KEEP_HEARTBEATS_DAYS * 86_400_000
        with self._transaction() as connection:
            for table in ("heartbeats", "region_heartbeats"):
                connection.execute(f"DELETE FROM {table} WHERE time < epoch_ms(?)", [before])

    def rebuild(self, reason: str) -> None:
        """Put the file aside and begin an empty one. Raises `WarehouseBusy` if readers stay."""
        with self._readers_change:
            # DuckDB hands out the same instance as long as anything holds on to it.
            for reader in self._readers:
                interrupt(reader)
            if not self._readers_change.wait_for(lambda: not self._readers, READERS_SECONDS):
                raise WarehouseBusy(f"{self.path} is broken, and still being read")
            with suppress(duckdb.Error):
                self._connection.close()
            self._put_aside(reason)
            self._open()

    def close(self) -> None:
        """Write everything into the one file and let it go."""
        with self._readers_change, translated():
            self._connection.close()

    def _open(self) -> None:
        try:
            self._try_open()
        except duckdb.Error as error:
            if "lock on file" in str(error):
                raise WarehouseBusy(f"{self.path} is open in another process: {error}") from error
            if not self.path.exists() or "ermission denied" in str(error):
                raise WarehouseBusy(f"{self.path} cannot be opened: {error}") from error
            self._put_aside(str(error))
            self._try_open()
        (self.next_number,) = self._fetch("SELECT coalesce(max(number), 0) + 1 FROM events")[0]

    def _try_open(self) -> None:
        self._connection = duckdb.connect(
            str(self.path),
            config={
                "memory_limit": f"{self._memory_limit}B",
                "threads": str(self._threads),
                "temp_directory": str(self.path.parent / "spill"),
                "max_temp_directory_size": f"{SPILL_BYTES}B",
                "autoinstall_known_extensions": "false",
                "autoload_known_extensions": "false",
                "allow_community_extensions": "false",
            },
        )
        try:
            self._lock_up()
            self._check_tables()
        except duckdb.Error:
            self._connection.close()
            raise

    def _lock_up(self) -> None:
        history = str(self.path.parent / "history").replace("'", "''")
        self._connection.execute("SET TimeZone = 'UTC'")
        self._connection.execute(f"SET allowed_directories = ['{history}']")
        self._connection.execute("SET enable_external_access = false")
        self._connection.execute("SET lock_configuration = true")

    def _check_tables(self) -> None:
        """Have the tables of this version, and every block of an old file read once."""
        connection = self._connection
        tables = [name for (name,) in connection.execute("SHOW TABLES").fetchall()]
        if not tables:
            connection.execute(_sql("tables.sql"))
            connection.execute(f"CREATE TABLE version AS SELECT {VERSION} AS version")
        elif connection.execute("SELECT version FROM version").fetchall() != [(VERSION,)]:
            raise duckdb.SerializationException(f"its tables are not of version {VERSION}")
        for table in ("events", "heartbeats", "region_heartbeats", "gaps", "cursors"):
            connection.execute(f"SELECT max(hash(t)) FROM {table} AS t").fetchall()
        connection.execute(_sql("views.sql"))

    def _put_aside(self, reason: str) -> None:
        self.set_aside = reason
        stamp = time.time_ns() // 1_000_000
        for suffix in ("", ".wal"):
            found = self.path.with_name(FILE_NAME + suffix)
            if found.exists():
                found.rename(found.with_name(f"{found.name}.broken-{stamp}"))

    @contextmanager
    def _transaction(self) -> Iterator[DuckDBPyConnection]:
        with translated():
            self._connection.execute("BEGIN TRANSACTION")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except duckdb.Error:
                self._roll_back()
                raise

    def _roll_back(self) -> None:
        try:
            self._connection.execute("ROLLBACK")
        except duckdb.TransactionException:
            return  # a failed commit has rolled back already

    def _write_heartbeats(
        self, connection: DuckDBPyConnection, heartbeats: Sequence[HeartbeatRow]
    ) -> None:
        new = connection.execute(
            _sql("insert_heartbeats.sql"), {"rows": _json(heartbeats)}
        ).fetchall()
        fresh = {(row.cluster, row.id, row.time): row for row in heartbeats}
        rows = _json([fresh[key] for key in new])
        connection.execute(_sql("insert_regions.sql"), {"rows": rows})

    def _numbered(self, events: Sequence[EventRow]) -> str:
        numbered = [
            {**msgspec.structs.asdict(row), "number": number}
            for number, row in enumerate(events, self.next_number)
        ]
        return _json(numbered)

    def _fetch(self, query: str) -> list[Any]:
        cursor = self._connection.cursor()
        with translated():
            rows: list[Any] = cursor.execute(query).fetchall()
            cursor.close()
        return rows


def kinds_of(reader: Reader, query: str) -> list[str]:
    """The kind of each statement in `query`, as `SELECT`, `EXPLAIN`; raises `SqlError`."""
    with translated():
        return [statement.type.name for statement in reader.extract_statements(query)]


def interrupt(reader: Reader) -> None:
    """Have what runs on `reader` fail with `Interrupted`; nothing if it has ended."""
    with suppress(duckdb.Error):
        reader.interrupt()


def begin_reading(reader: Reader, query: str) -> Reader:
    """Run `query` in a transaction that cannot write, and ends when the reader is closed.

    The result comes by `fetching`; moments that have a time zone are plain ones, in UTC. Raises
    `SqlError`.
    """
    with translated():
        reader.execute("BEGIN TRANSACTION READ ONLY")
        return reader.execute(_in_utc(reader, query))


def fetching(reader: Reader, count: int) -> list[tuple[Any, ...]]:
    """The next `count` rows of the reader's result; raises `SqlError`."""
    with translated():
        rows: list[tuple[Any, ...]] = reader.fetchmany(count)
        return rows


def _in_utc(reader: Reader, query: str) -> str:
    """`query`, or where columns of its result are `ZONED`, one around it without such."""
    if kinds_of(reader, query) != ["SELECT"]:
        return query  # to learn the columns of anything else is to run it
    result = reader.sql(query)
    kinds = [str(kind) for kind in result.types]
    if not any(ZONED in kind for kind in kinds):
        return query
    inner = [f"c{number}" for number in range(len(kinds))]  # names may repeat in a result
    outer = ", ".join(
        f"{_cast(column, kind)} AS " + _quoted('"', name)
        for column, kind, name in zip(inner, kinds, result.columns, strict=True)
    )
    # In mere parentheses the statement could not end in a semicolon or a comment.
    within = "query(" + _quoted("'", query) + ")"
    return f"SELECT {outer} FROM {within} AS result({', '.join(inner)})"


def _cast(column: str, kind: str) -> str:
    plain = kind.replace(ZONED, "TIMESTAMP")  # also inside of lists and structs
    return column if plain == kind else f"CAST({column} AS {plain})"


def _quoted(mark: str, text: str) -> str:
    return mark + text.replace(mark, mark * 2) + mark


def _json(rows: Any) -> str:
    return msgspec.json.encode(rows).decode()


@cache
def _sql(name: str) -> str:
    return files("flaredb_analytics").joinpath("sql", name).read_text()
