"""Every command against real processes."""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from flaredb.cli.app import make_app
from flaredb.testing import LocalCluster

pytestmark = pytest.mark.cluster

Run = Callable[..., str]


@pytest.fixture
def run(cluster: LocalCluster) -> Run:
    """Run a command on the cluster; returns what it prints, after its exit code was checked."""

    def invoke(*arguments: str, code: int = 0, input: str | None = None) -> str:
        at = ["--dir", str(cluster.path), "--timeout", "20"]
        result = CliRunner().invoke(make_app(), [*arguments, *at], input=input)
        assert result.exit_code == code, result.output
        return result.stdout if code == 0 else result.stderr

    return invoke


def told(text: str) -> Any:
    return json.loads(text)


def test_keys(run: Run) -> None:
    assert run("put", "key:a", "Ünï") == "OK\n"
    assert run("get", "key:a") == "Ünï\n"
    assert run("get", "key:a", "--raw") == "Ünï"
    shown = told(run("get", "key:a", "-o", "json"))
    assert base64.b64decode(shown["value_b64"]).decode() == "Ünï" and shown["key"] == "key:a"
    run("put", "key:b", "-", input="from standard input")
    assert run("get", "key:b") == "from standard input\n"
    run("put", "6b65793a63", "00ff", "--as", "hex")
    assert run("get", "key:c") == "\\x00\\xff\n"
    run("del", "key:a")
    assert "no key" in run("get", "key:a", code=3)


def test_compare_and_swap(run: Run) -> None:
    run("cas", "cas:a", "--absent", "1")
    assert "holds 1" in run("cas", "cas:a", "--absent", "2", code=4)
    run("cas", "cas:a", "1", "2")
    assert "holds 2" in run("cas", "cas:a", "1", "3", code=4)


def test_scan(run: Run) -> None:
    for key in ("scan:1", "scan:2", "zcan:3"):
        run("put", key, f"v\t{key}")
    assert run("scan", "--prefix", "scan:") == "scan:1\tv\\tscan:1\nscan:2\tv\\tscan:2\n"
    keys = [told(line)["key"] for line in run("scan", "scan:", "-o", "jsonl").splitlines()]
    assert keys[:2] == ["scan:1", "scan:2"] and "zcan:3" in keys
    rows = told(run("scan", "scan:", "zcan:9", "--limit", "2", "--reverse", "-o", "json"))
    assert [row["key"] for row in rows] == ["zcan:3", "scan:2"]


def test_export_and_import(run: Run, tmp_path: Path) -> None:
    for number in range(5):
        run("put", f"move:{number}", f"\x00{number}")
    file = tmp_path / "rows.jsonl"
    run("export", str(file), "--prefix", "move:")
    lines = file.read_text().splitlines()
    assert len(lines) == 5
    for number in range(5):
        run("del", f"move:{number}")
    assert told(run("import", str(file), "-o", "json")) == {"rows": 5}
    assert run("get", "move:3", "--raw") == "\x003"
    file.write_text('{"key": "move:text", "value": "a\\\\x00b"}\n')
    run("import", str(file))
    assert run("get", "move:text", "--raw") == "a\x00b"
    file.write_text('{"key": "move:64", "value": "a\\\\\\\\", "value_b64": "YVw="}\n')
    run("import", str(file))
    assert run("get", "move:64", "--raw") == "a\\"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "line 2"),
        ("[]", "one JSON object"),
        ('{"key": "a"}', "value"),
        ('{"key_b64": "?", "value": ""}', "line 2"),
        ('{"key": "", "value": ""}', "empty"),
        ('{"key": "a\\\\q", "value": ""}', "escape"),
        ('{"key": 1, "value": ""}', "line 2"),
        ('{"key": "a", "value": "b", "value_b64": "YQ=="}', "value and value_b64 are not the same"),
    ],
)
def test_import_names_the_line_that_is_wrong(
    run: Run, tmp_path: Path, line: str, reason: str
) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text('{"key": "before", "value": "1"}\n' + line + "\n")
    said = run("import", str(file), code=2)
    assert "line 2" in said and reason in said and "--from-line 2" in said
    assert run("get", "before") == "1\n"


def test_status_and_placement(run: Run, cluster: LocalCluster) -> None:
    status = told(run("status", "-o", "json"))
    assert status["ready"] and status["regions"] == 2 and status["nats"] == cluster.url
    regions = told(run("region", "list", "-o", "json"))
    wanted = {"id", "start", "end", "leader", "peers", "version", "conf_ver", "keys", "bytes"}
    assert all(wanted | {"start_b64", "end_b64"} <= region.keys() for region in regions)
    assert [(region["start"], region["end"]) for region in regions] == [("", "m"), ("m", "")]
    number = regions[0]["id"]
    assert told(run("region", "show", str(number), "-o", "json"))["id"] == number
    assert "no region 999" in run("region", "show", "999", code=3)
    stores = told(run("store", "list", "-o", "json"))
    assert [store["id"] for store in stores] == [1, 2, 3]
    assert told(run("store", "show", "2", "-o", "json"))["state"] == "up"
    assert "no store 9" in run("store", "show", "9", code=3)
    assert "stores" in run("region", "list") and "regions" in run("store", "list")


