"""Commands that need no cluster, and what the others say where there is none."""

import json
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from flaredb import cli
from flaredb.bus import login
from flaredb.cli.app import make_app
from flaredb.playground.programs import masked
from flaredb.playground.record import (
    RECORD,
    PlaygroundFolder,
    PlaygroundRecord,
    ProcessRecord,
)
from flaredb.runtime.settings import KINDS, ClientSettings, PlaygroundSettings
from flaredb.runtime.settings_sources import describe

runner = CliRunner()


def invoke(*arguments: str) -> "tuple[int, str, str]":
    result = runner.invoke(make_app(), list(arguments))
    return result.exit_code, result.stdout, result.stderr


@pytest.mark.parametrize(
    "command",
    [
        ("status",),
        ("get", "a"),
        ("put", "a", "1"),
        ("scan",),
        ("region", "list"),
        ("store", "list"),
        ("events",),
    ],
)
def test_where_nothing_runs(command: tuple[str, ...], tmp_path: Path) -> None:
    code, out, err = invoke(*command, "--dir", str(tmp_path))
    assert (code, out) == (5, "")
    assert "no playground runs" in err and "hint:" in err


def test_where_no_nats_answers() -> None:
    code, _, err = invoke("get", "a", "--nats", "nats://127.0.0.1:9", "-o", "json")
    assert code == 5 and json.loads(err)["error"]["code"] == "unavailable"


def test_sql_where_no_analytics_answers(tmp_path: Path) -> None:
    code, _, err = invoke("sql", "select 1", "--dir", str(tmp_path), "--http", "127.0.0.1:9")
    assert code == 5 and "analytics does not answer" in err


class Slow(BaseHTTPRequestHandler):
    """Analytics that has stopped the statement when its own limit was over."""

    def do_POST(self) -> None:
        body = b'{"detail": "it was stopped after 30 s"}'
        self.send_response(504)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the command's output is looked at."""


def test_sql_that_is_too_slow_says_so() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        at = f"127.0.0.1:{silent.getsockname()[1]}"
        code, _, err = invoke("sql", "select 1", "--http", at, "--timeout", "0.2")
    assert code == 5 and "no answer after 0.2 s: it is too slow" in err
    assert "hint: give it more time: --timeout" in err
    with HTTPServer(("127.0.0.1", 0), Slow) as analytics:
        threading.Thread(target=analytics.handle_request).start()
        at = f"127.0.0.1:{analytics.server_port}"
        code, _, err = invoke("sql", "select 1", "--http", at)
    assert code == 5 and "the statement is too slow: it was stopped after 30 s" in err
    assert "--timeout" in err


