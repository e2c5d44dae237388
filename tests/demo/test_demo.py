"""The demonstration keeps its promises, and says so when one is broken."""

import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from rich.console import Console

from flaredb.cli.board import drawn, in_a_line
from flaredb.client.errors import UnavailableError
from flaredb.client.inspect import RegionCheck, ReplicaHash
from flaredb.demo.audit import RegionFigures
from flaredb.demo.criteria import Figures, judge
from flaredb.demo.draining import Drained
from flaredb.demo.library import CHUNK_BYTES, read_sources, standard_library
from flaredb.demo.loading import Load, count_verified
from flaredb.demo.moving import Moved
from flaredb.demo.splits import SplitFigures
from flaredb.demo.spreading import Share, Spread, is_even
from flaredb.demo.steady import Steady, Tally, Write
from flaredb.demo.trespassing import Trespass
from flaredb_schemas.ids import Index, RegionId, StoreId
from flaredb_schemas.keys import KeyRange
from flaredb_schemas.regions import Epoch, Region, Route
from tests.bus.worlds import eventually
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


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


QUICK = SplitFigures((0.1, 0.4), 2, 0)
EVEN = Spread(
    StoreId(9), 12.0, True, tuple(Share(StoreId(one), 9, 3, 2**25) for one in (1, 2, 3, 9))
)
MOVED = Moved(RegionId(4), StoreId(1), StoreId(9), 100.0, 3.0, "done")
DRAINED = Drained(StoreId(2), 9, 110.0, 8.0, True)


def region_figures(
    number: int, *, rows: int = 3, counted: int = 3, strays: int = 0, hashes: str = "aaa"
) -> RegionFigures:
    region = Region(RegionId(number), KeyRange(b"", b""), Epoch(1, 1), ())
    replicas = tuple(
        ReplicaHash(StoreId(at), None if one == "?" else one, counted)
        for at, one in enumerate(hashes, 1)
    )
    check = RegionCheck(RegionId(number), Index(9), replicas)
    return RegionFigures(Route(region), check, rows, strays)


def figures(*, failed_loading: int = 0, failed_steady: int = 0, **others: Any) -> Figures:
    """All promises kept, but for what is said; a steady write each second from 95 to 194."""
    db = FakeCluster().client()
    load, steady = Load(db, {}, lambda count: None), Steady(db, ())
    load.acknowledged = {b"%d" % number for number in range(100)}
    load.failed = [UnavailableError("lost") for _ in range(failed_loading)]
    steady.writes = [Write(at, at + 0.1, at - 95 >= failed_steady) for at in range(95, 195)]
    steady.failed = [UnavailableError("lost") for _ in range(failed_steady)]
    steady.expected = {b"steady": b"1"}
    kept = Figures(
        elected=2.0,
        load=load,
        steady=steady,
        verified=101,
        refusals=Trespass(10, 10),
        regions=[region_figures(1), region_figures(2)],
        splits=QUICK,
        spread=EVEN,
        moved=MOVED,
        drained=DRAINED,
    )
    return replace(kept, **others)


def broken(told: Figures) -> set[str]:
    return {name for name, one in judge(told).items() if not one.ok}


def test_nothing_is_missed_when_all_is_well() -> None:
    assert broken(figures()) == set()


@pytest.mark.parametrize(
    ("missed", "others"),
    [
        ({"SC-001"}, {"elected": 61.0}),
        ({"SC-001"}, {"regions": [region_figures(1)]}),
        ({"SC-002"}, {"refusals": Trespass(10, 9)}),
        ({"SC-002"}, {"regions": [region_figures(1), region_figures(2, strays=1)]}),
        ({"SC-003"}, {"splits": SplitFigures((), 0, 0)}),
        ({"SC-003"}, {"splits": SplitFigures((0.5, 61.0), 2, 0)}),
        ({"SC-003"}, {"splits": SplitFigures((0.5,), 2, 1)}),
        ({"SC-004"}, {"moved": replace(MOVED, seconds=301.0)}),
        ({"SC-004"}, {"moved": replace(MOVED, outcome="expired")}),
        ({"balance"}, {"spread": replace(EVEN, is_even=False)}),
        ({"balance"}, {"spread": replace(EVEN, seconds=121.0)}),
        ({"drain"}, {"drained": replace(DRAINED, is_empty=False)}),
        ({"drain"}, {"drained": replace(DRAINED, seconds=121.0)}),
        ({"durability"}, {"verified": 100}),
        ({"replicas"}, {"regions": [region_figures(1), region_figures(2, hashes="aab")]}),
        ({"replicas"}, {"regions": [region_figures(1), region_figures(2, hashes="aa?")]}),
        ({"replicas"}, {"regions": [region_figures(1), region_figures(2, counted=4)]}),
    ],
)
def test_judgement(missed: set[str], others: dict[str, Any]) -> None:
    assert broken(figures(**others)) == missed


