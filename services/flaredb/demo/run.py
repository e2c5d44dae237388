"""The course of the demonstration, and what came of it."""

import asyncio
import base64
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import anyio.to_thread
from msgspec import Struct, structs

from flaredb.client.client import Client
from flaredb.client.errors import UnavailableError
from flaredb.demo.audit import RegionFigures, audit
from flaredb.demo.criteria import LEADER_SECONDS, Criterion, Figures, judge
from flaredb.demo.draining import Progress, drain_one
from flaredb.demo.loading import Load, count_verified
from flaredb.demo.moving import move_by_hand
from flaredb.demo.splits import announced, read_splits
from flaredb.demo.spreading import Board, spread
from flaredb.demo.steady import Steady
from flaredb.demo.trespassing import trespass
from flaredb.playground.supervisor import LocalCluster
from flaredb_schemas.keys import show_key
from flaredb_schemas.reported import report_peers

KILL_AT: Final = 0.3
START_AT: Final = 0.6
"""When the store is killed and started again, as shares of the load."""


class Screen(Struct, frozen=True):
    """How to tell what goes on: lines, how far something is, and what the stores bear."""

    say: Callable[[str], None]
    progress: Progress
    board: Board


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
    cluster: LocalCluster, rows: Mapping[bytes, bytes], screen: Screen
) -> Outcome:
    """Load `rows` into a cluster that serves, harm and change it meanwhile, look at everything."""
    async with cluster.client(timeout=30.0) as db:
        elected = await _leaders(db)
        screen.say(f"every region has a leader after {elected:.2f} s")
        load, loaded = await _load(cluster, db, rows, screen)
        steady = Steady(db, load.acknowledged)
        async with steady.running():
            spreading = await spread(cluster, db, screen.board)
            moved = await move_by_hand(db, screen.say)
            drained = await drain_one(db, spreading.joined, screen.progress, screen.say)
        splits = await read_splits(db)
        screen.say("asking regions for what is not theirs")
        refusals = await trespass(db, sorted(load.acknowledged))
        held = {**{key: rows[key] for key in load.acknowledged}, **steady.expected}
        with screen.progress("reading back", len(held)) as advance:
            verified = await count_verified(db, held, advance)
        screen.say("comparing all replicas")
        regions = await audit(db)
        stores = await db.placement.stores()
    figures = Figures(
        elected, load, steady, verified, refusals, regions, splits, spreading, moved, drained
    )
    return _outcome(figures, [store.id for store in stores], loaded)


async def _load(
    cluster: LocalCluster, db: Client, rows: Mapping[bytes, bytes], screen: Screen
) -> tuple[Load, float]:
    """Write everything while a store is killed and comes back; and how many seconds that took."""
    with screen.progress("loading", len(rows)) as advance:
        load = Load(db, rows, advance)
        begun = time.monotonic()
        async with announced(db, screen.say):
            await asyncio.gather(load.run(), _harm(cluster, load, screen.say))
        return load, time.monotonic() - begun


def _outcome(figures: Figures, stores: list[int], loaded: float) -> Outcome:
    load, steady, splits = figures.load, figures.steady, figures.splits
    return Outcome(
        leaders_elected_s=round(figures.elected, 3),
        stores=stores,
        regions=figures.regions,
        writes=len(load.acknowledged) + len(load.failed) + len(steady.writes),
        writes_failed=len(load.failed) + len(steady.failed),
        keys_verified=figures.verified,
        splits=len(splits.seconds) + splits.unregistered,
        longest_gap_s=round(max(load.longest_gap, steady.longest_gap), 3),
        load_s=round(loaded, 3),
        criteria=judge(figures),
    )


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
