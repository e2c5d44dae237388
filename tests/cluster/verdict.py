"""Whether a cluster kept what it promised to the clients of a load, and in what figures."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Final

from flaredb.playground.supervisor import LocalCluster
from flaredb_schemas.regions import Route
from tests.cluster.load import Load
from tests.linearizability import Linearizable, RegisterModel, check, describe

Measured = Callable[..., None]

BUSY: Final = 3
"""How many times as long, or as much, a test lets things be as is promised: it may run on a machine
that has much else to do. Whether the promise itself holds is measured, in `docs/figures.md`."""


async def judge(cluster: LocalCluster, load: Load) -> dict[str, float | str]:
    """Read everything, fail if anything is lost, unexplained or unequal; the load's figures."""
    await load.read_all()
    lost = await load.lost()
    verdict = check(load.history, RegisterModel())
    assert not lost, f"{len(lost)} of {len(load.written_once)} acknowledged keys lost: {lost[:5]}"
    assert isinstance(verdict, Linearizable), describe(verdict)
    assert load.writes > 100 and load.written_once, "too few writes to say anything"
    await all_replicas_agree(cluster)
    return figures_of(load)


async def all_replicas_agree(cluster: LocalCluster) -> None:
    """Every replica of every region holds the same at one index."""
    async with cluster.client(timeout=30.0) as db:
        inspector = db.inspector
        checks = [await inspector.check(route.region.id) for route in await inspector.routes()]
    assert checks and all(each.ok for each in checks), checks


def check_coverage(routes: Sequence[Route]) -> None:
    """The regions cover the key space once."""
    ranges = sorted((route.region.keys for route in routes), key=lambda keys: keys.start)
    assert ranges[0].start == ranges[-1].end == b""
    assert all(left.end == right.start for left, right in pairwise(ranges))


def figures_of(load: Load) -> dict[str, float | str]:
    """What a load was told, in numbers."""
    return {
        "acknowledged": load.writes,
        "unknown": load.unknown,
        "refused": load.refused,
        "longest_gap_s": round(load.longest_gap, 3),
        "lost": 0,
        "history": "linearizable",
    }
