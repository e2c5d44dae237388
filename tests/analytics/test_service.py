"""The whole of it as a process, against a real server: in by NATS, out by HTTP."""

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from flaredb.bus.bus import Appended
from flaredb.bus.nats_bus import NatsBus
from flaredb_pd.streams import all_streams, ensure_streams
from flaredb_schemas.events import about, cloud_headers, encode_event, kind_of
from flaredb_schemas.subjects import Subjects
from tests.analytics.facts import CLUSTER, elected, fact, heartbeat, region_report
from tests.analytics.processes import AnalyticsProcess, next_event
from tests.nats_server import NatsServer

SUBJECTS = Subjects()
REGIONS = "SELECT region FROM events WHERE type = 'region.leader_changed' ORDER BY region"


@pytest.fixture
def process(tmp_path: Path, nats_server: NatsServer) -> Iterator[AnalyticsProcess]:
    """Analytics beside a running server, not started yet."""
    analytics = AnalyticsProcess(tmp_path / "analytics", nats_server.url)
    yield analytics
    analytics.close()


def publish(server: NatsServer, *regions: int) -> None:
    """An election of each region, as a store publishes it; the streams are made if need be."""

    async def run() -> None:
        bus = await NatsBus.connect(server.url, name="store-1")
        await ensure_streams(bus.history, all_streams(SUBJECTS))
        for region in regions:
            event = elected(region=region)
            subject = SUBJECTS.event(kind_of(event), about(event), "1")
            headers = cloud_headers(event, CLUSTER, "1")
            result = await bus.history.append(subject, encode_event(event), headers)
            assert isinstance(result, Appended)
        await bus.close()

    asyncio.run(run())


def beat_and_journal(server: NatsServer) -> None:
    """A heartbeat, sent plainly, and a record of PD's journal."""

    async def run() -> None:
        bus = await NatsBus.connect(server.url, name="others")
        beat = msgspec.json.encode(heartbeat(1, 1, region_report(7)))
        assert bus.send(SUBJECTS.heartbeat(heartbeat(1).store.store), beat)
        subject = SUBJECTS.event("pd.took_over", 1, "pd-1")
        await bus.history.append(subject, fact("pd.took_over", 1), {}, expected_last=0)
        await bus.close()

    asyncio.run(run())


def test_from_the_streams_to_an_answer(process: AnalyticsProcess, nats_server: NatsServer) -> None:
    process.start()
    process.wait_until_ready()  # the streams are not even there yet
    publish(nats_server, 1, 2, 3)
    beat_and_journal(nats_server)

    process.wait_for(REGIONS, [[1], [2], [3]])
    process.wait_for("SELECT region, keys FROM regions_now", [[7, 10]])
    process.wait_for("SELECT type FROM events WHERE stream = 'FLAREDB_PD'", [["pd.took_over"]])
    reply = process.sql("SELECT count(*) AS n FROM events")

    assert (reply.status, reply.body["columns"], reply.body["rows"]) == (200, ["n"], [[4]])
    assert reply.headers["flaredb-last-seq"] == "FLAREDB_EVT=3, FLAREDB_PD=1, FLAREDB_HB=1"
    assert 0 <= float(reply.headers["flaredb-lag-seconds"]) < 10
    status = process.get("/v1/status").body
    assert [stream["seq"] for stream in status["streams"]] == [3, 1, 1]
    assert "flaredb_analytics_connected 1.0" in process.get("/metrics").body
    assert process.get("/livez").status == 200
    assert process.end(signal.SIGTERM)[0] == 0


def test_a_kill_loses_nothing_and_repeats_nothing(
    process: AnalyticsProcess, nats_server: NatsServer
) -> None:
    publish(nats_server, *range(1, 6))
    process.start()
    process.wait_until_ready()
    process.wait_for(REGIONS, [[n] for n in range(1, 6)])

    process.end(signal.SIGKILL)
    publish(nats_server, *range(6, 9))
    process.start()
    process.wait_until_ready()

    process.wait_for(REGIONS, [[n] for n in range(1, 9)])
    assert process.sql("SELECT count(*) FROM gaps").body["rows"] == [[0]]


