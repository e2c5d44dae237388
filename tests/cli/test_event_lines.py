"""How an event is shown to people."""

import json
from typing import Any

from flaredb.bus.bus import StreamRecord
from flaredb.cli.event_lines import event_line, event_record


def line(payload: Any) -> str:
    data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return event_line(event_record("FLAREDB_EVT", StreamRecord(7, "x", data, {}, 1_500)))


def test_a_split_names_its_regions_and_where_they_meet() -> None:
    parts = [
        {"id": 4, "start": "", "start_text": ""},
        {"id": 12, "start": "bQ==", "start_text": "m"},
        {"id": 16, "start": "cQ==", "start_text": "q\\x00"},
    ]
    said = {"type": "region.split", "id": "4.5.6.split.0", "at": 1, "region": 4, "parts": parts}
    shown = line(said)
    assert shown.startswith("1970-01-01T00:00:01.500Z  region.split ")
    assert shown.endswith(" region=4 parts=4,12,16 cut_at=m,q\\x00")


def test_peers_are_named_with_their_stores_and_what_sets_them_apart() -> None:
    peers = [{"id": 5, "store": 1, "role": "voter"}, {"id": 9, "store": 4, "role": "learner"}]
    said = {"type": "region.peers_changed", "region": 4, "peers": peers, "removed": []}
    assert line(said).endswith(" region=4 peers=5@1,9@4(learner)")
    started = {"type": "operator.started", "n": 5, "add": peers[1], "remove": None, "reason": "a b"}
    assert line(started).endswith(' add=9@4(learner) reason="a b"')


def test_a_moment_is_shown_as_one() -> None:
    shown = line({"type": "x", "triggered": 1_000, "previous": 0})
    assert shown.endswith(" triggered=1970-01-01T00:00:01.000Z previous=0")


def test_what_is_long_is_cut_short() -> None:
    shown = line({"type": "x", "candidates": [{"score": number} for number in range(1_000)]})
    assert len(shown) < 300 and shown.endswith("...")


def test_a_key_is_shown_as_text_once() -> None:
    assert line({"type": "x", "start": "bQ==", "start_text": "m"}).endswith(" start_text=m")


def test_what_is_no_event_is_shown_as_it_is() -> None:
    assert line(b"\xff{").endswith("payload=\N{REPLACEMENT CHARACTER}{")
    assert line([1]).endswith("payload=[1]")
