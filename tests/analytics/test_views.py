"""Rows in, answers out of the named views."""

from typing import Any

import msgspec

from flaredb_analytics.warehouse import Warehouse
from flaredb_schemas.events import (
    Event,
    MergeAborted,
    MergePrepared,
    RegionMerged,
    RegionSplit,
    SplitPart,
    StoreDisconnected,
    StoreDown,
    StoreStarted,
    StoreUp,
)
from flaredb_schemas.ids import BootCounter, Index, RegionId, StoreId, Term
from flaredb_schemas.placement import Heartbeat
from tests.analytics.facts import (
    CLUSTER,
    EVENTS,
    HEARTBEATS,
    JOURNAL,
    START,
    ask,
    elected,
    fact,
    heartbeat,
    of_event,
    record,
    region_report,
    store_records,
)


def beats(warehouse: Warehouse, *sent: Heartbeat) -> None:
    records = [record(n, msgspec.json.encode(beat)) for n, beat in enumerate(sent, 1)]
    store_records(warehouse, HEARTBEATS, *records)


def test_regions_now_is_the_newest_report_of_each_region(warehouse: Warehouse) -> None:
    beats(
        warehouse,
        heartbeat(1, 1, region_report(1, bytes=5), region_report(2, start_text="m"), seconds=0),
        heartbeat(1, 2, region_report(1, bytes=9), seconds=30),
        heartbeat(2, 1, region_report(2, 7, 2, start_text="m", version=2), seconds=31),
    )

    assert ask(
        warehouse,
        "SELECT region, start_key, version, leader, store, term, bytes, stores FROM regions_now",
    ) == [(1, "", 1, 10, 1, 6, 9, [1, 2, 3]), (2, "m", 2, 20, 2, 7, 100, [1, 2, 3])]


def test_regions_now_follows_an_election_since_the_report(warehouse: Warehouse) -> None:
    beats(warehouse, heartbeat(1, 1, region_report(1, term=6)))
    store_records(warehouse, EVENTS, of_event(1, elected(1, term=8, store=3, seconds=1)))

    assert ask(warehouse, "SELECT leader, store, term FROM regions_now") == [(30, 3, 8)]


def merged(region: int, source: int, *, seconds: float) -> tuple[MergePrepared, RegionMerged]:
    """A merge that took half a second."""
    at = START + int(seconds * 1_000)
    prepared = MergePrepared(
        id=f"{source}.6.9.merge_prepared.0",
        at=at - 500,
        region=RegionId(source),
        term=Term(6),
        index=Index(9),
        version=1,
        conf_ver=1,
        target=RegionId(region),
        trigger="small",
        triggered=at - 700,
    )
    return prepared, RegionMerged(
        id=f"{region}.6.9.merged.0",
        at=at,
        region=RegionId(region),
        term=Term(6),
        index=Index(9),
        version=2,
        conf_ver=1,
        source=RegionId(source),
        trigger="small",
        triggered=at - 700,
        start=b"",
        end=b"",
        start_text="",
        end_text="",
        keys=3,
        bytes=30,
        before=(),
    )


def test_merges_tell_how_long_the_source_served_nobody(warehouse: Warehouse) -> None:
    prepared, done = merged(1, 2, seconds=5)
    store_records(warehouse, EVENTS, of_event(1, prepared), of_event(2, done))

    assert ask(warehouse, "SELECT region, source, trigger, seconds, keys FROM merges") == [
        (1, 2, "small", 0.5, 3)
    ]


def test_regions_now_forgets_a_region_that_was_absorbed(warehouse: Warehouse) -> None:
    beats(warehouse, heartbeat(1, 1, region_report(1), region_report(2), seconds=0))
    prepared, done = merged(1, 2, seconds=5)
    store_records(warehouse, EVENTS, of_event(1, prepared), of_event(2, done))

    assert ask(warehouse, "SELECT region FROM regions_now") == [(1,)]


def test_a_merge_that_was_given_up_says_why(warehouse: Warehouse) -> None:
    aborted = MergeAborted(
        id="1.6.9.merge_aborted.0",
        at=START,
        region=RegionId(1),
        term=Term(6),
        index=Index(9),
        version=3,
        conf_ver=1,
        source=RegionId(2),
        reason="store 3 is away",
    )
    store_records(warehouse, EVENTS, of_event(1, aborted))

    assert ask(warehouse, "SELECT region, source, reason FROM merges_given_up") == [
        (1, 2, "store 3 is away")
    ]


