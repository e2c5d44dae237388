"""The views of moves, and of what is known of each store last."""

from typing import Any

import msgspec

from flaredb.bus.bus import StreamRecord
from flaredb_analytics.warehouse import Warehouse
from tests.analytics.facts import (
    CLUSTER,
    EVENTS,
    HEARTBEATS,
    JOURNAL,
    START,
    ask,
    fact,
    heartbeat,
    record,
    region_report,
    store_records,
)

BY_PD = {"ce-source": f"/flaredb/{CLUSTER}/pd/a"}


def test_moves_are_the_operators_that_take_a_replica_elsewhere(warehouse: Warehouse) -> None:
    about: dict[str, Any] = {"region": 4, "trigger": "manual", "remove": {"store": 1}}
    facts = (
        fact("operator.started", 1, operator=9, kind="move", add={"store": 8}, **about),
        fact("operator.ended", 2, operator=9, outcome="done", ms=301_000, bytes=7),
        fact("operator.started", 3, operator=11, kind="transfer", **about),
        fact("operator.started", 4, operator=13, kind="replace", add={"store": 7}, **about),
    )
    told = [record(number, one, **BY_PD) for number, one in enumerate(facts, 1)]
    store_records(warehouse, JOURNAL, *told)

    question = (
        "SELECT operator, from_store, to_store, outcome, seconds, in_time FROM moves ORDER BY seq"
    )
    assert ask(warehouse, question) == [
        (9, 1, 8, "done", 301.0, False),
        (13, 1, 7, None, None, None),
    ]


def test_stores_now_tells_the_last_that_was_heard_and_decided(warehouse: Warehouse) -> None:
    def told(number: int, kind: str, store: int) -> StreamRecord:
        said = fact(kind, number, store=store, boot=1, at=START + 1_000 * number)
        return record(number, said, **BY_PD)

    beat = msgspec.json.encode(heartbeat(1, 1, region_report(1, bytes=5)))
    store_records(warehouse, HEARTBEATS, record(1, beat))
    happened = (("store.started", 1), ("store.up", 2), ("store.down", 2), ("store.up", 3))
    store_records(
        warehouse, EVENTS, *(told(number, *one) for number, one in enumerate(happened, 1))
    )
    decided = (("pd.store_draining", 2), ("pd.store_draining", 3), ("pd.store_removed", 3))
    store_records(
        warehouse, JOURNAL, *(told(number, *one) for number, one in enumerate(decided, 5))
    )

    assert ask(
        warehouse, "SELECT store, life, health, leaders, epoch_ms(since) FROM stores_now"
    ) == [
        (1, "serving", "up", 1, START + 1_000),
        (2, "draining", "down", None, START + 3_000),
        (3, "removed", None, None, START + 7_000),
    ]
