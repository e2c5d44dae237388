"""What the command line says when stores die: which, since when, and what cannot be served."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from flaredb.cli.app import make_app
from flaredb.testing import LocalCluster

pytestmark = pytest.mark.cluster

QUICK = {"store_disconnected_seconds": "2", "store_down_seconds": "4"}


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[LocalCluster]:
    with LocalCluster(tmp_path / "cluster", analytics=False, settings=QUICK) as running:
        yield running


def invoke(cluster: LocalCluster, *arguments: str) -> Result:
    return CliRunner().invoke(make_app(), [*arguments, "--dir", str(cluster.path)])


def told(cluster: LocalCluster, *arguments: str) -> Any:
    return json.loads(invoke(cluster, *arguments, "-o", "json").stdout)


def until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.1)


def states(cluster: LocalCluster) -> dict[int, str]:
    return {store["id"]: store["state"] for store in told(cluster, "store", "list")}


def region_states(cluster: LocalCluster) -> set[str]:
    return {region["state"] for region in told(cluster, "region", "list")}


def test_one_store_lost_then_two_then_all_back(cluster: LocalCluster) -> None:
    until(lambda: invoke(cluster, "status").exit_code == 0)
    until(lambda: told(cluster, "status")["stores_up"] == 3)
    assert region_states(cluster) == {"available"}
    whole = told(cluster, "status")
    assert (whole["state"], whole["lacks"]) == ("available", [])

    cluster.kill_store(3)
    until(lambda: states(cluster)[3] == "down")
    until(lambda: invoke(cluster, "status").exit_code == 0)
    assert told(cluster, "status")["stores_up"] == 2 and region_states(cluster) == {"degraded"}
    lesser = told(cluster, "status")
    assert lesser["state"] == "degraded" and lesser["regions_degraded"] == 2
    assert lesser["lacks"][0] == "store 3 is down" and "2 regions with" in lesser["lacks"][1]
    assert "store 3 is down; 2 regions" in invoke(cluster, "status").stdout

    cluster.kill_store(2)
    until(lambda: states(cluster) == {1: "up", 2: "down", 3: "down"})
    status = invoke(cluster, "status", "-o", "json")
    assert status.exit_code == 5, status.output
    assert not json.loads(status.stdout)["ready"] and json.loads(status.stdout)["leaders"] == 0
    assert json.loads(status.stderr)["error"]["hint"]
    said = json.loads(status.stdout)["doing"]
    assert "2 of 2 regions" in said and "2 of 3 stores" in said
    assert region_states(cluster) == {"unavailable"}
    region = str(told(cluster, "region", "list")[0]["id"])
    for command in ("split", "merge"):
        refused = invoke(cluster, "region", command, region)
        assert refused.exit_code == 5
        assert "no majority of its 3 stores: store 2 is down, store 3 is down" in refused.stderr

    for number in (2, 3):
        cluster.start_store(number)
    until(lambda: told(cluster, "status")["stores_up"] == 3)
    until(lambda: invoke(cluster, "status").exit_code == 0)
    assert region_states(cluster) == {"available"}
    events = told(cluster, "events", "--since", "1h")
    seen = [event["type"] for event in events if event.get("store") == 3]
    kinds = [kind for kind in seen if kind.startswith("store.")]
    life = ["store.up", "store.disconnected", "store.down", "store.started", "store.up"]
    assert sorted(kinds[:2]) == ["store.started", "store.up"]
    assert kinds[2:4] == life[1:3] and sorted(kinds[4:]) == sorted(life[3:])
    assert len({(event["stream"], event["id"]) for event in events}) == len(events)


def test_a_store_has_the_number_of_its_process(cluster: LocalCluster) -> None:
    """And `store list` says which process it is, where its data and its log are."""
    cluster.kill_store(2)
    rows = {store["id"]: store for store in told(cluster, "store", "list")}
    for number, row in rows.items():
        child = cluster.children[f"store-{number}"]
        assert (row["name"], row["pid"], row["log"]) == (child.name, child.pid, str(child.log))
        assert Path(row["data"]) == cluster.store_folder(number)
    assert rows[2]["pid"] is None
    shown = invoke(cluster, "store", "list").stdout
    assert str(cluster.children["store-1"].pid) in shown and "last_seen" in shown