def split_in_three(*, seconds: float) -> RegionSplit:
    at = START + int(seconds * 1_000)
    parts = tuple(
        SplitPart(
            id=RegionId(number),
            start=b"",
            end=b"",
            start_text=start,
            end_text="",
            peers=(),
            keys=number,
            bytes=2,
        )
        for number, start in ((1, ""), (20, "g"), (12, "user:1, user:2"))
    )
    return RegionSplit(
        id="1.6.9.split.0",
        at=at,
        region=RegionId(1),
        term=Term(6),
        index=Index(9),
        version=3,
        conf_ver=1,
        trigger="bytes",
        triggered=at - 100,
        parts=parts,
    )


def test_splits_tell_how_long_it_took_until_all_was_registered(warehouse: Warehouse) -> None:
    store_records(warehouse, EVENTS, of_event(1, split_in_three(seconds=5)))
    question = "SELECT region, trigger, made, cut_at, keys, seconds FROM splits"
    told = 1, "bytes", [20, 12], ["g", "user:1, user:2"], [1, 20, 12]
    assert ask(warehouse, question) == [(*told, None)]

    heard = {
        n: fact("pd.region_registered", n, at=START + 5_000 + 100 * n, region={"id": made})
        for n, made in ((1, 12), (2, 20))
    }
    source = {"ce-source": f"/flaredb/{CLUSTER}/pd"}
    store_records(warehouse, JOURNAL, *(record(n, said, **source) for n, said in heard.items()))
    assert ask(warehouse, question) == [(*told, 0.3)]


def test_regions_now_forgets_a_region_that_is_reported_no_more(warehouse: Warehouse) -> None:
    beats(
        warehouse,
        heartbeat(1, 1, region_report(1), region_report(2), seconds=0),
        heartbeat(1, 2, region_report(1), seconds=400),
    )

    assert ask(warehouse, "SELECT region FROM regions_now") == [(1,)]


def test_store_changes_tells_when_a_store_was_lost_and_came_back(warehouse: Warehouse) -> None:
    told: dict[str, Any] = {"at": START, "store": StoreId(2), "boot": BootCounter(3)}
    happened: tuple[Event, ...] = (
        StoreStarted(id="2.3.1", regions=2, version="0.1.0", **told),
        StoreUp(id="pd.1.store.1", previous="unknown", silent_ms=0, **told),
        StoreDisconnected(id="pd.1.store.2", previous="up", silent_ms=5_000, **told),
        StoreDown(id="pd.1.store.3", previous="disconnected", silent_ms=20_000, **told),
    )
    records = [of_event(number, event) for number, event in enumerate(happened, 1)]
    store_records(warehouse, EVENTS, *records)

    assert ask(
        warehouse, "SELECT store, state, previous, boot, silent FROM store_changes ORDER BY seq"
    ) == [
        (2, "started", None, 3, None),
        (2, "up", "unknown", 3, 0.0),
        (2, "disconnected", "up", 3, 5.0),
        (2, "down", "disconnected", 3, 20.0),
    ]


def test_store_changes_tells_what_was_decided_about_a_store(warehouse: Warehouse) -> None:
    cluster = {"ce-source": f"/flaredb/{CLUSTER}/pd/a"}
    held = {"store": 2, "replicas": 5, "leaders": 1, "bytes": 9, "trigger": "manual"}
    facts = (
        fact("pd.store_draining", 1, **held),
        fact("pd.store_serving", 2, store=2, trigger="manual"),
        fact("pd.store_joined", 3, store=2, boot=4),
        fact("pd.store_removed", 4, store=2, uuid="a" * 32, trigger="manual"),
    )
    told = [record(number, one, **cluster) for number, one in enumerate(facts, 1)]
    store_records(warehouse, JOURNAL, *told)

    assert ask(
        warehouse, "SELECT cluster, store, state, boot, silent FROM store_changes ORDER BY seq"
    ) == [
        (CLUSTER, 2, "draining", None, None),
        (CLUSTER, 2, "serving", None, None),
        (CLUSTER, 2, "removed", None, None),
    ]


def test_operators_tell_what_was_undertaken_and_what_came_of_it(warehouse: Warehouse) -> None:
    cluster = {"ce-source": "/flaredb/c0ffee/pd/a"}
    about = {"region": 4, "trigger": "manual", "reason": "because"}
    move = {"kind": "move", "remove": {"store": 1}, "add": {"store": 8}, **about}
    store_records(
        warehouse,
        JOURNAL,
        record(1, fact("operator.started", 1, operator=9, **move), **cluster),
        record(2, fact("operator.stepped", 2, operator=9, step="learner_added"), **cluster),
        record(3, fact("operator.stepped", 3, operator=9, step="voters_changed"), **cluster),
        record(
            4, fact("operator.ended", 4, operator=9, outcome="done", ms=2_500, bytes=7), **cluster
        ),
        record(5, fact("operator.started", 5, operator=11, kind="transfer", **about), **cluster),
    )

    assert ask(
        warehouse,
        "SELECT operator, kind, region, from_store, to_store, steps, outcome, seconds "
        "FROM operators ORDER BY operator",
    ) == [
        (9, "move", 4, 1, 8, ["learner_added", "voters_changed"], "done", 2.5),
        (11, "transfer", 4, None, None, [], None, None),
    ]


