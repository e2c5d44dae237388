"""When a playground says that it is ready, how many stores it starts, and how one ends."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from flaredb.cli import playground
from flaredb.cli.app import make_app
from flaredb.cli.playground import _how_many, _wait_until_served
from flaredb.client.errors import FlareDBError, UnavailableError
from flaredb.playground.record import Kept, PlaygroundFolder, stores_in
from flaredb.playground.supervisor import LocalCluster
from flaredb.runtime.settings import PlaygroundSettings
from flaredb_schemas.ids import StoreId
from flaredb_schemas.pd_answers import PdStatus


def status(leaders: int) -> PdStatus:
    """A cluster of two regions, of which so many are led."""
    return PdStatus("c", "pd", 1, 9, True, "", 3, 3, 2, 0, leaders, 0, None, 0, 9)


class Fake:
    """A cluster that says one thing after the other, and the last one for ever."""

    def __init__(self, *said: PdStatus | UnavailableError) -> None:
        self.said = list(said)

    @contextmanager
    def connect(self, timeout: float) -> "Iterator[Fake]":
        yield self

    def status(self) -> PdStatus:
        now = self.said.pop(0) if len(self.said) > 1 else self.said[0]
        if isinstance(now, UnavailableError):
            raise now
        return now


def wait(cluster: Any) -> str:
    return _wait_until_served(cluster, threading.Event())


def test_ready_is_said_when_every_region_is_led() -> None:
    cluster = Fake(UnavailableError("PD does not answer"), status(0), status(1), status(2))
    assert wait(cluster) == "" and len(cluster.said) == 1


def test_what_is_missing_is_said_when_it_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(playground, "SERVED_SECONDS", 0.0)
    assert wait(Fake(status(1))) == "1 of 2 regions have no leader yet"
    assert wait(Fake(UnavailableError("PD does not answer"))) == "PD does not answer"


def test_whoever_stops_it_waits_for_nothing() -> None:
    stop = threading.Event()
    stop.set()
    cluster: Any = Fake(status(1))
    assert _wait_until_served(cluster, stop) == ""


def test_all_stores_of_before_are_started_again(tmp_path: Path) -> None:
    settings = PlaygroundSettings(dir=str(tmp_path))
    assert _how_many(settings, 3) == 3
    for name in ("store-2", "store-10", "store-x"):
        (tmp_path / name).mkdir()
    assert _how_many(settings, 3) == 10


@pytest.mark.parametrize(("flags", "zones"), [((), None), (("--zones", "0"), 0)])
def test_only_zones_that_are_given_are_other_than_before(
    flags: tuple[str, ...], zones: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: dict[str, object] = {}

    def make(folder: Path, **given: object) -> LocalCluster:
        told.update(given)
        raise FlareDBError("enough")

    monkeypatch.setattr(playground, "LocalCluster", make)
    CliRunner().invoke(make_app(), ["playground", "--dir", str(tmp_path), *flags])
    assert told["zones"] == zones


@pytest.mark.cluster
def test_a_store_that_is_removed_says_so_and_ends(tmp_path: Path) -> None:
    """Its process once, with a code of its own; then it stays away, and the others serve."""
    folder = tmp_path / "cluster"
    with LocalCluster(folder, stores=4, analytics=False) as cluster:
        child = cluster.children["store-4"]
        with cluster.connect(timeout=30.0) as db:
            db.put(b"a", b"1")
            db.drain(StoreId(4))
            *_, last = db.watch_drain(StoreId(4))
            assert last.drain is not None and last.drain.is_empty
            db.remove(StoreId(4))
        child.wait(30)
        assert child.exit_code == 3, child.tail()
        said = child.last_words
        assert said == "flaredb store: PD refuses this store: store 4 was removed from the cluster"
        assert "Traceback" not in child.tail()
    assert stores_in(folder) == 3
    (folder / "kept.json").unlink()  # as if it had been killed before it saw that
    with LocalCluster(folder, stores=4, analytics=False) as cluster:
        assert cluster.dead() == ["store-4"]
        assert "was removed from the cluster. Start it" in cluster.children["store-4"].last_words
    with LocalCluster(folder, stores=3, analytics=False) as cluster:
        assert cluster.dead() == [] and "store-4" not in cluster.children
        with cluster.connect(timeout=30.0) as db:
            assert db.get(b"a") == b"1"
        assert cluster.add_store() == 5
        assert cluster.dead() == []


def test_stores_that_were_removed_do_not_count(tmp_path: Path) -> None:
    for number in range(1, 6):
        (tmp_path / f"store-{number}").mkdir()
    assert _how_many(PlaygroundSettings(dir=str(tmp_path)), 3) == 5
    folder = PlaygroundFolder(tmp_path)
    folder.claim()
    folder.keep(Kept(removed=(2, 5)))
    folder.release()
    assert _how_many(PlaygroundSettings(dir=str(tmp_path)), 3) == 3
    assert _how_many(PlaygroundSettings(dir=str(tmp_path), stores=4), 3) == 4


def test_a_new_one_does_not_join_a_cluster_that_is_there(
    cluster: LocalCluster, tmp_path: Path
) -> None:
    """Its stores would take that one's data, and leave with it."""
    given = ["playground", "--nats", cluster.url, "--dir", str(tmp_path / "new")]
    result = CliRunner().invoke(make_app(), given)
    assert result.exit_code == 2
    assert "a cluster runs at" in result.stderr and "FLAREDB_PREFIX" in result.stderr
    with cluster.connect() as db:
        assert len(db.stores()) == 3


def test_a_stores_folder_is_no_playgrounds(cluster: LocalCluster) -> None:
    folder = cluster.store_folder(1)
    before = sorted(folder.iterdir())
    result = CliRunner().invoke(make_app(), ["playground", "--dir", str(folder)])
    assert result.exit_code == 1
    assert "is the data folder of a store" in result.stderr
    assert sorted(folder.iterdir()) == before
