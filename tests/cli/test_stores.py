"""store list, show, drain and remove: a real PD, and stores that only speak."""

import pytest
from typer.testing import CliRunner

from flaredb.cli.app import make_app
from flaredb.cli.stores import labels_text, progress_of
from flaredb.client import placement
from flaredb.client.drain_news import blocks_of
from flaredb_schemas.ids import RegionId, StoreId
from flaredb_schemas.pd_answers import DrainBlock, DrainProgress
from tests.bus.worlds import eventually
from tests.cli.test_operators import Elsewhere, Run, elsewhere, run

__all__ = ["elsewhere", "run"]


def stores_of(elsewhere: Elsewhere) -> set[int]:
    """The stores of which a region has something."""
    regions = [one.region for one in elsewhere.town.ground.regions.values()]
    return {peer.store for one in regions for peer in (*one.peers, *one.removed)}


def test_a_store_is_drained_and_removed(run: Run, elsewhere: Elsewhere) -> None:
    leaves = int(elsewhere.region.store)
    number = str(leaves)
    assert "still has 2 replicas" in run("store", "remove", number, code=5)
    drained = run("store", "drain", number)
    assert drained["life"] == drained["state"] == "draining" and drained["drain"]["is_empty"]
    assert leaves not in stores_of(elsewhere)
    table = CliRunner().invoke(make_app(), ["store", "list", "--nats", elsewhere.url]).stdout
    assert "draining, empty" in table
    assert run("store", "remove", number)["state"] == "removed"
    assert leaves not in [one["id"] for one in run("store", "list")]
    assert leaves in [one["id"] for one in run("store", "list", "--all")]
    assert run("store", "show", number)["life"] == "removed"
    assert "was removed" in run("store", "drain", number, code=2)
    assert run("store", "remove", number)["state"] == "removed"


def test_a_drain_without_waiting_shows_how_far_it_is(run: Run, elsewhere: Elsewhere) -> None:
    for region in elsewhere.town.ground.regions.values():
        region.new_lag = 5_000
    number = str(elsewhere.region.store)
    begun = run("store", "drain", number, "--no-wait")
    assert begun["drain"]["replicas"] == begun["drain"]["began_with"] == 2
    at = ["--nats", elsewhere.url]
    table = CliRunner().invoke(make_app(), ["store", "show", number, *at]).stdout
    assert "2 of 2 replicas left" in table
    kept = run("store", "drain", number, "--cancel")
    assert (kept["state"], kept["drain"]) == ("up", None)


def test_a_drain_that_cannot_go_on_says_why(
    run: Run, elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(placement, "STUCK_SECONDS", 0.5)

    async def lose_the_spare() -> None:
        await elsewhere.placement.drain(StoreId(12))
        await eventually(lambda: 12 not in stores_of(elsewhere))

    elsewhere.do(lose_the_spare())
    said = run("store", "drain", str(elsewhere.region.store), code=5)
    assert "nothing can leave store" in said and "one more store is needed" in said
    assert "--cancel" in said


def test_a_store_that_is_not_there_is_not_found(run: Run) -> None:
    for command in ("show", "drain", "remove"):
        assert "no store 99" in run("store", command, "99", code=3)


def test_where_a_store_stands_is_told_in_a_cell() -> None:
    assert labels_text({"zone": "a", "rack": "1", "name": "store-1"}) == "rack=1, zone=a"
    assert labels_text({"name": "store-1"}) == "-"


def test_progress_is_told_in_a_line() -> None:
    drain = DrainProgress(0, 30, 12, 2, 3 * 2**20, 1, 4, 41.6, is_stuck=False, is_empty=False)
    told = "12 of 30 replicas left, 2 leaders left, 3.0 MiB left, 1 being cleaned up"
    assert progress_of(drain) == f"{told}, 4 under way, about 42 s"


def test_what_blocks_is_told_by_reason() -> None:
    one = DrainBlock("no room", 1, (RegionId(4),))
    many = DrainBlock("no leader", 9, (RegionId(5), RegionId(6), RegionId(7)))
    blocked = DrainProgress(0, 9, 9, 0, 0, 0, 0, None, True, False, (many, one))
    assert blocks_of(blocked) == "9 regions (5, 6, 7, ...): no leader; 1 region (4): no room"
