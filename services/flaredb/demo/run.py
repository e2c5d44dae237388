"""The course of the demonstration, and what came of it."""

import asyncio
import base64
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, Final

import anyio.to_thread
from msgspec import Struct, structs

from flaredb.client.client import Client
from flaredb.client.errors import UnavailableError
from flaredb.demo.audit import RegionFigures, audit
from flaredb.demo.loading import Load, count_verified
from flaredb.demo.splits import SplitFigures, announced, read_splits
from flaredb.demo.trespassing import Trespass, trespass
from flaredb.playground.supervisor import LocalCluster
from flaredb_schemas.keys import show_key
from flaredb_schemas.placement import report_peers

LEADER_SECONDS: Final = 60.0
"""SC-001: within this time every region has a leader."""

REGISTERED_SECONDS: Final = 60.0
"""SC-003: within this time of its trigger PD knows the regions that a split has made."""

WRITES_SHARE: Final = 0.99
"""The share of writes that must succeed while regions split and a store is lost."""

KILL_AT: Final = 0.3
START_AT: Final = 0.6
"""When the store is killed and started again, as shares of the load."""

Progress = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]


class Criterion(Struct, frozen=True):
    """One promise: whether it was kept, and the figure that says so."""

    ok: bool
    value: float
    meaning: str


class Outcome(Struct, frozen=True):
    """Everything that the demonstration measured."""

    leaders_elected_s: float
    stores: list[int]
    regions: list[RegionFigures]
    writes: int
    writes_failed: int
    keys_verified: int
    splits: int
    longest_gap_s: float
    load_s: float
    criteria: dict[str, Criterion]

    @property
    def ok(self) -> bool:
        """Whether every promise was kept."""
        return all(criterion.ok for criterion in self.criteria.values())


async def demonstrate(
    cluster: LocalCluster,
    rows: Mapping[bytes, bytes],
    progress: Progress,
    say: Callable[[str], None],
) -> Outcome:
    """Load `rows` into a cluster that serves, harm it meanwhile, and look at everything."""
    async with cluster.client(timeout=30.0) as db:
        elected = await _leaders(db)
        say(f"every region has a leader after {elected:.2f} s")
        with progress("loading", len(rows)) as advance:
            load = Load(db, rows, advance)
            begun = time.monotonic()
            async with announced(db, say):
                await asyncio.gather(load.run(), _harm(cluster, load, say))
            loaded = time.monotonic() - begun
        splits = await read_splits(db)
        say("asking regions for what is not theirs")
        refusals = await trespass(db, sorted(load.acknowledged))
        with progress("reading back", len(load.acknowledged)) as advance:
            verified = await count_verified(db, rows, load.acknowledged, advance)
        say("comparing all replicas")
        regions = await audit(db)
        stores = await db.placement.stores()
    return Outcome(
        leaders_elected_s=round(elected, 3),
        stores=[store.id for store in stores],
        regions=regions,
        writes=len(load.acknowledged) + len(load.failed),
        writes_failed=len(load.failed),
        keys_verified=verified,
        splits=len(splits.seconds) + splits.unregistered,
        longest_gap_s=round(load.longest_gap, 3),
        load_s=round(loaded, 3),
        criteria=judge(elected, load, verified, refusals, regions, splits),
    )