def test_every_command_speaks_json(run: Run, tmp_path: Path) -> None:
    """One object where there is one thing, a list where there may be many, and so in each line."""
    rows = tmp_path / "rows.jsonl"
    objects = (
        ("put", "json:a", "1"),
        ("get", "json:a"),
        ("cas", "json:a", "1", "1"),
        ("status",),
        ("region", "show", "4"),
        ("region", "check", "4"),
        ("store", "show", "1"),
        ("export", str(rows), "--prefix", "json:"),
        ("import", str(rows)),
        ("del", "json:a"),
    )
    for command in objects:
        assert isinstance(told(run(*command, "-o", "json")), dict), command
        assert isinstance(told(run(*command, "-o", "jsonl")), dict), command
    lists = (("scan",), ("region", "list"), ("store", "list"), ("events",), ("sql", "select 1"))
    run("put", "json:a", "1")
    for command in lists:
        found = told(run(*command, "-o", "json"))
        assert isinstance(found, list) and found and isinstance(found[0], dict), command
        lines = run(*command, "-o", "jsonl").splitlines()
        assert lines and all(isinstance(told(line), dict) for line in lines), command


def test_region_check(run: Run) -> None:
    for region in told(run("region", "list", "-o", "json")):
        check = told(run("region", "check", str(region["id"]), "-o", "json"))
        assert check["ok"] and len({replica["hash"] for replica in check["replicas"]}) == 1
    assert "no region 999" in run("region", "check", "999", code=3)


def test_events(run: Run) -> None:
    events = told(run("events", "--since", "1h", "-o", "json"))
    kinds = {event["type"] for event in events}
    assert {"store.started", "region.leader_changed", "pd.bootstrapped"} <= kinds
    assert [event["time"] for event in events] == sorted(event["time"] for event in events)
    assert len(run("events", "--last", "2").splitlines()) == 2
    assert told(run("events", "--since", "2999-01-01", "-o", "json")) == []


def test_sql(run: Run) -> None:
    assert told(run("sql", "select 1 as one, 'x' as name", "-o", "json")) == [
        {"one": 1, "name": "x"}
    ]
    assert told(run("sql", "-o", "json", input="select 2 as two")) == [{"two": 2}]
    assert told(run("sql", "select 1 as a, 2 as a", "-o", "json")) == [{"a": 1, "a_2": 2}]
    assert "outcome" in run("sql", "from moves") and "cut_at" in run("sql", "from splits")
    assert "show tables" in run("sql", "selec 1", code=2)


def test_import_of_what_cannot_be_read(run: Run, tmp_path: Path) -> None:
    assert "cannot read" in run("import", str(tmp_path / "nothing"), code=2)
    told_rows = told(run("import", "-", "-o", "json", input='{"key": "in", "value": "1"}\n'))
    assert told_rows == {"rows": 1}


@pytest.mark.parametrize("lines", [0, 1, 3])
def test_import_from_a_line_beyond_the_last(run: Run, lines: int) -> None:
    rows = '{"key": "beyond", "value": "1"}\n' * lines
    beyond = ("import", "-", "--from-line", str(max(lines, 1) + 1))
    said = run(*beyond, input=rows, code=2)
    assert f"there is no line {beyond[-1]}" in said and f"{lines} lines are all" in said
    last = ("import", "-", "--from-line", str(max(lines, 1)), "-o", "json")
    assert told(run(*last, input=rows)) == {"rows": min(lines, 1)}


def test_region_split(run: Run) -> None:
    """Last of all: it leaves more regions behind than there were."""
    for key in ("a", "b", "c", "d"):
        run("put", f"a-split:{key}", "v" * 100)
    whole = told(run("region", "list", "-o", "json"))[0]
    parts = told(run("region", "split", str(whole["id"]), "--key", "a-split:c", "-o", "json"))
    assert [part["start"] for part in parts] == ["", "a-split:c"]
    assert [part["version"] for part in parts] == [whole["version"] + 1] * 2
    assert parts[0]["id"] == whole["id"] and parts[1]["end"] == whole["end"]
    child = parts[1]["id"]
    halves = told(run("region", "split", str(child), "-o", "json"))
    assert halves[0]["id"] == child and halves[0]["keys"] > 0 and halves[1]["keys"] > 0
    assert "a-split:d" in run("get", "a-split:d", "-o", "json")
    assert "does not lie inside" in run("region", "split", str(child), "--key", "zz", code=2)
    assert "no region 999" in run("region", "split", "999", code=3)
    shown = run("events", "--last", "50")
    assert f"parts={whole['id']},{child} cut_at=a-split:c" in shown and "trigger=manual" in shown
    run("region", "split", str(child), "--key", "a-split:cc")
    said = run("region", "split", str(halves[0]["id"]), code=5)
    assert "no two rows between which to cut" in said and "--key" in said
    assert len(told(run("region", "list", "-o", "json"))) >= 4


def test_region_merge(run: Run) -> None:
    """A region that was cut is made whole again, and its rows stay."""
    for key in ("a", "b"):
        run("put", f"z-merge:{key}", key)
    whole = told(run("region", "list", "-o", "json"))[-1]
    cut = ("region", "split", str(whole["id"]), "--key", "z-merge:b", "-o", "json")
    left, right = told(run(*cut))
    merged = told(run("region", "merge", str(right["id"]), "--into", str(left["id"]), "-o", "json"))
    assert len(merged) == 1 and merged[0]["id"] == whole["id"]
    assert [merged[0][edge] for edge in ("start", "end")] == [whole["start"], whole["end"]]
    assert merged[0]["version"] > left["version"]
    ids = [region["id"] for region in told(run("region", "list", "-o", "json"))]
    assert whole["id"] in ids and right["id"] not in ids
    assert [run("get", f"z-merge:{key}") for key in ("a", "b")] == ["a\n", "b\n"]
    run("put", "z-merge:b", "again")
    assert told(run("region", "check", str(whole["id"]), "-o", "json"))["ok"]
