"""A cluster in memory as PD hears of it: stores in five zones, and regions all just told of.

A tenth of the stores has busy regions, a tenth of what they lead.
"""

import random
from collections.abc import Iterable
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from flaredb_pd.config import Config
from flaredb_pd.heard import Heard
from flaredb_pd.instant import Instant
from flaredb_pd.loads import Loads
from flaredb_pd.state import State
from flaredb_pd.store_records import Drain, StoreRecord
from flaredb_pd.watch import StoreWatch
from flaredb_schemas.ids import (
    BootCounter,
    ClusterId,
    Generation,
    PdIncarnation,
    PeerId,
    RegionId,
    StoreId,
    StoreUuid,
    Term,
)
from flaredb_schemas.placement import (
    DownPeer,
    Heartbeat,
    PeerReport,
    RegionReport,
    StoreReport,
)

MIB: Final = 2**20
NOW: Final = Instant(1_000.0, 1_800_000_000_000)
CLUSTER: Final = ClusterId("0" * 32)
ZONES: Final = 5
HOT: Final = 10
CONFIG: Final = Config(name="bench", incarnation=PdIncarnation("0" * 32), cluster=CLUSTER)


class Size(Struct, frozen=True):
    """How many stores and regions there are."""

    stores: int
    regions: int


class PlannedCluster:
    """What PD knows of the cluster; `lost` has been silent for longer than PD waits for a store."""

    def __init__(self, size: Size, lost: StoreId | None = None) -> None:
        dice = random.Random(1)
        self.stores: Final = [StoreId(number + 1) for number in range(size.stores)]
        told = (_report(number, size, dice) for number in range(size.regions))
        self.reports: Final = [_without(one, lost) if lost else one for one in told]
        self.heard: Final = Heard((), NOW)
        self.loads: Final = Loads()
        self.watch: Final = StoreWatch(Instant(0.0, 0))
        self.watch.tick(self.stores, CONFIG, Instant(0.0, 0))
        led: dict[StoreId, list[RegionReport]] = {}
        for one in self.reports:
            led.setdefault(_leader(one), []).append(one)
        for store in self.stores:
            self.heard.on_heartbeat(_beat(store, led.get(store, ())))
            if store != lost:
                self.watch.hear(store, NOW)
        for before in (10.0, 0.0):
            for one in self.reports:
                self.loads.note(one, NOW.seconds - before)
        self.watch.tick(self.stores, CONFIG, NOW)

    def state(self, draining: StoreId | None = None) -> State:
        """What PD's journal says."""
        stores = {store: _record(store) for store in self.stores}
        if draining is not None:
            stores[draining] = replace(stores[draining], drain=Drain(NOW.wall, 0, 0, 0))
        return State(cluster=CLUSTER, replicas=3, stores=stores, highest_id=100_000_000)


def _leader(report: RegionReport) -> StoreId:
    return next(peer.store for peer in report.peers if peer.id == report.leader)


def _without(report: RegionReport, lost: StoreId) -> RegionReport:
    """The region as it is told when a store has been away for long."""
    gone = [peer.id for peer in report.peers if peer.store == lost]
    if not gone:
        return report
    leader = next(peer.id for peer in report.peers if peer.store != lost)
    return replace(report, leader=leader, down=(DownPeer(gone[0], 700),))


def _report(number: int, size: Size, dice: random.Random) -> RegionReport:
    """A region on three stores in as many zones, the first of which leads it."""
    zones = dice.sample(range(ZONES), 3)
    stores = [dice.choice(range(zone + 1, size.stores + 1, ZONES)) for zone in zones]
    peers = tuple(
        PeerReport(PeerId(1_000_000 + 4 * number + place), StoreId(store), "voter")
        for place, store in enumerate(stores)
    )
    start, end = (b"%08d" % one for one in (number, number + 1))
    return RegionReport(
        id=RegionId(1_000_000 + 4 * number + 3),
        start=start if number else b"",
        end=end if number < size.regions - 1 else b"",
        start_text="",
        end_text="",
        version=1,
        conf_ver=1,
        peers=peers,
        leader=peers[0].id,
        term=Term(6),
        time=1,
        bytes=dice.randrange(96 * MIB),
        keys=1_000,
        read_keys=100_000 if _is_hot(number, stores[0]) else dice.randrange(100),
        read_bytes=0,
        written_keys=dice.randrange(100),
        written_bytes=0,
    )


def _is_hot(number: int, leader: int) -> bool:
    return number % HOT == 0 and leader % HOT == 0


def _beat(store: StoreId, regions: Iterable[RegionReport]) -> Heartbeat:
    """A full heartbeat of a store."""
    told = tuple(regions)
    about = StoreReport(
        store=store,
        boot=BootCounter(1),
        regions=3 * len(told),
        leaders=len(told),
        capacity=1_000_000 * MIB,
        used=100_000 * MIB,
        free=900_000 * MIB,
        cpu=0.1,
        frames_refused=0,
        bootstrapped=True,
    )
    return Heartbeat(f"{store}.1.hb1.0", NOW.wall, CLUSTER, about, told, full=True)


def _record(store: StoreId) -> StoreRecord:
    """A store as the journal knows it."""
    uuid = StoreUuid(f"{store:032x}")
    labels = {"zone": f"zone-{(store - 1) % ZONES}", "host": f"host-{store}"}
    return StoreRecord(store, uuid, BootCounter(1), "", labels, 0, "", Generation(1))