def judge(
    elected: float,
    load: Load,
    verified: int,
    refusals: Trespass,
    regions: list[RegionFigures],
    splits: SplitFigures,
) -> dict[str, Criterion]:
    """The promises, and whether these figures keep them."""
    strays = sum(region.strays for region in regions)
    unequal = sum(not region.equal for region in regions)
    lost = len(load.acknowledged) - verified
    tried = len(load.acknowledged) + len(load.failed)
    succeeded = len(load.acknowledged) / max(1, tried)
    refused = refusals.refused / max(1, refusals.tried)
    return {
        "SC-001": Criterion(
            elected <= LEADER_SECONDS and len(regions) >= 2,
            round(elected, 3),
            f"seconds until every region had a leader (at most {LEADER_SECONDS:.0f})",
        ),
        "SC-002": Criterion(
            refusals.tried > 0 and refusals.refused == refusals.tried and strays == 0,
            round(refused, 4),
            f"share of {refusals.tried} accesses out of range that were refused; "
            f"{strays} rows in the wrong place",
        ),
        "SC-003": Criterion(
            bool(splits.seconds)
            and splits.unregistered == 0
            and splits.worst <= REGISTERED_SECONDS
            and succeeded >= WRITES_SHARE,
            splits.worst,
            f"seconds from trigger to registered in PD, the worst of {len(splits.seconds)} splits "
            f"(at most {REGISTERED_SECONDS:.0f}; median {splits.median})",
        ),
        "durability": Criterion(lost == 0, lost, "acknowledged writes that were lost"),
        "availability": Criterion(
            succeeded >= WRITES_SHARE,
            round(succeeded, 4),
            f"share of writes that succeeded while regions split and a store was lost "
            f"(at least {WRITES_SHARE})",
        ),
        "replicas": Criterion(unequal == 0, unequal, "regions whose replicas differ"),
    }


async def _leaders(db: Client) -> float:
    """Wait until every region has a leader; seconds that took since the first regions were made."""
    begun = time.monotonic()
    while time.monotonic() - begun < LEADER_SECONDS:
        status = await db.placement.status()
        if status.ready and status.regions and status.leaders == status.regions:
            return max(time.monotonic() - begun, status.leaders_elected_s or 0.0)
        await asyncio.sleep(0.05)
    raise UnavailableError(
        f"not every region has a leader after {LEADER_SECONDS:.0f} s",
        hint="look at the logs in the folder of the cluster",
    )


async def _harm(cluster: LocalCluster, load: Load, say: Callable[[str], None]) -> None:
    """Kill the store that leads most regions in the middle of the load, and start it again."""
    await _reached(load, KILL_AT)
    numbers = range(1, cluster.stores + 1)
    leading = [await anyio.to_thread.run_sync(cluster.leaderships, number) for number in numbers]
    victim = numbers[leading.index(max(leading))]
    await anyio.to_thread.run_sync(cluster.kill_store, victim)
    say(f"store-{victim}, which led {max(leading)} regions, was killed with SIGKILL")
    await _reached(load, START_AT)
    await anyio.to_thread.run_sync(cluster.start_store, victim)
    say(f"store-{victim} is back")


async def _reached(load: Load, share: float) -> None:
    while load.progress < share:  # noqa: ASYNC110 - a share, not an event
        await asyncio.sleep(0.005)


def as_json(outcome: Outcome) -> dict[str, Any]:
    """The outcome as the last line of `flaredb demo -o json` tells it."""
    return {
        "ok": outcome.ok,
        "regions": [region_json(region) for region in outcome.regions],
        "stores": outcome.stores,
        "leaders_elected_s": outcome.leaders_elected_s,
        "writes": outcome.writes,
        "writes_failed": outcome.writes_failed,
        "keys_verified": outcome.keys_verified,
        "splits": outcome.splits,
        "longest_gap_s": outcome.longest_gap_s,
        "load_s": outcome.load_s,
        "criteria": {
            name: {"ok": one.ok, "value": one.value, "meaning": one.meaning}
            for name, one in outcome.criteria.items()
        },
    }


def region_json(figures: RegionFigures) -> dict[str, Any]:
    """A region with its range, leader, peers and sizes."""
    region = figures.route.region
    return {
        "id": region.id,
        "start": show_key(region.keys.start),
        "end": show_key(region.keys.end),
        "start_b64": base64.b64encode(region.keys.start).decode(),
        "end_b64": base64.b64encode(region.keys.end).decode(),
        "leader": figures.route.leader,
        "leader_store": figures.route.store,
        "peers": [structs.asdict(peer) for peer in report_peers(region.peers)],
        "version": region.epoch.version,
        "conf_ver": region.epoch.conf_ver,
        "keys": figures.rows,
        "bytes": figures.bytes,
        "equal": figures.equal,
    }
