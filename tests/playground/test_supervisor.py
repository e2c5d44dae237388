"""The supervisor: nothing outlives it, one per folder, what is killed comes back when asked."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

import flaredb
from flaredb.cli.app import make_app
from flaredb.playground.process import Child, ProcessFailed
from flaredb.playground.record import FolderInUse, PlaygroundFolder, PlaygroundRecord, read_record
from flaredb.testing import LocalCluster


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def until(condition: Callable[[], object], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.02)


def child(folder: Path, code: str, ready: str = "") -> Child:
    command = [sys.executable, "-c", code]
    return Child("child", command, os.environ, folder / "child.log", lambda: ready)


def test_a_child_that_ends_says_why(tmp_path: Path) -> None:
    ending = child(tmp_path, "print('what went wrong'); raise SystemExit(3)", "not yet")
    ending.start()
    with pytest.raises(ProcessFailed, match=r"code 3(.|\n)*what went wrong"):
        ending.wait_ready(time.monotonic() + 30)
    assert ending.exit_code == 3 and ending.pid is None


def test_what_is_meant_for_one_start_is_not_said_at_the_next(tmp_path: Path) -> None:
    saying = child(tmp_path, "import os; print(os.environ.get('FLAREDB_FRESH'))")
    for once, said in (({"fresh": "true"}, "true"), ({}, "None")):
        saying.start(once)
        saying.wait(30)
        assert saying.tail().strip() == said
        assert saying.settings.get("FLAREDB_FRESH", "None") == said


def test_a_child_that_does_not_come_up_says_why(tmp_path: Path) -> None:
    stuck = child(tmp_path, "import time; time.sleep(60)", "it thinks")
    stuck.start()
    with pytest.raises(ProcessFailed, match="it thinks"):
        stuck.wait_ready(time.monotonic() + 0.1)
    stuck.kill()
    assert stuck.exit_code == -signal.SIGKILL


def test_a_folder_has_one_playground(tmp_path: Path) -> None:
    first, second = PlaygroundFolder(tmp_path), PlaygroundFolder(tmp_path)
    assert read_record(tmp_path) is None
    first.claim()
    record = PlaygroundRecord(os.getpid(), "nats://x", "", "flaredb")
    first.write(record)
    assert read_record(tmp_path) == record
    with pytest.raises(FolderInUse, match=str(os.getpid())):
        second.claim()
    first.release()
    assert read_record(tmp_path) is None
    second.claim()
    second.write(record)
    second.release()
    (tmp_path / "playground.json").write_text("{}")
    assert read_record(tmp_path) is None


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster(stores=3, analytics=False) as running:
        yield running


@pytest.mark.cluster
def test_a_killed_store_comes_back_with_its_data(cluster: LocalCluster) -> None:
    with cluster.connect(timeout=30.0) as db:
        db.put(b"a", b"1")
        for number in (1, 2, 3):
            cluster.kill_store(number)
            assert cluster.dead() == [f"store-{number}"]
            db.put(b"a", b"%d" % number)
            cluster.start_store(number)
            assert db.get(b"a") == b"%d" % number
        assert cluster.dead() == []


@pytest.mark.cluster
def test_without_a_majority_writes_are_refused_or_open(cluster: LocalCluster) -> None:
    with cluster.connect(timeout=30.0) as db:
        db.put(b"b", b"1")
        cluster.pause("store-1")
        cluster.pause("store-2")
        try:
            with pytest.raises(
                (flaredb.TimeoutError, flaredb.UnavailableError, flaredb.UndeterminedError)
            ):
                db.put(b"b", b"2", timeout=3.0)
        finally:
            cluster.resume("store-1")
            cluster.resume("store-2")
        db.put(b"b", b"3")
        assert db.get(b"b") == b"3"


@pytest.mark.cluster
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_nothing_outlives_a_playground(tmp_path: Path, how: signal.Signals) -> None:
    folder = tmp_path / "playground"
    arguments = ["playground", "--no-analytics", "--dir", str(folder)]
    with (tmp_path / "said").open("wb") as said:
        playground = subprocess.Popen(
            [sys.executable, "-m", "flaredb", *arguments], stdout=said, stderr=said
        )
    try:
        until(lambda: b"Ready" in (tmp_path / "said").read_bytes(), 90)
        record = json.loads((folder / "playground.json").read_text())
        pids = [process["pid"] for process in record["processes"]]
        assert len(pids) == 5 and all(map(alive, pids))
        second = subprocess.run(
            [sys.executable, "-m", "flaredb", *arguments], capture_output=True, text=True
        )
        assert second.returncode == 1 and str(playground.pid) in second.stderr
        playground.send_signal(how)
        playground.wait(60)
        until(lambda: not any(map(alive, pids)))
        if how is not signal.SIGKILL:
            assert playground.returncode == 0
            assert not (folder / "playground.json").exists()
        assert read_record(folder) is None
    finally:
        playground.kill()
        playground.wait()


def test_port_0_is_any_free_port(tmp_path: Path) -> None:
    cluster = LocalCluster(tmp_path, http="127.0.0.1:0")
    assert re.fullmatch(r"http://127\.0\.0\.1:[1-9]\d*", cluster.http_url)
    assert LocalCluster(tmp_path, http="127.0.0.1:7480").http_url == "http://127.0.0.1:7480"


@pytest.mark.cluster
def test_stores_stand_in_the_zones_of_before_until_others_are_given(tmp_path: Path) -> None:
    found = []
    for zones in (3, None, 2, None):
        with (
            LocalCluster(tmp_path, analytics=False, zones=zones) as cluster,
            cluster.connect(timeout=30.0) as db,
        ):
            found.append([row.labels.get("zone") for row in db.stores()])
    three, two = ["zone-1", "zone-2", "zone-3"], ["zone-1", "zone-2", "zone-1"]
    assert found == [three, three, two, two]


@pytest.mark.parametrize("how", ["flag", "environment"])
def test_an_address_that_is_taken_is_refused_before_anything_runs(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        if how == "environment":
            monkeypatch.setenv("FLAREDB_HTTP", address)
        told = ("--http", address) if how == "flag" else ()
        result = CliRunner().invoke(make_app(), ["playground", "--dir", str(tmp_path), *told])
    assert result.exit_code == 1 and result.stdout == ""
    assert f"cannot listen at {address}" in result.stderr and "hint: give it" in result.stderr
    assert "is up" not in result.stderr and not (tmp_path / "logs").exists()
    assert read_record(tmp_path) is None
