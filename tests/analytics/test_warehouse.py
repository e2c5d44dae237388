"""Rows in, answers out; what a broken, foreign or busy file costs."""

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from flaredb_analytics.positions import Cursor, Gap
from flaredb_analytics.rows import EventRow, to_row
from flaredb_analytics.warehouse import FILE_NAME, SqlError, Warehouse
from tests.analytics.facts import (
    CLUSTER,
    EVENTS,
    HEARTBEATS,
    JOURNAL,
    MEMORY,
    START,
    ask,
    elected,
    fact,
    heartbeat,
    of_event,
    record,
    region_report,
    store_records,
)


def test_an_event_keeps_its_columns_and_its_whole_payload(warehouse: Warehouse) -> None:
    store_records(warehouse, EVENTS, of_event(4, elected(region=7, term=9, store=2)))

    (row,) = ask(
        warehouse,
        "SELECT cluster, id, type, epoch_ms(time), region, store, stream, seq, "
        "payload ->> '$.term' FROM events",
    )

    id_ = "7.9.9.leader_changed.0"
    assert row == (CLUSTER, id_, "region.leader_changed", START, 7, 2, EVENTS, 4, "9")


def test_each_event_is_there_once_however_often_it_comes(warehouse: Warehouse) -> None:
    first, second = elected(term=6), elected(term=7)

    store_records(warehouse, EVENTS, of_event(1, first), of_event(2, first))
    store_records(warehouse, EVENTS, of_event(2, first), of_event(3, second))

    assert ask(warehouse, "SELECT seq, payload ->> '$.term' FROM events ORDER BY number") == [
        (1, "6"),
        (3, "7"),
    ]


def test_clusters_that_use_one_name_are_told_apart(warehouse: Warehouse) -> None:
    journal = fact("pd.took_over", 1, pd="a")
    of_another = msgspec.json.encode(msgspec.json.decode(journal) | {"at": START + 1})

    store_records(warehouse, JOURNAL, record(1, journal), record(2, of_another))

    assert ask(warehouse, "SELECT count(*) FROM events") == [(2,)]


def test_what_nobody_knows_is_kept_as_it_came(warehouse: Warehouse) -> None:
    unknown = b'{"type": "region.teleported", "id": "1.2.3", "to": {"planet": [1, 2]}}'
    store_records(
        warehouse,
        EVENTS,
        record(1, unknown),
        record(2, b'{"no": "type"}', **{"ce-type": "io.flaredb.x.y", "ce-id": "named"}),
        record(3, b"\xff\x00 not JSON"),
        record(4, b"[1]"),
        record(5, b"[" * 100_000),
        record(6, b'{"type": 5, "id": [], "at": "soon", "region": -1, "store": 1e99}'),
    )

    rows = ask(warehouse, "SELECT seq, type, id, region, epoch_ms(time) FROM events ORDER BY seq")

    assert rows == [
        (1, "region.teleported", "1.2.3", None, START + 1),
        (2, "x.y", "named", None, START + 2),
        (3, "unreadable", f"{EVENTS}.3.{START + 3}", None, START + 3),
        (4, "unreadable", f"{EVENTS}.4.{START + 4}", None, START + 4),
        (5, "unreadable", f"{EVENTS}.5.{START + 5}", None, START + 5),
        (6, "", f"{EVENTS}.6.{START + 6}", None, START + 6),
    ]
    (planet,) = ask(warehouse, "SELECT payload ->> '$.to.planet[1]' FROM events WHERE seq = 1")
    assert planet == ("2",)


def test_a_heartbeat_becomes_a_row_and_one_per_region(warehouse: Warehouse) -> None:
    beat = heartbeat(2, 1, region_report(1, store=2, end_text="m"), region_report(2, store=2))
    came = record(1, msgspec.json.encode(beat))

    store_records(warehouse, HEARTBEATS, came)
    store_records(warehouse, HEARTBEATS, came)

    assert ask(
        warehouse, "SELECT store, boot, regions, used, cpu, labels ->> '$.zone' FROM heartbeats"
    ) == [(2, 1, 2, 250, 0.5, "a")]
    assert ask(
        warehouse,
        "SELECT region, store, end_key, leader, json_array_length(peers), asleep "
        "FROM region_heartbeats ORDER BY region",
    ) == [(1, 2, "m", 20, 3, False), (2, 2, "", 20, 3, False)]
    assert ask(warehouse, "SELECT count(*) FROM events") == [(0,)]


