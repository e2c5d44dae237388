"""The demonstration keeps its promises, and says so when one is broken."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from flaredb.client.errors import UnavailableError
from flaredb.client.inspect import RegionCheck, ReplicaHash
from flaredb.demo.audit import RegionFigures
from flaredb.demo.library import CHUNK_BYTES, read_sources, standard_library
from flaredb.demo.loading import Load
from flaredb.demo.run import judge
from flaredb.demo.splits import SplitFigures
from flaredb.demo.trespassing import Trespass
from flaredb_schemas.ids import Index, RegionId, StoreId
from flaredb_schemas.keys import KeyRange
from flaredb_schemas.regions import Epoch, Region, Route
from tests.client.fake_cluster import FakeCluster


def test_the_input_is_all_of_the_library_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "pkg" / "site-packages").mkdir(parents=True)
    (tmp_path / "a.py").write_bytes(b"")
    (tmp_path / "pkg" / "b.py").write_bytes(b"x" * (2 * CHUNK_BYTES + 1))
    (tmp_path / "pkg" / "c.txt").write_bytes(b"no")
    (tmp_path / "pkg" / "site-packages" / "d.py").write_bytes(b"no")
    rows = read_sources(tmp_path)
    assert sorted(rows) == [b"a.py", b"pkg/b.py", b"pkg/b.py#1", b"pkg/b.py#2"]
    assert b"".join(rows[key] for key in sorted(rows)) == b"x" * (2 * CHUNK_BYTES + 1)
    assert b"json/__init__.py" in standard_library()


QUICK = SplitFigures((0.1, 0.4), 2, 0)


def figures(
    number: int, *, rows: int = 3, counted: int = 3, strays: int = 0, hashes: str = "aaa"
) -> RegionFigures:
    region = Region(RegionId(number), KeyRange(b"", b""), Epoch(1, 1), ())
    replicas = tuple(
        ReplicaHash(StoreId(at), None if one == "?" else one, counted)
        for at, one in enumerate(hashes, 1)
    )
    check = RegionCheck(RegionId(number), Index(9), replicas)
    return RegionFigures(Route(region), check, rows, strays)


@pytest.mark.parametrize(
    ("broken", "elected", "lost", "failed", "refused", "regions"),
    [
        (set(), 2.0, 0, 0, 10, [figures(1), figures(2)]),
        ({"SC-001"}, 61.0, 0, 0, 10, [figures(1), figures(2)]),
        ({"SC-001"}, 2.0, 0, 0, 10, [figures(1)]),
        ({"SC-002"}, 2.0, 0, 0, 9, [figures(1), figures(2)]),
        ({"SC-002"}, 2.0, 0, 0, 10, [figures(1), figures(2, strays=1)]),
        ({"durability"}, 2.0, 1, 0, 10, [figures(1), figures(2)]),
        ({"availability", "SC-003"}, 2.0, 0, 2, 10, [figures(1), figures(2)]),
        ({"replicas"}, 2.0, 0, 0, 10, [figures(1), figures(2, hashes="aab")]),
        ({"replicas"}, 2.0, 0, 0, 10, [figures(1), figures(2, hashes="aa?")]),
        ({"replicas"}, 2.0, 0, 0, 10, [figures(1), figures(2, counted=4)]),
    ],
)
def test_judgement(
    broken: set[str],
    elected: float,
    lost: int,
    failed: int,
    refused: int,
    regions: list[RegionFigures],
) -> None:
    load = Load(FakeCluster().client(), {}, lambda count: None)
    load.acknowledged = {b"%d" % number for number in range(100)}
    load.failed = [UnavailableError("lost") for _ in range(failed)]
    criteria = judge(elected, load, 100 - lost, Trespass(10, refused), regions, QUICK)
    assert {name for name, one in criteria.items() if not one.ok} == broken


@pytest.mark.parametrize(
    "splits",
    [
        SplitFigures((), 0, 0),
        SplitFigures((0.5, 61.0), 2, 0),
        SplitFigures((0.5,), 2, 1),
    ],
)
def test_splits_have_to_happen_and_to_be_registered_in_time(splits: SplitFigures) -> None:
    load = Load(FakeCluster().client(), {}, lambda count: None)
    load.acknowledged = {b"1"}
    criteria = judge(1.0, load, 1, Trespass(1, 1), [figures(1), figures(2)], splits)
    assert {name for name, one in criteria.items() if not one.ok} == {"SC-003"}


@pytest.mark.cluster
def test_the_whole_demonstration(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "flaredb", "demo", "-o", "json", "--dir", str(tmp_path)]
    said = subprocess.run(command, capture_output=True, text=True)
    assert said.returncode == 0, said.stderr
    outcome = json.loads(said.stdout.splitlines()[-1])
    assert [criterion["ok"] for criterion in outcome["criteria"].values()] == [True] * 6
    assert len(outcome["regions"]) >= 5 and outcome["stores"] == [1, 2, 3]
    assert outcome["splits"] >= 3
    assert outcome["writes"] == outcome["keys_verified"] == len(standard_library())
    assert outcome["writes_failed"] == 0 and outcome["leaders_elected_s"] <= 60
    assert "SIGKILL" in said.stderr