def test_decisions_tell_who_decided_what_was_foretold_and_what_came(warehouse: Warehouse) -> None:
    cluster = {"ce-source": "/flaredb/c0ffee/pd/a"}
    decision = {"policy": "balance-replicas", "candidates": [{"terms": {"leads": 0}}]}
    move = {"operator": 9, "kind": "move", "region": 4, "decision": decision}
    figure = {"figure": "replicas", "store": 8, "before": 1, "predicted": 2, "realised": 3}
    came = {"operator": 9, "outcome": "done", "ms": 2_500, "predicted_ms": 700}
    idle = {"policy": "balance-load", "reason": "no store is busy", "decision": decision}
    store_records(
        warehouse,
        JOURNAL,
        record(1, fact("operator.started", 1, **move), **cluster),
        record(2, fact("operator.ended", 2, outcomes=[figure], **came), **cluster),
        record(3, fact("balance.nothing_to_do", 3, **idle), **cluster),
    )
    assert ask(
        warehouse,
        "SELECT policy, decision ->> '$.candidates[0].terms.leads', predicted_seconds, seconds, "
        "outcomes ->> '$[0].realised' FROM operators",
    ) == [("balance-replicas", "0", 0.7, 2.5, "3")]
    assert ask(warehouse, "SELECT policy, reason FROM nothing_to_do") == [
        ("balance-load", "no store is busy")
    ]


def test_leader_changes_lists_elections(warehouse: Warehouse) -> None:
    store_records(
        warehouse,
        EVENTS,
        of_event(1, elected(1, term=6, store=1)),
        of_event(2, elected(1, term=7, store=2, previous=10)),
        record(3, b'{"type": "store.started", "id": "1.1.1", "store": 1}'),
    )

    assert ask(
        warehouse,
        'SELECT region, term, "index", leader, store, previous FROM leader_changes ORDER BY term',
    ) == [(1, 6, 6, 10, 1, 0), (1, 7, 7, 20, 2, 10)]


def test_store_load_sums_what_each_store_leads(warehouse: Warehouse) -> None:
    beats(
        warehouse,
        heartbeat(1, 1, region_report(1, bytes=5, keys=1), region_report(2, bytes=6, keys=2)),
        heartbeat(2, 1, seconds=1),
    )

    assert ask(
        warehouse, "SELECT store, leaders, led_bytes, led_keys, used_share, cpu FROM store_load"
    ) == [(1, 2, 11, 3, 0.25, 0.5), (2, 0, 0, 0, 0.25, 0.5)]


def test_heartbeat_gaps_are_silences_past_and_present(warehouse: Warehouse) -> None:
    beats(
        warehouse,
        *(heartbeat(1, n, seconds=30 * n) for n in range(1, 11)),
        heartbeat(2, 1, seconds=30),
        heartbeat(2, 2, seconds=150),
        heartbeat(2, 3, seconds=180),
    )

    assert ask(warehouse, "SELECT store, seconds, until IS NULL FROM heartbeat_gaps") == [
        (2, 120.0, False),
        (2, 120.0, True),
    ]


def test_slo_report_says_how_long_the_first_elections_took(warehouse: Warehouse) -> None:
    cluster = {"ce-source": "/flaredb/c0ffee/pd-1"}
    started = fact("pd.bootstrapped", 1, cluster="c0ffee", regions=[{"id": 1}, {"id": 2}])
    store_records(warehouse, JOURNAL, record(1, started, **cluster))

    query = "SELECT id, cluster, regions, measured, met FROM slo_report"
    assert ask(warehouse, query) == [("SC-001", "c0ffee", 2, None, None)]

    beats(warehouse, heartbeat(1, 1, seconds=61))
    assert ask(warehouse, query) == [("SC-001", "c0ffee", 2, None, False)]

    done = fact("pd.leaders_elected", 2, regions=2, ms=1_850)
    store_records(warehouse, JOURNAL, record(2, done, **cluster))
    assert ask(warehouse, query) == [("SC-001", "c0ffee", 2, 1.85, True)]
