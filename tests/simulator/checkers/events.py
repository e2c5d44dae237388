"""Every committed event is in the stream, under one id with one content."""

from flaredb.bus.memory_streams import MemoryStream
from flaredb_schemas.events import LeaderChanged, decode_event
from flaredb_schemas.ids import RegionId


def check_events(stream: MemoryStream, wanted: set[str]) -> None:
    """`wanted` are the ids of all events that were applied by any replica."""
    payloads: dict[str, bytes] = {}
    order: dict[RegionId, int] = {}
    for record in stream.after(0, 1_000_000):
        event = decode_event(record.payload)
        known = payloads.setdefault(event.id, record.payload)
        assert known == record.payload, f"event {event.id} has two contents"
        if isinstance(event, LeaderChanged):
            order[event.region] = max(order.get(event.region, 0), event.index)
    missing = wanted - set(payloads)
    assert not missing, f"{len(missing)} events never reached the stream: {sorted(missing)[:5]}"
