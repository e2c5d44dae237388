"""Wrong arguments, missing files, closed pipes: an error with what to do, and never a traceback."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from flaredb.cli.app import make_app
from flaredb.cli.output import ExitCode, NotFoundError, exit_code
from flaredb.client import errors
from flaredb.playground.record import RECORD
from tests.nats_server import NatsServer, nats_server

__all__ = ["nats_server"]

NOWHERE = "nats://127.0.0.1:9"
FULL = Path("/dev/full")


def flaredb(*arguments: str | bytes, **environment: str) -> "tuple[int, str]":
    """Exit code and standard error of a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "flaredb", *arguments],
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("code", "command"),
    [
        (1, ["playground", "--dir", "/proc/x"]),
        (1, ["playground", "--dir", "/dev/null"]),
        (1, ["demo", "--dir", "/proc/x"]),
        (2, ["playground", "--stores", "0"]),
        (2, ["playground", "--stores", "2", "--dir", "/proc/x"]),
        (2, ["playground", "--http", "nonsense"]),
        (2, ["import", "/nowhere/rows.jsonl", "--nats", NOWHERE]),
        (2, ["status", "--nats", ""]),
        (5, ["status", "--nats", "nats://[::1"]),
        (1, ["export", "/nowhere/rows.jsonl", "--nats", NOWHERE]),
        (1, ["export", "/proc/rows.jsonl", "--nats", NOWHERE]),
        (1, ["export", "/", "--nats", NOWHERE]),
        (5, ["sql", "select 1", "--http", "http://[::"]),
        (5, ["sql", "select 1", "--http", "foo bar"]),
        (2, ["config", "show", "--config", "/nowhere.toml"]),
        (2, ["get", "zz", "--as", "hex", "--nats", NOWHERE]),
        (2, ["events", "--since", "yesterday", "--nats", NOWHERE]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else str(value),
)
def test_what_cannot_be_done(code: int, command: list[str]) -> None:
    result = CliRunner().invoke(make_app(), command)
    assert (result.exit_code, result.stdout) == (code, "")
    assert "error:" in result.stderr and "hint:" in result.stderr, result.stderr


@pytest.mark.parametrize(
    ("name", "code", "said"),
    [("FLAREDB_NATS_CREDS", 5, "nkeys"), ("FLAREDB_NATS_CA", 2, "nats_ca")],
)
def test_a_login_that_is_not_there(
    name: str, code: int, said: str, monkeypatch: pytest.MonkeyPatch, nats_server: NatsServer
) -> None:
    monkeypatch.setenv(name, "/nowhere")
    result = CliRunner().invoke(make_app(), ["status", "--nats", nats_server.url])
    assert result.exit_code == code and said in result.stderr and "hint:" in result.stderr


def test_a_folder_to_export_to_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    said = CliRunner().invoke(make_app(), ["export", str(tmp_path), "--nats", NOWHERE]).stderr
    assert "it is a folder" in said and str(tmp_path / "rows.jsonl") in said
    assert not list(tmp_path.iterdir()) and not list(tmp_path.parent.glob("*.unfinished"))


@pytest.mark.parametrize(
    ("arguments", "environment", "named"),
    [
        (["--timeout", "4000"], {}, "(flag --timeout)"),
        (["--nats", ""], {}, "(flag --nats)"),
        (["--timeout", "4000"], {"FLAREDB_TIMEOUT_SECONDS": "2"}, "(flag --timeout)"),
        ([], {"FLAREDB_TIMEOUT_SECONDS": "x"}, "(environment FLAREDB_TIMEOUT_SECONDS)"),
        ([], {"FLAREDB_NATS_CA": "/nowhere"}, "(environment FLAREDB_NATS_CA)"),
    ],
)
def test_a_bad_setting_is_told_as_it_was_given(
    arguments: list[str], environment: dict[str, str], named: str
) -> None:
    environment = {"FLAREDB_NATS_URL": NOWHERE, **environment}
    result = CliRunner().invoke(make_app(), ["status", *arguments], env=environment)
    assert result.exit_code == 2 and named in result.stderr, result.stderr


def test_a_setting_of_the_wrong_form_is_told_in_words() -> None:
    said = CliRunner().invoke(make_app(), ["playground", "--http", "nonsense"]).stderr
    assert "'nonsense' has not the form of: host:port" in said and "^" not in said


def test_connecting_takes_no_longer_than_a_call_may() -> None:
    """Where nobody listens, and where somebody does who says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        for url in (NOWHERE, f"nats://127.0.0.1:{silent.getsockname()[1]}"):
            begun = time.monotonic()
            arguments = ["status", "--nats", url, "--timeout", "0.3"]
            result = CliRunner().invoke(make_app(), arguments)
            assert time.monotonic() - begun < 3.0
            assert result.exit_code == 5 and "within 0.3 s" in result.stderr


@pytest.mark.parametrize("garbage", [b"{garbage", b"\xff\xfe", b"[]", b'{"pid": "x"}'])
def test_garbage_in_a_playground_folder(garbage: bytes, tmp_path: Path) -> None:
    (tmp_path / RECORD).write_bytes(garbage)
    result = CliRunner().invoke(make_app(), ["status", "--dir", str(tmp_path)])
    assert result.exit_code == 5 and "no playground runs" in result.stderr


def test_a_key_that_looks_like_an_option() -> None:
    code, said = flaredb("get", "-k", COLUMNS="200")
    assert code == 2 and "flaredb get -- -k" in said
    code, said = flaredb("get", "--nats", NOWHERE, "--", "-k")
    assert code == 5 and "Traceback" not in said


@pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")
def test_output_that_cannot_be_written() -> None:
    with FULL.open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "flaredb", "config", "show", "-o", "json"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert done.returncode == 1
    assert "No space left" in json.loads(done.stderr)["error"]["message"]


@pytest.mark.parametrize("form", ["table", "json"])
def test_a_reader_who_has_had_enough(form: str) -> None:
    """As `| head -1`: the pipe is closed before anything is written."""
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "flaredb", "config", "show", "--of", "store", "-o", form],
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (0, "")


def test_every_kind_of_error_says_what_to_do() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    kinds = [kind for kind in kinds if issubclass(kind, errors.FlareDBError)]
    assert len(kinds) > 8
    for kind in (*kinds, NotFoundError):
        needed = {"actual": None} if issubclass(kind, errors.ConflictError) else {}
        error = kind("what happened", **needed)
        assert error.hint, kind
        assert kind("x", hint="do this", **needed).hint == "do this"
        assert exit_code(error) is not ExitCode.OK


def test_ctrl_c_while_the_command_is_loaded() -> None:
    """As a user who thinks better of it at once."""
    code = (
        "import sys, builtins; load = builtins.__import__; sys.argv = ['flaredb', 'status']\n"
        "def interrupted(name, *rest):\n"
        "    if name == 'flaredb.cli.app':\n"
        "        raise KeyboardInterrupt\n"
        "    return load(name, *rest)\n"
        "from flaredb.cli.main import main\n"
        "builtins.__import__ = interrupted; main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (130, "")