def test_a_broken_file_is_filled_again_from_the_streams(
    process: AnalyticsProcess, nats_server: NatsServer
) -> None:
    publish(nats_server, 1, 2)
    process.start()
    process.wait_until_ready()
    process.wait_for(REGIONS, [[1], [2]])
    process.end(signal.SIGTERM)

    (process.folder / "placement.duckdb").write_bytes(b"no database at all" * 1_000)
    process.start()
    process.wait_until_ready()

    process.wait_for(REGIONS, [[1], [2]])
    assert process.get("/v1/status").body["rebuilds"] == 1


def test_the_server_may_go_and_come_back(
    process: AnalyticsProcess, nats_server: NatsServer
) -> None:
    publish(nats_server, 1)
    process.start()
    process.wait_until_ready()

    nats_server.kill()
    process.wait_until_ready(ready=False)
    assert process.sql(REGIONS).body["rows"] == [[1]]  # history can be asked all the same
    nats_server.start()
    process.wait_until_ready()
    publish(nats_server, 2)

    process.wait_for(REGIONS, [[1], [2]])


def test_a_server_that_lost_its_streams_is_a_gap(
    process: AnalyticsProcess, nats_server: NatsServer
) -> None:
    publish(nats_server, 1, 2)
    process.start()
    process.wait_until_ready()
    process.wait_for(REGIONS, [[1], [2]])

    nats_server.kill()
    nats_server.lose_data()
    nats_server.start()
    publish(nats_server, 3)

    process.wait_for(REGIONS, [[1], [2], [3]])
    process.wait_for(
        "SELECT stream, reason FROM gaps ORDER BY stream",
        [[f"FLAREDB_{name}", "recreated"] for name in ("EVT", "HB", "PD")],
    )


def test_the_tail_tells_events_as_they_come(
    process: AnalyticsProcess, nats_server: NatsServer
) -> None:
    publish(nats_server, 1, 2)
    process.start()
    process.wait_until_ready()
    process.wait_for(REGIONS, [[1], [2]])

    with process.following("?after=1") as from_second, process.following() as from_now:
        assert from_second.getheader("content-type", "").startswith("text/event-stream")
        number, event = next_event(from_second)
        assert (number, event["region"], event["payload"]["term"]) == (2, 2, 6)
        assert from_now.readline() == b": flaredb events\n"

        publish(nats_server, 3)

        assert next_event(from_second)[1]["region"] == 3
        assert next_event(from_now)[1]["region"] == 3
        code, _ = process.end(signal.SIGTERM)
    assert code == 0


def test_problems_are_documents(process: AnalyticsProcess) -> None:
    process.start()
    process.wait_until_ready()
    as_json = {"content-type": "application/json"}

    refused = process.sql("DELETE FROM events")
    failed = process.sql("SELECT nothing FROM nowhere")
    endless = process.sql("SELECT count(*) FROM range(1000000000) a, range(1000000000) b")
    others = [
        process.ask("POST", "/v1/sql", "no JSON", as_json),
        process.ask("POST", "/v1/sql", '{"query": 5}', as_json),
        process.ask("POST", "/v1/sql", '{"query": "SELECT 1"}', {"content-type": "text/plain"}),
        process.ask("POST", "/v1/sql", "x" * 200_000, as_json),
        process.get("/v1/events?after=soon"),
        process.get("/v1/status", host="evil.example:7480"),
    ]

    replies = [refused, failed, endless, *others]
    assert [r.status for r in replies] == [403, 400, 504, 400, 400, 415, 413, 400, 421]
    for reply in replies:
        assert reply.headers["content-type"] == "application/problem+json"
        assert reply.body["status"] == reply.status
        assert reply.body["title"] and reply.body["detail"]


def test_a_second_process_on_one_folder_is_refused(
    process: AnalyticsProcess, nats_server: NatsServer
) -> None:
    process.start()
    process.wait_until_ready()
    second = AnalyticsProcess(process.folder, nats_server.url)
    second.start()

    code, log = second.wait()

    assert code == 1
    assert "is open in another process" in log
    assert process.sql("SELECT 1").status == 200


def test_it_waits_for_a_server_that_is_not_there_yet(
    process: AnalyticsProcess, nats_server: NatsServer
) -> None:
    nats_server.kill()
    process.start()
    nats_server.start()

    process.wait_until_ready()