def test_a_batch_that_fails_leaves_nothing_behind(warehouse: Warehouse) -> None:
    good = to_row(EVENTS, of_event(1, elected()))
    assert isinstance(good, EventRow)
    bad = msgspec.structs.replace(good, id="other", payload="{no JSON")

    with pytest.raises(SqlError):
        warehouse.write(EVENTS, Cursor(START, 2, START), [good, bad], [], START)

    assert ask(warehouse, "SELECT count(*) FROM events") == [(0,)]
    assert warehouse.cursors() == {}


def test_what_was_committed_is_there_after_a_kill(tmp_path: Path) -> None:
    child = subprocess.run(
        [sys.executable, "-m", "tests.analytics.killed_writer", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert child.returncode == -9, child.stderr

    warehouse = Warehouse(tmp_path, MEMORY)

    assert warehouse.set_aside == ""
    assert warehouse.cursors() == {EVENTS: Cursor(START, 20, START + 20)}
    assert ask(warehouse, "SELECT count(*), max(seq) FROM events") == [(20, 20)]
    assert warehouse.next_number == 21
    warehouse.close()


def test_a_second_process_is_told_who_has_the_file(warehouse: Warehouse) -> None:
    folder = warehouse.path.parent
    code = f"from flaredb_analytics.warehouse import *; Warehouse(Path({str(folder)!r}), {MEMORY})"

    child = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )

    assert child.returncode != 0
    assert "WarehouseBusy" in child.stderr
    assert "is open in another process" in child.stderr
    assert not list(folder.glob("*.broken-*"))


@pytest.mark.parametrize("damage", ["garbage", "truncated", "flipped", "other version"])
def test_a_broken_file_is_put_aside_and_begun_anew(tmp_path: Path, damage: str) -> None:
    before = Warehouse(tmp_path, MEMORY)
    rows = [of_event(n, elected(region=n)) for n in range(1, 3_000)]
    store_records(before, EVENTS, *rows)
    before.close()
    _damage(tmp_path / FILE_NAME, damage)

    warehouse = Warehouse(tmp_path, MEMORY)

    assert warehouse.set_aside
    assert len(list(tmp_path.glob(f"{FILE_NAME}.broken-*"))) == 1
    assert warehouse.cursors() == {}
    store_records(warehouse, EVENTS, *rows)
    assert ask(warehouse, "SELECT count(*) FROM events") == [(2_999,)]
    warehouse.close()


def test_a_warehouse_is_rebuilt_under_its_readers(warehouse: Warehouse) -> None:
    store_records(warehouse, EVENTS, of_event(1, elected()))

    warehouse.rebuild("a test")

    assert warehouse.set_aside == "a test"
    assert ask(warehouse, "SELECT count(*) FROM events") == [(0,)]
    assert warehouse.next_number == 1
    store_records(warehouse, EVENTS, of_event(1, elected()))
    assert ask(warehouse, "SELECT number FROM events") == [(1,)]


def test_gaps_are_rows(warehouse: Warehouse) -> None:
    warehouse.write(EVENTS, Cursor(START, 9, 0), [], [Gap(3, 9, "retention", "5 records")], START)

    assert ask(warehouse, "SELECT stream, after_seq, before_seq, reason, detail FROM gaps") == [
        (EVENTS, 3, 9, "retention", "5 records")
    ]


def test_old_heartbeats_are_forgotten(warehouse: Warehouse) -> None:
    week = 7 * 86_400
    beats = [heartbeat(1, n, region_report(), seconds=n * week / 2) for n in range(3)]
    store_records(
        warehouse,
        HEARTBEATS,
        *(record(n, msgspec.json.encode(beat)) for n, beat in enumerate(beats, 1)),
    )

    warehouse.prune(START + int(1.2 * week * 1_000))

    assert ask(warehouse, "SELECT id FROM heartbeats ORDER BY id") == [("1.1.1",), ("1.1.2",)]
    assert ask(warehouse, "SELECT count(*) FROM region_heartbeats") == [(2,)]


def test_a_folder_that_is_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(OSError, match="file"):
        Warehouse(tmp_path / "file", MEMORY)


def _damage(path: Path, how: str) -> None:
    if how == "other version":
        code = (
            f"import duckdb; c = duckdb.connect({str(path)!r});"
            "c.execute('UPDATE version SET version = 99'); c.close()"
        )
        subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
        return
    content = bytearray(path.read_bytes())
    if how == "garbage":
        content[:] = b"this was never a database\n" * 1_000
    elif how == "truncated":
        del content[len(content) // 2 :]
    else:
        for place in range(16_384, len(content), 4_096):
            content[place] ^= 0xFF
    path.write_bytes(content)
