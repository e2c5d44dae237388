"""`python -m tests.bench.planning`: how long PD takes to look once at everything that could move.

100 stores in five zones and 100,000 regions in memory, all of them just told of ("dirty") and
nothing looked at before ("cold"): all checks for repairs, where nothing is wrong and where a store
is down for good; a drain; all balancers; small neighbours; and the operators under way, as many as
may be. What is decided goes through PD's one door, with its ledgers. Prints one JSON object.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from flaredb_pd import even_leaders, even_load
from flaredb_pd.balance import MOST_AT_ONCE, decisions
from flaredb_pd.balance_scene import Look, Scene
from flaredb_pd.changes import MOST_REFUSALS
from flaredb_pd.conductor import Conductor
from flaredb_pd.decide import Command, decide
from flaredb_pd.drains import Drains
from flaredb_pd.foresight import Figures
from flaredb_pd.idleness import Idleness
from flaredb_pd.ledger import Idle
from flaredb_pd.locations import locate
from flaredb_pd.orders import Addressed
from flaredb_pd.proposals import MANUAL, Proposal
from flaredb_pd.repairs import Repairs
from flaredb_pd.small_regions import SmallRegions
from flaredb_pd.state import State, evolve, numbered
from flaredb_schemas.ids import JournalSequence, RegionId, StoreId
from flaredb_schemas.pd_answers import PdFailure
from tests.bench.planned_cluster import CONFIG, NOW, PlannedCluster, Size

LOST: Final = StoreId(1)
DRAINED: Final = StoreId(2)


def main() -> None:
    """Build the cluster, look at it, and say how long that took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stores", type=int, default=100)
    parser.add_argument("--regions", type=int, default=100_000)
    given = parser.parse_args()
    took = {name: seconds(look, desk) for name, look, desk in parts(Size(**vars(given)))}
    whole = round(sum(took.values()), 3)
    sys.stdout.write(json.dumps({**vars(given), **took, "pass_s": whole}) + "\n")


def parts(size: Size) -> Iterator[tuple[str, Callable[["Desk"], None], "Desk"]]:
    """What is measured by itself, and before which desk."""
    whole = PlannedCluster(size)
    yield "repairs_s", repairs, Desk(whole)
    yield "drain_s", drain, Desk(whole, whole.state(draining=DRAINED))
    yield "balance_s", balance, Desk(whole)
    yield "load_s", load, Desk(whole)
    yield "merges_s", merges, Desk(whole)
    yield "operators_s", operators, Desk(whole, busy(whole))
    yield "lost_store_s", repairs, Desk(PlannedCluster(size, lost=LOST))


class Desk:
    """PD's one door in this cluster, and what was let through: nothing of it is written yet."""

    def __init__(self, cluster: PlannedCluster, state: State | None = None) -> None:
        self.cluster: Final = cluster
        self.state: Final = state or cluster.state()
        self.commands: Final[list[Command]] = []
        self.orders: Final[list[Addressed]] = []
        self.conductor: Final = Conductor(
            CONFIG,
            cluster.watch,
            cluster.loads,
            lambda command, now: self.commands.append(command),
            self.orders.append,
            lambda reply, answer: None,
        )

    @property
    def scene(self) -> Scene:
        """What balance looks at."""
        heard, loads = self.cluster.heard, self.cluster.loads
        places = locate(self.state, heard, CONFIG.location_labels)
        resting = set[RegionId](), set[RegionId]()
        return Scene(heard, loads, (), *resting, lambda store: True, places)

    def offer(self, proposal: Proposal) -> PdFailure | None:
        """Undertake something, if no hard rule forbids it."""

        def why_changing(region: RegionId) -> str:
            return ""

        return self.conductor.propose(proposal, self.state, self.cluster.heard, why_changing, NOW)

    def undertake(self, decided: Iterable[Proposal | Idle], most_refusals: int | None) -> None:
        """Offer all that is proposed, and note why nothing else is."""
        figures = Figures(
            self.state, self.cluster.heard, self.cluster.loads, CONFIG.location_labels
        )
        idleness = Idleness(lambda command, now: self.commands.append(command))
        idleness.take(decided, self.offer, self.state, figures, NOW, most_refusals)


def repairs(desk: Desk) -> None:
    """All that is to be repaired."""
    cluster, state = desk.cluster, desk.state
    looked = Repairs(CONFIG, cluster.watch)
    looked.note(one.report for one in cluster.heard.regions if one.report is not None)
    desk.undertake(looked.leftovers(state, cluster.heard.regions), None)
    others = looked.others(state, cluster.heard, lambda: desk.conductor.coming(state), NOW)
    desk.undertake(others, MOST_REFUSALS)


def balance(desk: Desk) -> None:
    """All that is proposed for the sake of balance, and why nothing else is."""
    desk.undertake(decisions(desk.scene), None)


def load(desk: Desk) -> None:
    """What is proposed for the sake of load, and of leaderships, where replicas are even."""
    look = Look(desk.scene)
    for find in (even_load.find, even_leaders.find):
        for _ in range(MOST_AT_ONCE):
            found = find(look)
            desk.undertake([found], None)
            if isinstance(found, Idle):
                break
            look.taken.add(found.region)


def merges(desk: Desk) -> None:
    """All neighbours that had better be one."""
    small = SmallRegions(CONFIG)
    for one in desk.cluster.reports:
        small.note(one, NOW.seconds)
    small.find(desk.cluster.heard.regions, (), NOW.seconds + CONFIG.merge_after)


def drain(desk: Desk) -> None:
    """All that is to leave a store now."""
    drains, state, heard = Drains(CONFIG, desk.cluster.watch), desk.state, desk.cluster.heard
    list(drains.misled(state, heard))
    drains.look(state, heard, lambda: desk.conductor.coming(state), desk.offer, NOW)


def operators(desk: Desk) -> None:
    """What is next for each operator."""
    desk.conductor.tick(desk.state, desk.cluster.heard, NOW)


def busy(cluster: PlannedCluster) -> State:
    """As many replicas are moved as may be at a time."""
    desk = Desk(cluster)
    for region in (one.region for one in cluster.heard.regions):
        target = cluster.stores[len(desk.commands) % len(cluster.stores)]
        if region.peer_on(target) is None and len(desk.commands) < CONFIG.operators_at_once:
            goes = region.stores[0]
            wish = Proposal("move", region.id, "manual", "", MANUAL, add=target, remove=goes)
            desk.offer(wish)
    state = desk.state
    for command in desk.commands:
        for fact in decide(state, command, CONFIG):
            record, sequence = numbered(state, fact, NOW.wall), JournalSequence(state.sequence + 1)
            state = evolve(state, record, sequence)
    assert len(state.operators.running) == CONFIG.operators_at_once
    return state


def seconds(look: Callable[[Desk], None], desk: Desk) -> float:
    """How long it takes to look to the end."""
    begun = time.perf_counter()
    look(desk)
    return round(time.perf_counter() - begun, 3)


if __name__ == "__main__":
    main()