def test_sql_asks_no_other_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what is known to belong to the cluster that is named is asked."""
    monkeypatch.setenv("FLAREDB_DIR", str(tmp_path))
    code, _, err = invoke("sql", "select 1")
    assert code == 5 and "no playground runs" in err and "--http" in err
    folder = PlaygroundFolder(tmp_path)
    folder.claim()
    try:
        folder.write(PlaygroundRecord(3, "nats://mine", "http://127.0.0.1:9", "flaredb"))
        for mine in ((), ("--nats", "nats://mine")):
            code, _, err = invoke("sql", "select 1", *mine)
            assert code == 5 and "does not answer at http://127.0.0.1:9" in err, mine
        other = "analytics of the cluster at nats://other answers"
        code, _, err = invoke("sql", "select 1", "--nats", "nats://other")
        assert code == 5 and other in err and "--http" in err
        monkeypatch.setenv("FLAREDB_NATS_URL", "nats://other")
        code, _, err = invoke("sql", "select 1")
        assert code == 5 and other in err
        monkeypatch.setenv("FLAREDB_NATS_URL", "nats://mine")
        monkeypatch.setenv("FLAREDB_PREFIX", "another")
        assert "is not known" in invoke("sql", "select 1")[2]
        code, _, err = invoke("sql", "select 1", "--http", "127.0.0.1:9")
        assert code == 5 and "does not answer at http://127.0.0.1:9" in err
        monkeypatch.undo()
        folder.write(PlaygroundRecord(3, "nats://mine", "", "flaredb"))
        code, _, err = invoke("sql", "select 1", "--dir", str(tmp_path))
        assert code == 5 and "without analytics" in err
    finally:
        folder.release()


def test_every_command_has_examples() -> None:
    def visit(command: object, path: str) -> None:
        children = getattr(command, "commands", {})
        for name, child in children.items():
            visit(child, f"{path} {name}")
        if not children:
            epilog = getattr(command, "epilog", None) or ""
            assert f"flaredb{path.removeprefix('flaredb')}" in epilog, path

    visit(get_command(make_app()), "flaredb")


def test_help_promises_only_what_is_there() -> None:
    """No console yet, and no setting of the command line that nothing reads."""
    for kind in KINDS.values():
        assert not [each.name for each in describe(kind) if "console" in each.description]
    assert "console" not in invoke("playground", "--help")[1].lower()
    source = "".join(path.read_text() for path in Path(cli.__path__[0]).glob("*.py"))
    source += Path(login.__file__).read_text()
    for kind in (ClientSettings, PlaygroundSettings):
        own = {each.name for each in describe(kind)} - {"ops", "log_level", "log_format"}
        assert not {name for name in own if f"ettings.{name}" not in source}, kind


def test_usage_errors() -> None:
    assert invoke("cas", "only-a-key", "old")[0] == 2
    assert invoke("nonsense")[0] == 2
    assert invoke("get")[0] == 2
    assert invoke("get", "a", "-o", "yaml")[0] == 2
    assert invoke("get", "a", "--timeout", "-1")[0] == 2


def test_settings_and_their_origin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toml = tmp_path / "flaredb.toml"
    toml.write_text('[store]\ntick_ms = 50\n[client]\nnats_password = "x"\nnats_user = "me"\n')
    monkeypatch.setenv("FLAREDB_ELECTION_TICKS", "20")
    shown = ("config", "show", "--origin", "-o", "json", "--config", str(toml))
    code, out, _ = invoke(*shown, "--of", "store")
    settings = {each["name"]: each for each in json.loads(out)}
    assert code == 0
    assert settings["tick_ms"]["value"] == 50 and str(toml) in settings["tick_ms"]["origin"]
    assert "FLAREDB_ELECTION_TICKS" in settings["election_ticks"]["origin"]
    assert settings["heartbeat_ticks"]["origin"] == "default"
    _, out, _ = invoke(*shown, "--of", "client")
    assert '"x"' not in out
    toml.write_text("nonsense = 1\n")
    code, _, err = invoke(*shown)
    assert code == 2 and "nonsense" in err


def test_settings_of_a_process_that_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLAREDB_SPLIT_KEYS", "7")
    shown = ("config", "show", "--origin", "-o", "json", "--dir", str(tmp_path))
    code, _, err = invoke(*shown, "--running", "store-1")
    assert code == 5 and "no playground runs" in err
    folder = PlaygroundFolder(tmp_path)
    folder.claim()
    given = {"FLAREDB_SPLIT_KEYS": "1000", "FLAREDB_NATS_USER": "me", "FLAREDB_NATS_PASSWORD": "x"}
    processes = (
        ProcessRecord("nats", 1, ""),
        ProcessRecord("store-1", 2, "", settings=masked(given)),
    )
    folder.write(PlaygroundRecord(3, "nats://x", "", "flaredb", processes))
    try:
        assert '"x"' not in (tmp_path / RECORD).read_text()
        code, out, _ = invoke(*shown, "--running", "store-1")
        settings = {each["name"]: each for each in json.loads(out)}
        assert code == 0 and settings["split_keys"]["value"] == 1_000
        assert settings["split_keys"]["origin"] == "environment FLAREDB_SPLIT_KEYS"
        assert settings["tick_ms"]["origin"] == "default"
        code, _, err = invoke(*shown, "--running", "nats")
        assert code == 3 and "store-1" in err
        code, out, err = invoke(*shown, "--of", "store")
        settings = {each["name"]: each for each in json.loads(out)}
        assert settings["split_keys"]["value"] == 7 and "--running" in err
    finally:
        folder.release()


def test_version_and_module() -> None:
    said = subprocess.run(
        [sys.executable, "-m", "flaredb", "--version"], capture_output=True, text=True, check=True
    )
    assert said.stdout.startswith("flaredb ")


def test_without_its_extra_it_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['rich'] = None; sys.argv = ['flaredb', 'get', 'a'];"
        "import importlib.util as u; find = u.find_spec;"
        "u.find_spec = lambda name, *a: None if name == 'rich' else find(name, *a);"
        "from flaredb.cli.main import main; main()"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert said.returncode == 1
    assert said.stderr == "flaredb: the command line needs: pip install 'flaredb[cli]'\n"
