"""Every committed event is in the stream, under one id with one content."""

from collections.abc import Iterable

from flaredb.bus.bus import StreamRecord
from flaredb_schemas.events import LeaderChanged, decode_event
from flaredb_schemas.ids import RegionId


def check_events(records: Iterable[StreamRecord], wanted: set[str]) -> None:
    """`records` are all that were ever in the stream, lost ones included; `wanted` are the ids of
    all events that were applied by any replica."""
    payloads: dict[str, bytes] = {}
    order: dict[RegionId, int] = {}
    for record in records:
        event = decode_event(record.payload)
        known = payloads.setdefault(event.id, record.payload)
        assert known == record.payload, f"event {event.id} has two contents"
        if isinstance(event, LeaderChanged):
            order[event.region] = max(order.get(event.region, 0), event.index)
    missing = wanted - set(payloads)
    assert not missing, f"{len(missing)} events never reached the stream: {sorted(missing)[:5]}"
