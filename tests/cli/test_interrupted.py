"""Ctrl-C amid an import, an export, a scan, and readers who have had enough."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from flaredb.cli.transfer import completed_file
from flaredb.testing import LocalCluster

pytestmark = pytest.mark.cluster

INTERRUPTED = 128 + signal.SIGINT


def start(cluster: LocalCluster, *arguments: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "flaredb", *arguments, "--dir", str(cluster.path)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.02)


def test_import_says_where_to_go_on(cluster: LocalCluster) -> None:
    """The pipe stays open, so the command waits for more when it is interrupted."""
    process = start(cluster, "import", "-", "--no-progress")
    assert process.stdin is not None
    for number in range(1, 401):
        process.stdin.write(f'{{"key": "stop:{number:03}", "value": ""}}\n')
    process.stdin.flush()
    with cluster.connect() as db:
        until(lambda: db.get(b"stop:100") is not None)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
        assert process.returncode == INTERRUPTED, said
        assert "Traceback" not in said
        line = int(said.rpartition("--from-line ")[2])
        written = [key for key, _ in db.scan(prefix=b"stop:")]
    assert 100 < line <= 401
    assert written[: line - 1] == [b"stop:%03d" % number for number in range(1, line)]


@pytest.mark.parametrize("command", [["put", "key", "-"], ["sql", "-"]])
def test_waiting_for_input_ends(cluster: LocalCluster, command: list[str]) -> None:
    process = start(cluster, *command)
    until(lambda: _is_reading(process.pid))
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (INTERRUPTED, "")


def _is_reading(pid: int) -> bool:
    """Whether a process waits for its standard input."""
    return "pipe_read" in Path(f"/proc/{pid}/wchan").read_text()


def test_following_ends_quietly(cluster: LocalCluster) -> None:
    process = start(cluster, "events", "-f")
    assert process.stdout is not None and process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (INTERRUPTED, "")


@pytest.mark.parametrize("command", [["scan"], ["scan", "-o", "jsonl"], ["export", "-"]])
def test_a_reader_who_has_had_enough(cluster: LocalCluster, command: list[str]) -> None:
    """As `| head -1`, with more to come than a pipe holds."""
    with cluster.connect() as db:
        for number in range(20):
            db.put(b"much:%02d" % number, bytes(50_000))
    with start(cluster, *command, "--prefix", "much:") as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.read(10)
        process.stdout.close()
        said = process.stderr.read()
    assert process.returncode == 0 and "rror" not in said, said


def test_export_to_nowhere(cluster: LocalCluster, tmp_path: Path) -> None:
    process = start(cluster, "export", str(tmp_path / "nowhere" / "rows"))
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1 and "cannot write" in said and "hint:" in said


def test_a_file_appears_when_it_is_complete(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), completed_file(tmp_path / "rows") as target:
        target.write("half of it")
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())
    with completed_file(tmp_path / "rows") as target:
        target.write("all of it")
    assert [path.name for path in tmp_path.iterdir()] == ["rows"]


def test_nothing_takes_the_place_of_a_link_or_a_pipe(tmp_path: Path) -> None:
    link, pipe = tmp_path / "link", tmp_path / "pipe"
    link.symlink_to(tmp_path / "rows")
    with completed_file(link) as target:
        target.write("through the link")
    assert link.is_symlink() and (tmp_path / "rows").read_text() == "through the link"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    with completed_file(pipe) as target:
        target.write("through the pipe")
    assert os.read(reader, 100) == b"through the pipe" and pipe.is_fifo()
    os.close(reader)