def test_writes_have_to_succeed_at_all_times_and_at_each() -> None:
    assert broken(figures(failed_loading=2)) == {"SC-003"}
    assert broken(figures(failed_loading=4)) == {"SC-003", "availability"}
    # The sixth steady write began at 100, when the move did: of its four writes one failed.
    assert broken(figures(failed_steady=6)) == {"SC-004", "availability"}


def test_a_store_bears_its_share_when_all_bear_nearly_the_same() -> None:
    def shares(*counts: tuple[int, int]) -> list[Share]:
        return [Share(StoreId(at), *count, 0) for at, count in enumerate(counts)]

    assert is_even(shares((9, 3), (9, 2), (10, 4), (8, 3)))
    assert not is_even(shares((12, 4), (12, 4), (12, 4), (0, 0)))
    assert not is_even(shares((9, 4), (9, 4), (9, 4), (9, 0)))


def test_what_stores_bear_is_shown() -> None:
    shares = [Share(StoreId(1), 8, 4, 2**20), Share(StoreId(9), 4, 0, 0)]
    assert in_a_line(shares) == "replicas: store 1: 8, 4 lead; store 9: 4, 0 lead"
    console = Console(width=80)
    with console.capture() as shown:
        console.print(drawn(shares))
    rows = [line for line in shown.get().splitlines() if "░" in line]
    assert [(row.count("█"), row.count("░")) for row in rows] == [(12, 12), (0, 12)]


@pytest.mark.anyio
async def test_steady_writes_go_on_until_they_are_stopped() -> None:
    cluster = FakeCluster(b"m")
    await cluster.start()
    async with cluster.client() as db:
        steady = Steady(db, (b"%c" % letter for letter in b"abcxyz"))
        async with steady.running():
            begun = time.monotonic()
            await eventually(lambda: len(steady.writes) >= 20)
        stopped = time.monotonic()
        assert steady.during(begun, stopped) == Tally(len(steady.writes), len(steady.writes))
        assert steady.during(stopped + 1, stopped + 2).tried == 0
        assert not steady.failed and set(steady.expected) == {b"%c~" % one for one in b"abcxyz"}
        assert await count_verified(db, steady.expected, lambda count: None) == 6
        assert await count_verified(db, {b"a~": b"other"}, lambda count: None) == 0


@pytest.mark.cluster
def test_the_whole_demonstration(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "flaredb", "demo", "-o", "json", "--dir", str(tmp_path)]
    said = subprocess.run(command, capture_output=True, text=True)
    assert said.returncode == 0, said.stderr
    outcome = json.loads(said.stdout.splitlines()[-1])
    assert [criterion["ok"] for criterion in outcome["criteria"].values()] == [True] * 9
    assert len(outcome["regions"]) >= 5 and outcome["stores"][:3] == [1, 2, 3]
    assert len(outcome["stores"]) == 4, "a fourth one has joined"
    holding = {peer["store"] for region in outcome["regions"] for peer in region["peers"]}
    assert len(holding) == 3 and outcome["stores"][3] in holding, "one was emptied"
    assert outcome["splits"] >= 3
    ids = {region["start"]: region["id"] for region in outcome["regions"]}
    cut_live = {int(number) for number in re.findall(r"region (\d+) split \(", said.stderr)}
    assert {ids[""], ids["m"]} <= cut_live, "both first regions are split, and shown when they are"
    assert outcome["writes"] >= outcome["keys_verified"] > len(standard_library())
    assert outcome["writes_failed"] == 0 and outcome["leaders_elected_s"] <= 60
    assert "SIGKILL" in said.stderr and "has joined as store" in said.stderr
    assert "replicas: store 1: " in said.stderr and "draining store" in said.stderr
