"""What a cluster lacks, in words."""

from typing import Any

from msgspec.structs import replace

from flaredb.cli.condition import find_lacks, why_without_majority
from flaredb_schemas.ids import PeerId, RegionId, StoreId
from flaredb_schemas.pd_answers import RegionRow, StoreRow
from flaredb_schemas.placement import PeerReport
from tests.schemas.samples import sample

MIB = 2**20


def store(number: int, **told: Any) -> StoreRow:
    row = sample(StoreRow)
    assert isinstance(row, StoreRow)
    fields = {
        "health": "up",
        "life": "serving",
        "damaged": 0,
        "capacity": 100 * MIB,
        "free": 50 * MIB,
        "last_seen_ms": 1,
    }
    fields |= told
    return replace(row, id=StoreId(number), **fields)


def region(number: int, **told: Any) -> RegionRow:
    row = sample(RegionRow)
    assert isinstance(row, RegionRow)
    peers = tuple(PeerReport(PeerId(10 * n), StoreId(n), "voter") for n in (1, 2, 3))
    fields = {"state": "available", "leader_store": 1, "down_peers": (), "peers": peers, **told}
    return replace(row, id=RegionId(number), **fields)


def test_a_whole_cluster_lacks_nothing() -> None:
    assert find_lacks([store(1), store(2), store(3)], [region(4), region(5)]) == []


def test_what_is_missing_is_named() -> None:
    stores = [store(1), store(2, health="down"), store(3, damaged=2), store(4, free=4 * MIB)]
    regions = [
        region(4, state="degraded"),
        region(5, state="unavailable", leader_store=0),
        region(6, leader_store=0),
        region(7, down_peers=(PeerId(30),)),
    ]
    assert find_lacks(stores, regions) == [
        "store 2 is down",
        "store 3 has 2 damaged replicas",
        "store 4 is nearly full (4 MiB left), and refuses puts once it is full",
        "1 region without a majority of stores (5)",
        "1 region without a leader (6)",
        "2 regions with a replica that is away (4, 7)",
    ]


def test_a_store_that_pd_has_not_heard_yet_is_not_called_full() -> None:
    silent = store(3, health="disconnected", free=0, last_seen_ms=None)
    assert find_lacks([store(1), silent], [region(4)]) == ["store 3 is disconnected"]


def test_of_many_a_few_are_named() -> None:
    regions = [region(number, state="degraded") for number in range(10, 20)]
    (lack,) = find_lacks([], regions)
    assert lack == "10 regions with a replica that is away (10, 11, 12, 13, 14, ...)"


def test_a_lost_majority_names_the_stores() -> None:
    stores = [store(1), store(2, health="down"), store(3, health="disconnected")]
    assert why_without_majority(region(4), stores) == (
        "region 4 has no majority of its 3 stores: store 2 is down, store 3 is disconnected"
    )
