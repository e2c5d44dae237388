"""Events, heartbeats and streams for the analytics suites, and short ways to ask."""

import json
from typing import Any, Final

from flaredb.bus.bus import StreamConfig, StreamRecord
from flaredb.bus.memory_bus import MemoryBus, MemoryHub
from flaredb_analytics.positions import Cursor
from flaredb_analytics.rows import to_row
from flaredb_analytics.warehouse import Warehouse, begin_reading, fetching
from flaredb_schemas.events import Event, LeaderChanged, cloud_headers, encode_event
from flaredb_schemas.ids import BootCounter, ClusterId, Index, PeerId, RegionId, StoreId, Term
from flaredb_schemas.placement import (
    Heartbeat,
    PeerReport,
    RegionReport,
    StoreReport,
)

MEMORY: Final = 128 * 1024 * 1024
CLUSTER: Final = "c0ffee"
START: Final = 1_790_000_000_000
"""When the tests' clusters were made, milliseconds since 1970."""

EVENTS: Final = "FLAREDB_EVT"
HEARTBEATS: Final = "FLAREDB_HB"
JOURNAL: Final = "FLAREDB_PD"
STREAMS: Final = (EVENTS, JOURNAL, HEARTBEATS)


class SteppingClock:
    """Moves by itself, a millisecond per look, and further when told."""

    def __init__(self) -> None:
        self.now = START

    def monotonic(self) -> float:
        self.now += 1
        return self.now / 1_000

    def wall(self) -> int:
        self.now += 1
        return self.now


def elected(
    region: int = 1, term: int = 6, store: int = 1, *, seconds: float = 0, previous: int = 0
) -> LeaderChanged:
    """An election; the leader's peer id is ten times its store's."""
    return LeaderChanged(
        id=f"{region}.{term}.{term}.leader_changed.0",
        at=START + int(seconds * 1_000),
        region=RegionId(region),
        term=Term(term),
        index=Index(term),
        leader=PeerId(store * 10),
        store=StoreId(store),
        previous=PeerId(previous),
    )


def region_report(region: int = 1, term: int = 6, store: int = 1, **fields: Any) -> RegionReport:
    """A region on three stores; `fields` are any others of the report."""
    told: dict[str, Any] = {
        "start": b"",
        "end": b"",
        "start_text": "",
        "end_text": "",
        "version": 1,
        "conf_ver": 1,
        "time": 0,
        "bytes": 100,
        "keys": 10,
        "read_keys": 0,
        "read_bytes": 0,
        "written_keys": 0,
        "written_bytes": 0,
    }
    peers = tuple(PeerReport(PeerId(n * 10), StoreId(n), "voter") for n in (1, 2, 3))
    return RegionReport(
        id=RegionId(region),
        term=Term(term),
        leader=PeerId(store * 10),
        peers=peers,
        **(told | fields),
    )


def heartbeat(
    store: int = 1, n: int = 1, *regions: RegionReport, seconds: float = 0, boot: int = 1
) -> Heartbeat:
    """The `n`th heartbeat of a store, `seconds` after the start."""
    return Heartbeat(
        id=f"{store}.{boot}.{n}",
        at=START + int(seconds * 1_000),
        cluster=ClusterId(CLUSTER),
        store=StoreReport(
            store=StoreId(store),
            boot=BootCounter(boot),
            regions=len(regions),
            leaders=len(regions),
            capacity=1_000,
            used=250,
            free=750,
            cpu=0.5,
            frames_refused=0,
            labels={"zone": "a"},
        ),
        regions=regions,
        full=True,
    )


def fact(kind: str, number: int, /, **fields: Any) -> bytes:
    """A record of PD's journal."""
    told = {"type": kind, "id": f"pd.1.{number}", "at": START, "epoch": 1, "n": number, **fields}
    return json.dumps(told).encode()


def record(number: int, payload: bytes, **headers: str) -> StreamRecord:
    """A record of a stream, stored `number` milliseconds after the start."""
    return StreamRecord(number, "flaredb.evt.x", payload, headers, START + number)


def of_event(number: int, event: Event) -> StreamRecord:
    """A store's event as the stream holds it."""
    headers = cloud_headers(event, CLUSTER, "1")
    return StreamRecord(number, "flaredb.evt.x", encode_event(event), headers, START + number)


def store_records(warehouse: Warehouse, stream: str, *records: StreamRecord) -> None:
    """Records as ingestion would write them."""
    last = records[-1]
    rows = [to_row(stream, each) for each in records]
    cursor = Cursor(created=START, seq=last.sequence, stored=last.time)
    warehouse.write(stream, cursor, rows, (), START)


def ask(warehouse: Warehouse, query: str) -> list[tuple[Any, ...]]:
    """All rows of a small answer."""
    with warehouse.reader() as reader:
        begin_reading(reader, query)
        return fetching(reader, 1_000)


async def hub_with_streams() -> tuple[MemoryHub, MemoryBus]:
    """A bus in memory with the three streams."""
    hub = MemoryHub(SteppingClock())
    bus = hub.connect("analytics")
    await bus.history.ensure(StreamConfig(EVENTS, ("flaredb.evt.region.>", "flaredb.evt.store.>")))
    await bus.history.ensure(StreamConfig(JOURNAL, ("flaredb.evt.pd.>",)))
    await bus.history.ensure(StreamConfig(HEARTBEATS, ("flaredb.hb.>",)))
    return hub, bus


async def publish(bus: MemoryBus, *events: Event) -> None:
    """Events into the event stream, as a store does."""
    for event in events:
        subject = "flaredb.evt.region.leader_changed.1.1"
        await bus.history.append(subject, encode_event(event), cloud_headers(event, CLUSTER, "1"))
