"""What may be asked, what may not, and what asking can never do."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from flaredb.runtime.clock import SystemClock
from flaredb_analytics.queries import Answer, Queries, Refusal, plain
from flaredb_analytics.warehouse import Warehouse
from tests.analytics.facts import EVENTS, ask, elected, of_event, store_records

pytestmark = pytest.mark.anyio


@pytest.fixture
async def queries(warehouse: Warehouse) -> AsyncIterator[Queries]:
    """Questions to a warehouse with three elections, with tight limits."""
    records = [of_event(n, elected(region=n)) for n in (1, 2, 3)]
    store_records(warehouse, EVENTS, *records)
    opened = Queries(warehouse, SystemClock(), seconds=1.0, max_rows=1_000)
    yield opened
    opened.close()


async def rows_of(queries: Queries, query: str) -> list[list[object]]:
    answer = await queries.ask(query)
    assert isinstance(answer, Answer), answer
    return [msgspec.json.decode(row) for row in answer.rows]


@pytest.mark.parametrize(
    "query",
    [
        "SELECT region FROM events ORDER BY region",
        "FROM (SELECT region FROM events) ORDER BY 1;",
        "WITH r AS (SELECT region FROM events) SELECT * FROM r ORDER BY 1 -- why not",
        "VALUES (1), (2), (3)",
        "/* regions */ SELECT unnest([1, 2, 3])",
    ],
)
async def test_what_reads_is_answered(queries: Queries, query: str) -> None:
    assert await rows_of(queries, query) == [[1], [2], [3]]


@pytest.mark.parametrize(
    "query", ["EXPLAIN FROM events", "SUMMARIZE events", "DESCRIBE events", "SHOW TABLES"]
)
async def test_what_describes_is_answered(queries: Queries, query: str) -> None:
    assert await rows_of(queries, query)


async def test_an_answer_names_columns_and_types(queries: Queries) -> None:
    answer = await queries.ask("SELECT region AS r, time, payload FROM events WHERE region = 1")

    assert isinstance(answer, Answer)
    assert answer.columns == ["r", "time", "payload"]
    assert answer.types == ["BIGINT", "TIMESTAMP", "JSON"]
    assert answer.cut == ""
    assert answer.seconds < 1


@pytest.mark.parametrize(
    "query",
    [
        "INSERT INTO events SELECT * FROM events",
        "UPDATE events SET region = 9",
        "DELETE FROM events",
        "DROP TABLE events",
        "CREATE TABLE t AS SELECT 1",
        "CREATE TEMP TABLE t AS SELECT 1",
        "CREATE MACRO f() AS 1",
        "ALTER TABLE events ADD COLUMN x INT",
        "COPY events TO '/tmp/stolen.csv'",
        "COPY (SELECT 1) TO '/tmp/stolen.parquet' (FORMAT parquet)",
        "EXPORT DATABASE '/tmp/stolen'",
        "ATTACH '/tmp/other.duckdb' AS other",
        "DETACH placement",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET memory_limit = '64GB'",
        "RESET memory_limit",
        "PRAGMA memory_limit = '64GB'",
        "PRAGMA database_list",
        "CALL pragma_version()",
        "BEGIN",
        "COMMIT",
        "ROLLBACK",
        "CHECKPOINT",
        "VACUUM",
        "PREPARE p AS SELECT 1",
        "EXECUTE p",
        "USE memory",
        "SELECT 1; SELECT 2",
        "COMMIT; DELETE FROM events",
        "SELECT 1; DELETE FROM events; SELECT 1",
        "",
        ";",
        "-- nothing",
    ],
)
async def test_what_does_not_read_is_refused(
    queries: Queries, warehouse: Warehouse, query: str
) -> None:
    refusal = await queries.ask(query)

    assert isinstance(refusal, Refusal)
    assert refusal.why == "refused"
    assert ask(warehouse, "SELECT count(*) FROM events") == [(3,)]


@pytest.mark.parametrize(
    "query",
    [
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT * FROM read_blob('/proc/self/environ')",
        "SELECT * FROM glob('/etc/*')",
        "SELECT * FROM '/etc/passwd'",
        "FROM '/etc/hosts.csv'",
        "SELECT * FROM read_json('http://127.0.0.1:1/x')",
        "SELECT * FROM read_parquet('https://example.invalid/x.parquet')",
        "SELECT getenv('HOME')",
        "FROM duckdb_secrets()",
        "FROM enable_logging(storage_path = '/tmp/log')",
        "FROM enable_profiling()",
        "WITH x AS (INSERT INTO events SELECT * FROM events RETURNING *) FROM x",
        "WITH x AS (DELETE FROM events RETURNING *) SELECT count(*) FROM x",
        "EXPLAIN ANALYZE DELETE FROM events",
        "FROM query('DELETE FROM events')",
        "SELECT no_such_function()",
        "SELECT FROM WHERE",
    ],
)
async def test_what_reads_elsewhere_or_writes_on_the_way_fails(
    queries: Queries, warehouse: Warehouse, query: str
) -> None:
    refusal = await queries.ask(query)

    assert isinstance(refusal, Refusal)
    assert refusal.why == "failed"
    assert ask(warehouse, "SELECT count(*) FROM events") == [(3,)]


async def test_the_owner_still_reaches_its_history_folder(
    warehouse: Warehouse, tmp_path: Path
) -> None:
    sealed = warehouse.path.parent / "history" / "part.parquet"

    warehouse._connection.execute(f"COPY (SELECT 42 AS n) TO '{sealed}' (FORMAT parquet)")

    assert ask(warehouse, f"SELECT n FROM '{sealed}'") == [(42,)]


async def test_a_statement_without_end_is_stopped(queries: Queries) -> None:
    began = time.monotonic()

    refusal = await queries.ask("SELECT count(*) FROM range(1000000000) a, range(1000000000) b")

    assert refusal == Refusal("time", "it was stopped after 1 s")
    assert time.monotonic() - began < 10
    assert queries.under_way == 0


async def test_a_result_without_end_is_cut(queries: Queries) -> None:
    by_rows = await queries.ask("SELECT * FROM range(100000000)")
    by_bytes = await queries.ask("SELECT repeat('x', 1000000) FROM range(100)")

    assert isinstance(by_rows, Answer) and isinstance(by_bytes, Answer)
    assert (len(by_rows.rows), by_rows.cut) == (1_000, "rows")
    assert (len(by_bytes.rows), by_bytes.cut) == (16, "bytes")


async def test_a_result_of_just_the_limit_is_whole(queries: Queries) -> None:
    answer = await queries.ask("SELECT * FROM range(1000)")

    assert isinstance(answer, Answer)
    assert (len(answer.rows), answer.cut) == (1_000, "")


async def test_what_needs_too_much_memory_is_refused(queries: Queries) -> None:
    refusal = await queries.ask("SELECT list(range) FROM range(500000000)")

    assert isinstance(refusal, Refusal)
    assert refusal.why in ("memory", "time")


async def test_too_long_a_statement_is_refused_unread(queries: Queries) -> None:
    refusal = await queries.ask(f"SELECT '{'x' * 70_000}'")

    assert isinstance(refusal, Refusal)
    assert refusal.why == "refused"


async def test_too_many_statements_are_told_to_come_later(queries: Queries) -> None:
    endless = "SELECT count(*) FROM range(1000000000) a, range(1000000000) b"

    answers = await asyncio.gather(
        *(queries.ask(endless if n < 3 else "SELECT 1") for n in range(25))
    )

    refused = [a.why for a in answers if isinstance(a, Refusal)]
    assert refused.count("busy") == 25 - 19
    assert refused.count("time") == 3
    assert sum(isinstance(answer, Answer) for answer in answers) == 16


async def test_writing_goes_on_while_statements_run(queries: Queries, warehouse: Warehouse) -> None:
    endless = asyncio.create_task(
        queries.ask("SELECT count(*) FROM events a, range(1000000000) b, range(1000) c")
    )
    written = 0
    while not endless.done():
        record = of_event(10 + written, elected(region=100 + written))
        await asyncio.to_thread(store_records, warehouse, EVENTS, record)
        written += 1

    assert isinstance(await endless, Refusal)
    assert written > 5
    assert await rows_of(queries, "SELECT count(*) FROM events") == [[3 + written]]


async def test_values_of_every_kind_are_json(queries: Queries) -> None:
    (row,) = await rows_of(
        queries,
        "SELECT 1::HUGEINT * 9223372036854775807 * 4, 'nan'::DOUBLE, 1.5::DECIMAL(4, 2), "
        "'a'::BLOB, [1, NULL], {'k': 'v'}, MAP {1: true}, DATE '2026-11-23', "
        "TIMESTAMP '2026-11-23 10:00:00.5', INTERVAL 90 SECOND, NULL, "
        "uuid '00000000-0000-0000-0000-000000000001'",
    )

    assert row == [
        "36893488147419103228",
        None,
        "1.50",
        "YQ==",
        [1, None],
        {"k": "v"},
        {"1": True},
        "2026-11-23",
        "2026-11-23T10:00:00.500Z",
        "0:01:30",
        None,
        "00000000-0000-0000-0000-000000000001",
    ]


@pytest.mark.parametrize(
    ("query", "row"),
    [
        ("SELECT TIMESTAMPTZ '2026-11-23 10:00:00.5+02'", ["2026-11-23T08:00:00.500Z"]),
        (
            'SELECT [TIMESTAMPTZ \'2026-11-23 10:00:00+02\', NULL] AS "a""b", '
            "{'k': TIMESTAMPTZ '2026-11-23 10:00:00+00'}, 'it''s; --' /* ; */ ; -- ;",
            [["2026-11-23T08:00:00.000Z", None], {"k": "2026-11-23T10:00:00.000Z"}, "it's; --"],
        ),
    ],
)
async def test_moments_with_a_time_zone_are_told_in_utc(
    queries: Queries, query: str, row: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pytz", None)  # it need not be there

    assert await rows_of(queries, query) == [row]


async def test_now_can_be_asked_for(queries: Queries) -> None:
    answer = await queries.ask("SELECT current_timestamp, time AS t, region AS t FROM events")

    assert isinstance(answer, Answer), answer
    assert answer.columns == ["current_timestamp", "t", "t"]
    assert len(answer.rows) == 3 and b'Z"' in bytes(answer.rows[0])


async def test_rows_with_a_time_zone_keep_their_order(queries: Queries) -> None:
    rows = await rows_of(
        queries, "SELECT n, now() FROM range(1000) t(n) ORDER BY hash(n) DESC LIMIT 900"
    )
    plain_rows = await rows_of(
        queries, "SELECT n FROM range(1000) t(n) ORDER BY hash(n) DESC LIMIT 900"
    )

    assert [row[0] for row in rows] == [row[0] for row in plain_rows]


def test_plain_leaves_ordinary_values_alone() -> None:
    assert [plain(value) for value in (None, True, "x", 5, -1.5)] == [None, True, "x", 5, -1.5]
