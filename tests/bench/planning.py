"""`python -m tests.bench.planning`: how long PD takes to look once at everything that could move.

100 stores in five zones and 100,000 regions in memory, all of them just told of ("dirty") and
nothing looked at before ("cold"): all checks for repairs, and all balancers, with the ledgers of
what they decide. Prints one JSON object.
"""

import argparse
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Iterable

from flaredb_pd.balance import decisions
from flaredb_pd.balance_scene import Scene
from flaredb_pd.config import Config
from flaredb_pd.heard import Heard
from flaredb_pd.instant import Instant
from flaredb_pd.loads import Loads
from flaredb_pd.locations import Locations
from flaredb_pd.repairs import Repairs
from flaredb_pd.small_regions import SmallRegions
from flaredb_pd.state import State
from flaredb_pd.store_records import StoreRecord
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
    Heartbeat,
    PeerReport,
    RegionReport,
    StoreReport,
)

MIB = 2**20
NOW = Instant(100.0, 1_800_000_000_000)
CLUSTER = ClusterId("0" * 32)
ZONES = 5


def main() -> None:
    """Build the cluster, look at it, and say how long that took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stores", type=int, default=100)
    parser.add_argument("--regions", type=int, default=100_000)
    given = parser.parse_args()
    dice = random.Random(1)
    heard, loads, watch = Heard((), NOW), Loads(), StoreWatch(NOW)
    reports = [report(number, given, dice) for number in range(given.regions)]
    led: dict[StoreId, list[RegionReport]] = {}
    for one in reports:
        led.setdefault(one.peers[0].store, []).append(one)
    stores = [StoreId(number + 1) for number in range(given.stores)]
    for store in stores:
        heard.on_heartbeat(beat(store, led.get(store, ())))
        watch.hear(store, NOW)
        for one in led.get(store, ()):
            loads.note(one, NOW.seconds)
    state = State(cluster=CLUSTER, replicas=3, stores={store: record(store) for store in stores})
    config = Config(name="bench", incarnation=PdIncarnation("0" * 32), cluster=CLUSTER)
    watch.tick(stores, config, NOW)
    took = {
        "repairs_s": seconds(repairs(state, heard, watch, config)),
        "balance_s": seconds(balance(state, heard, loads, config)),
        "merges_s": seconds(merges(heard, config, reports)),
    }
    whole = round(sum(took.values()), 3)
    sys.stdout.write(
        json.dumps({"stores": given.stores, "regions": given.regions, **took, "pass_s": whole})
        + "\n"
    )


def report(number: int, given: argparse.Namespace, dice: random.Random) -> RegionReport:
    """A region on three stores in as many zones, the first of which leads it."""
    zones = dice.sample(range(ZONES), 3)
    stores = [dice.choice(range(zone + 1, given.stores + 1, ZONES)) for zone in zones]
    peers = tuple(
        PeerReport(PeerId(1_000_000 + 4 * number + place), StoreId(store), "voter")
        for place, store in enumerate(stores)
    )
    start, end = (b"%08d" % one for one in (number, number + 1))
    return RegionReport(
        id=RegionId(1_000_000 + 4 * number + 3),
        start=start if number else b"",
        end=end if number < given.regions - 1 else b"",
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
        read_keys=dice.randrange(100),
        read_bytes=0,
        written_keys=dice.randrange(100),
        written_bytes=0,
    )


def beat(store: StoreId, regions: Iterable[RegionReport]) -> Heartbeat:
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


def record(store: StoreId) -> StoreRecord:
    """A store as the journal knows it."""
    uuid = StoreUuid(f"{store:032x}")
    labels = {"zone": f"zone-{(store - 1) % ZONES}", "host": f"host-{store}"}
    return StoreRecord(store, uuid, BootCounter(1), "", labels, 0, "", Generation(1))


def repairs(state: State, heard: Heard, watch: StoreWatch, config: Config) -> Iterable[object]:
    """All that is to be repaired: nothing, but all is looked at."""
    looked = Repairs(config, watch)
    looked.note(one.report for one in heard.regions if one.report is not None)
    yield from looked.leftovers(state, heard.regions)
    yield from looked.others(state, heard, Counter, NOW)


def balance(state: State, heard: Heard, loads: Loads, config: Config) -> Iterable[object]:
    """All that is proposed for the sake of balance, with its ledgers, and why nothing else is."""
    places = Locations(state, heard, config.location_labels)
    return decisions(Scene(heard, loads, (), set(), set(), lambda store: True, places))


def merges(heard: Heard, config: Config, reports: Iterable[RegionReport]) -> Iterable[object]:
    """All neighbours that had better be one."""
    small = SmallRegions(config)
    for one in reports:
        small.note(one, NOW.seconds)
    yield from small.find(heard.regions, (), NOW.seconds + config.merge_after)


def seconds(looking: Iterable[object]) -> float:
    """How long it takes to look to the end."""
    begun = time.perf_counter()
    for _ in looking:
        pass
    return round(time.perf_counter() - begun, 3)


if __name__ == "__main__":
    main()
